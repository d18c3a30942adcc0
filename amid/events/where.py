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
        return any(
            value == self.value if self.sign == "=" else self.value in value
            for header, values in fields.items()
            if _text(header).lower() == self.name
            for value in map(_text, values if isinstance(values, list) else [values])
        )


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
