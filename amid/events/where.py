"""Conditions on an event's headers, as people write them: `Channel=PJSIP/100` for equal, `Channel~PJSIP` for contains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self


class Condition(NamedTuple):
    """`name` is in lower case: header names compare without case."""

    name: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The first of the two signs splits. Raises `ValueError`."""
        at = min((place for place in map(text.find, "=~") if place > 0), default=0)
        if not at:
            raise ValueError(f"{text!r} is no condition: write NAME=VALUE for equal, NAME~PART for contains")
        return cls(text[:at].lower(), text[at], text[at + 1 :])

    def meets(self, fields: Mapping[Any, Any]) -> bool:
        """Whether the headers meet it. One value of a repeated header is enough."""
        return self.holds(by_header(fields))

    def holds(self, headers: Mapping[str, list[str]]) -> bool:
        """The same for what `by_header` made of the headers: cheaper where many conditions look at one event."""
        return any(value == self.value if self.sign == "=" else self.value in value for value in headers.get(self.name, ()))


def by_header(fields: Mapping[Any, Any]) -> dict[str, list[str]]:
    """The values of each header, whose name is in lower case."""
    headers: dict[str, list[str]] = {}
    for header, values in fields.items():
        headers.setdefault(_text(header).lower(), []).extend(map(_text, values if isinstance(values, list) else [values]))
    return headers


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
