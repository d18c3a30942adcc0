"""The events of one read of the event session, for all clients at once.

What is the same for every client is computed once: where packets end, the classes that each
requires, and the bytes that a mask selects. Most clients have all classes and no filter, and get
the block unchanged.
"""

from __future__ import annotations

from typing import NamedTuple

from amid.ami.event_batch import BLANK
from amid.manager.action_ids import ActionIds
from amid.manager.classes import ALL, parse_privilege
from amid.manager.event_filter import EventFilters

AMID_EVENT = b"Event: amid:"
_PRIVILEGE = b"Privilege: "


class Events(NamedTuple):
    """Packets, each with its blank line, and their number."""

    data: bytes = b""
    number: int = 0


NONE = Events()


class EventBlock:
    """data: `count` packets, each with its blank line. amid's own events, which the reader publishes
    one by one, are left out.

    action_ids: in its events, amid's and those of the clients.
    """

    def __init__(self, data: bytes, count: int, ids: ActionIds) -> None:
        if data.startswith(AMID_EVENT):
            data, count = NONE
        self.action_ids = ids.find(data)
        if self.action_ids:
            data = b"".join(map(ids.restore_event, _split(data)))
        self._all = Events(data, count)
        self._packets: list[bytes] | None = None
        self._required: list[int] = []
        self._all_required = 0
        self._selected: dict[int, Events] = {}

    def __bool__(self) -> bool:
        return bool(self._all.data)

    def select(self, mask: int, filters: EventFilters | None) -> Events:
        """The events for a session with these classes and filters."""
        if not mask:
            return NONE
        if filters:
            return _join([packet for packet in self._allowed(mask) if filters.passes(packet)])
        if mask == ALL:
            return self._all
        selected = self._selected.get(mask)
        if selected is None:
            selected = self._selected[mask] = self._select(mask)
        return selected

    def _select(self, mask: int) -> Events:
        self._parse()
        if self._all_required & mask == self._all_required:
            return self._all
        return _join(self._allowed(mask))

    def _allowed(self, mask: int) -> list[bytes]:
        packets = self._parse()
        return [packet for packet, required in zip(packets, self._required, strict=True) if required & mask == required]

    def _parse(self) -> list[bytes]:
        if self._packets is None:
            self._packets = _split(self._all.data)
            self._required = list(map(_required_classes, self._packets))
            for required in self._required:
                self._all_required |= required
        return self._packets


def _split(data: bytes) -> list[bytes]:
    return [packet + BLANK for packet in data.split(BLANK) if packet]


def _join(packets: list[bytes]) -> Events:
    return Events(b"".join(packets), len(packets))


def _required_classes(packet: bytes) -> int:
    """The classes in `Privilege`, which is Asterisk's second line; later ones may be a caller's."""
    start = packet.find(b"\n") + 1
    if not packet.startswith(_PRIVILEGE, start):
        return 0
    return parse_privilege(packet[start + len(_PRIVILEGE) : packet.index(b"\r", start)])
