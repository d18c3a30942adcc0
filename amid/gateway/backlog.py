"""The latest events of all servers, stored once for all streams. Pure: no network and no clock.

Each item has an index that only grows, and a stream stores the index of the item to send next.
Memory therefore does not grow with the number of slow streams. The backlog is limited in items and
in bytes. A stream whose index has been dropped fetches the missed events from the daemon
(`amid.gateway.catch_up`).
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
    """The position of an event in its server's events."""

    epoch: int
    seq: int


Cursors = Mapping[str, Cursor]


class Item:
    """An event or a gap, shared by all streams. Derived values are computed on first use."""

    def __init__(self, of: Event | Gap) -> None:
        self.of = of

    @property
    def cursor(self) -> Cursor:
        """The cursor of a stream after this item."""
        return Cursor(self.of.epoch, self.of.seq if isinstance(self.of, Event) else self.of.after)

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
    """The approximate size of an event's headers in bytes."""
    return sum(len(name) + (sum(map(len, value)) if isinstance(value, list) else len(value)) for name, value in fields.items())


class Backlog:
    """The items with indexes from `first` to `end`, `end` excluded."""

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max = (max_items, max_bytes)
        self._items: deque[Item] = deque()
        self._bytes = 0
        self.first = 0

    @property
    def end(self) -> int:
        return self.first + len(self._items)

    def append(self, item: Item) -> None:
        """Append an item and drop the oldest items over a limit. The newest item is always kept."""
        self._items.append(item)
        self._bytes += item.size_bytes
        max_items, max_bytes = self._max
        while len(self._items) > 1 and (len(self._items) > max_items or self._bytes > max_bytes):
            self._bytes -= self._items.popleft().size_bytes
            self.first += 1

    def __getitem__(self, index: int) -> Item:
        """Raises `IndexError` for an index that was dropped or does not exist yet."""
        if index < self.first:
            raise IndexError(index)
        return self._items[index - self.first]
