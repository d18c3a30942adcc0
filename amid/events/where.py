"""Conditions on an event's headers: `Channel=PJSIP/100` for equal, `Channel~PJSIP` for contains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

MAX_CONDITIONS = 16
"""Conditions of one request. With 1,000 of them, a selection among 10,000 channels took 5 s."""


class Condition(NamedTuple):
    """One condition. name: in lower case, because header names compare without case."""

    name: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a condition, which splits at the first `=` or `~`. Raises `ValueError`."""
        at = min((place for place in map(text.find, "=~") if place > 0), default=0)
        if not at:
            raise ValueError(f"{text!r} is not a condition: write NAME=VALUE for equal, NAME~PART for contains")
        return cls(text[:at].lower(), text[at], text[at + 1 :])

    def meets(self, fields: Mapping[Any, Any]) -> bool:
        """Whether the headers meet the condition. One value of a repeated header is enough."""
        return self.holds(by_header(fields))

    def holds(self, headers: Mapping[str, list[str]]) -> bool:
        """`meets` for the result of `by_header`: faster if many conditions examine one event."""
        return any(value == self.value if self.sign == "=" else self.value in value for value in headers.get(self.name, ()))


def by_header(fields: Mapping[Any, Any]) -> dict[str, list[str]]:
    """Header name in lower case -> its values."""
    headers: dict[str, list[str]] = {}
    for header, values in fields.items():
        headers.setdefault(_text(header).lower(), []).extend(map(_text, values if isinstance(values, list) else [values]))
    return headers


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
