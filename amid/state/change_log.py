"""The last changes of a server's state, for subscribers and for the method `events`.

`rev` numbers the changes of an epoch. A state process that replaces another one has none of its
changes, and the epoch continues. Each process therefore starts its numbers above all numbers that
its predecessors can have reached, so a `rev` of another process is recognized as a loss.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

from amid.state.model import Change

OVERHEAD_BYTES = 200
"""Approximate cost of a change, besides its values."""

Delta = dict[str, Any]
"""A change as sent: `server`, `epoch`, `seq`, `rev`, `kind`, `id`, and `set` or `gone`."""


class ChangesPage(NamedTuple):
    """seq, rev: the cursor after these changes. missed: changes that are no longer held; None after
    the end of an epoch or a reset. If it is not 0, the caller must request the whole state."""

    deltas: list[Delta]
    seq: int
    rev: int
    missed: int | None
    more: bool


class ChangeLog:
    """Holds at most `max_bytes` bytes of changes. first_rev: the first number is greater."""

    def __init__(self, server: str, max_bytes: int, first_rev: int = 0) -> None:
        self._server = server
        self._max_bytes = max_bytes
        self.epoch = self.seq = 0
        self.rev = self._base_rev = first_rev
        self._first_seq = 0
        self._held: deque[tuple[Delta, int]] = deque()
        self._bytes = 0
        self.unpublished: list[Delta] = []

    @property
    def count(self) -> int:
        """Number of changes in this epoch."""
        return self.rev - self._base_rev

    def reset(self, epoch: int, seq: int) -> None:
        """Void the known state: the changes before event `seq` lead nowhere."""
        if epoch != self.epoch:
            self.rev = self._base_rev
        self.epoch = epoch
        self.rev += 1
        self._clear(seq)
        numbers = {"server": self._server, "epoch": epoch, "seq": seq, "rev": self.rev}
        self.unpublished = [{**numbers, "kind": "reset", "id": "", "gone": True}]

    def load(self, seq: int, things: Iterable[Change]) -> None:
        """Publish a part of the whole state. It is not held: a cursor from before it must lead to a
        request for the state."""
        self.unpublished += self._deltas(seq, things)
        self._clear(seq)

    def _clear(self, seq: int) -> None:
        self._held.clear()
        self._bytes = 0
        self.seq = self._first_seq = seq

    def add(self, seq: int, changes: Iterable[Change]) -> None:
        """Publish and hold the changes that led to the state as of event `seq`."""
        self.seq = seq
        for delta in self._deltas(seq, changes):
            size = OVERHEAD_BYTES + len(str(delta.get("set", "")))
            self._held.append((delta, size))
            self._bytes += size
            self.unpublished.append(delta)
        while self._bytes > self._max_bytes:
            delta, size = self._held.popleft()
            self._bytes -= size
            self._first_seq = delta["seq"]

    def _deltas(self, seq: int, changes: Iterable[Change]) -> list[Delta]:
        deltas: list[Delta] = []
        for kind, thing_id, values in changes:
            self.rev += 1
            numbers = {"server": self._server, "epoch": self.epoch, "seq": seq, "rev": self.rev}
            value: dict[str, Any] = {"gone": True} if values is None else {"set": values}
            deltas.append({**numbers, "kind": kind, "id": thing_id, **value})
        return deltas

    def take_unpublished(self) -> list[Delta]:
        unpublished, self.unpublished = self.unpublished, []
        return unpublished

    def page_after(self, epoch: int, seq: int, rev: int | None, kinds: frozenset[str], limit: int) -> ChangesPage:
        """The changes of these kinds after change `rev`, or, without a `rev`, after event `seq`.

        A page has at most `limit` changes; without a `rev`, which can name a change between two of
        one event, it continues to the last change of an event.
        """
        foreign = rev is not None and not self._base_rev <= rev <= self.rev
        if foreign or epoch != self.epoch or (rev is None and seq < self._first_seq):
            return ChangesPage([], self.seq, self.rev, None, False)
        last_dropped = self.rev - len(self._held)
        if rev is not None and rev < last_dropped:
            return ChangesPage([], self.seq, self.rev, last_dropped - rev, False)
        later = len(self._held) - bisect_right(self._held, seq, key=_seq_of) if rev is None else self.rev - rev
        deltas: list[Delta] = []
        for delta, _ in reversed(list(islice(reversed(self._held), later))):  # from the end: most cursors are there
            if delta["kind"] not in kinds:
                continue
            if len(deltas) >= limit and (rev is not None or deltas[-1]["seq"] != delta["seq"]):
                return ChangesPage(deltas, deltas[-1]["seq"], deltas[-1]["rev"], 0, True)
            deltas.append(delta)
        return ChangesPage(deltas, self.seq, self.rev, 0, False)


def _seq_of(held: tuple[Delta, int]) -> int:
    seq: int = held[0]["seq"]
    return seq
