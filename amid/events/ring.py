"""The last events of a server, as they came, so that a subscriber that lagged can have them again.

Bounded in bytes of packets; what is oldest goes first. An epoch's events are contiguous, so an event is found by its number.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Held(NamedTuple):
    """One event: its numbers, when it was read (seconds since 1970), its name, and its packet's bytes."""

    seq: int
    nth: int
    time: float
    event: str
    raw: bytes


class Gone(LookupError):
    """What was asked for is no longer held, or never was; the message says what is."""


class Ring:
    """Holds at most `max_bytes` bytes of packets."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._epochs: dict[int, deque[Held]] = {}

    def add(self, epoch: int, held: Held) -> None:
        self._epochs.setdefault(epoch, deque()).append(held)
        self._bytes += len(held.raw)
        while self._bytes > self._max_bytes:
            self._drop_oldest()

    def after(self, epoch: int, after: int, limit: int, last_seq: int | None) -> tuple[list[Held], bool]:
        """Up to `limit` events of `epoch` that follow number `after`, and whether there are more.

        last_seq: the last number given out when `epoch` is the current one, else None. Raises `Gone`.
        """
        events = self._epochs.get(epoch)
        if not events:
            if last_seq is not None and after >= last_seq:
                return [], False
            raise Gone(f"epoch {epoch} is not held; the epochs held are {sorted(self._epochs) or 'none'}")
        first = events[0].seq
        if after < first - 1:
            raise Gone(f"the events after {after} of epoch {epoch} are gone; the oldest held is {first}")
        start = after - first + 1
        chosen = [events[i] for i in range(start, min(start + limit, len(events)))]
        return chosen, start + limit < len(events)

    def _drop_oldest(self) -> None:
        epoch = next(iter(self._epochs))
        events = self._epochs[epoch]
        self._bytes -= len(events.popleft().raw)
        if not events:
            del self._epochs[epoch]
