"""The headers of an event, found in its text when the fold asks for them.

The fold needs few headers of an event, most of them in blocks that many events have, such as the
snapshot of a channel. One match of a regular expression reads a block, in a fraction of the time
that a map of all headers would take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN = frozenset({"<unknown>", "(null)", "(None)"})
"""How Asterisk shows a value that it does not have."""


class EventHeaders:
    """text: the lines of an event, separated by CR LF."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header; of a repeated one, the last value."""
        text = self.text
        start = text.rfind(f"\r\n{name}: ")
        if start < 0:
            return default
        start += len(name) + 4
        end = text.find("\r", start)
        return text[start:] if end < 0 else text[start:end]


Fields = EventHeaders | Mapping[Any, Any]
"""The headers of an event, or of an item of a list."""


class Block:
    """Headers that Asterisk writes in this order, one after the other. unused: those of them that
    are not read."""

    def __init__(self, *headers: str, unused: tuple[str, ...] = ()) -> None:
        self._headers = [header for header in headers if header not in unused]
        lines = [f"{header}: [^\r]*" if header in unused else f"{header}: ([^\r]*)" for header in headers]
        self._search = re.compile("\r\n" + "\r\n".join(lines)).search

    def read(self, fields: Fields) -> tuple[Any, ...]:
        """The values, each as `text` returns it, wherever the headers are; of a repeated block, the
        first ones."""
        if isinstance(fields, EventHeaders):
            found = self._search(fields.text)
            if found:
                values = found.groups()
                return values if UNKNOWN.isdisjoint(values) else tuple(["" if value in UNKNOWN else value for value in values])
        return tuple([text(fields, header) for header in self._headers])


def text(fields: Fields, name: str) -> Any:
    """The value of a header; "" if it is absent or Asterisk shows it as unknown. Of a repeated
    header, the last value."""
    value = fields.get(name, "")
    if isinstance(value, list):
        value = value[-1]
    return "" if value in UNKNOWN else value


def number(fields: Fields, name: str) -> int:
    """The value of a header as an integer; 0 if it is not a number."""
    return integer(text(fields, name))


def integer(value: Any) -> int:
    """A value as an integer; 0 if it is not a number."""
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return 0


def flag(fields: Fields, name: str) -> bool:
    """Whether the value of a header is one of Asterisk's words for true."""
    return str(text(fields, name)).lower() in ("1", "yes", "on", "true")
