"""The last events of all servers, kept once for all streams. Pure: it knows no network and no clock.

Each item has an index that only grows. A stream keeps the index of the item that it sends next, so an item costs its memory once,
however many streams are slow. The backlog is bounded in items and in bytes. A stream whose index has been dropped fetches what it
missed from the daemon (`amid.gateway.replay`).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from amid import wire
from amid.client import Event, Gap
from amid.events.where import by_header

MAX_ITEMS = 2000
MAX_BYTES = 8 * 1024 * 1024


class Cursor(NamedTuple):
    """An event's place in its server's stream."""

    epoch: int
    seq: int


Cursors = Mapping[str, Cursor]


class Item:
    """An event or a gap for all streams. What they need of it is computed once, when the first stream needs it."""

    def __init__(self, of: Event | Gap) -> None:
        self.of = of

    @property
    def cursor(self) -> Cursor:
        """Where a stream is that has sent the item."""
        if isinstance(self.of, Event):
            return Cursor(self.of.epoch, self.of.seq)
        return Cursor(self.of.epoch, self.of.after if self.of.until is None else self.of.until)

    @property
    def size_bytes(self) -> int:
        return size_bytes(self.of.fields) if isinstance(self.of, Event) else 0

    @cached_property
    def headers(self) -> dict[str, list[str]]:
        return by_header(self.of.fields) if isinstance(self.of, Event) else {}

    @cached_property
    def json(self) -> str:
        return wire.pack_json(dataclasses.asdict(self.of)).decode()


def size_bytes(fields: Mapping[Any, Any]) -> int:
    """The bytes in an event's headers, roughly."""
    return sum(len(name) + (sum(map(len, value)) if isinstance(value, list) else len(value)) for name, value in fields.items())


class Backlog:
    """The items with the indexes `first` to `end`, `end` excluded."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max = (max_items, max_bytes)
        self._items: deque[Item] = deque()
        self._bytes = 0
        self.first = 0

    @property
    def end(self) -> int:
        return self.first + len(self._items)

    def append(self, item: Item) -> None:
        """Add the newest item, and drop the oldest ones that are over a limit. The newest one is kept in any case."""
        self._items.append(item)
        self._bytes += item.size_bytes
        max_items, max_bytes = self._max
        while len(self._items) > 1 and (len(self._items) > max_items or self._bytes > max_bytes):
            self._bytes -= self._items.popleft().size_bytes
            self.first += 1

    def __getitem__(self, index: int) -> Item:
        """Raises `IndexError` for one that was dropped or is not there yet."""
        if index < self.first:
            raise IndexError(index)
        return self._items[index - self.first]
