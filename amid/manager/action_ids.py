"""amid's ActionIDs on the wire, and the ActionIDs of clients that they replace.

An answer goes to one client. But events with an ActionID, OriginateResponse and the echo of
UserEvent, go to all clients, and on Asterisk all of them see the ActionID of the client that sent
the action. So the original is restored for all clients, as long as such an event may arrive.
"""

from __future__ import annotations

import heapq
import re
from typing import NamedTuple

HEADER = b"\nActionID: "
MARK = b"ActionID: amid-"
MAX_KEPT = 100_000
"""Limit of the remembered ActionIDs of actions that have ended; beyond it, the next one to expire is
forgotten."""

_LINE = re.compile(rb"\nActionID: (amid-[0-9a-f]+)\r(?=\n)")
"""A line with the line feed before it, not the one after it: beginning with a literal, the search is
three times as fast as with a condition on what precedes."""
_ANY_LINE = re.compile(rb"\nActionID: ([^\r\n]+)\r(?=\n)")
_ECHO = b"Event: UserEvent\r\n"


class Original(NamedTuple):
    """A client's ActionID and its whole line, without the line end; both empty if it sent none."""

    action_id: bytes
    line: bytes


class ActionIds:
    def __init__(self) -> None:
        self._originals: dict[bytes, Original] = {}
        self._expiring: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._originals)

    def add(self, wire_id: str, original: Original) -> None:
        """Remember the original of an action that is sent with `wire_id`."""
        self._originals[wire_id.encode()] = original

    def expire(self, wire_id: str, at: float) -> None:
        """The action has ended; forget its original at `at`, in monotonic seconds."""
        heapq.heappush(self._expiring, (at, wire_id.encode()))
        if len(self._expiring) > MAX_KEPT:
            self._originals.pop(heapq.heappop(self._expiring)[1], None)

    def drop_expired(self, now: float) -> None:
        """Forget the originals whose time has passed."""
        while self._expiring and now >= self._expiring[0][0]:
            self._originals.pop(heapq.heappop(self._expiring)[1], None)

    def find(self, packets: bytes) -> set[bytes]:
        """The ActionIDs in these packets, amid's and those in their place."""
        if HEADER not in packets:
            return set()
        found = set(_ANY_LINE.findall(packets))
        return found | {self._originals[one].action_id for one in found & self._originals.keys()} - {b""}

    def restore(self, packets: bytes) -> bytes:
        """`packets` with the originals in place of amid's ActionIDs. Unknown ones stay: they belong to
        other programs."""
        return _LINE.sub(self._restored, packets) if MARK in packets else packets

    def restore_event(self, packet: bytes) -> bytes:
        """The same for one event. A UserEvent repeats the client's line unchanged; other events write
        a line of their own."""
        if not packet.startswith(_ECHO):
            return self.restore(packet)
        return _LINE.sub(self._echoed, packet)

    def _restored(self, found: re.Match[bytes]) -> bytes:
        original = self._originals.get(found[1])
        if original is None:
            return found[0]
        return b"\nActionID: %b\r" % original.action_id if original.action_id else b""

    def _echoed(self, found: re.Match[bytes]) -> bytes:
        original = self._originals.get(found[1])
        if original is None:
            return found[0]
        return b"\n%b\r" % original.line if original.line else b""
