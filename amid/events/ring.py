"""The last events of a server, as they came, so that a subscriber that lagged can have them again.

Kept as blocks, one for each read from Asterisk: the packets in one piece and their counts beside them. So a held event costs little
more than its bytes, and holding it costs the hot path next to nothing. What is oldest goes first. An epoch's events are contiguous,
so an event is found by its number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from itertools import islice
from typing import NamedTuple

BLOCK_OVERHEAD = 256
"""Bytes that a block costs besides its packets, roughly; they count, or many small blocks would hold more than they should."""

_END = b"\r\n\r\n"  # no packet has an empty line


class Held(NamedTuple):
    """One event: its numbers, when it was read (seconds since 1970), and its packet's bytes."""

    seq: int
    nth: int
    time: float
    raw: bytes


class _Block(NamedTuple):
    first: int
    nths: array[int]
    time: float
    packets: bytes

    @property
    def last(self) -> int:
        return self.first + len(self.nths) - 1

    def size(self) -> int:
        return len(self.packets) + self.nths.itemsize * len(self.nths) + BLOCK_OVERHEAD

    def events(self) -> list[Held]:
        raws = self.packets.split(_END)[:-1]
        return [Held(self.first + i, nth, self.time, raw) for i, (nth, raw) in enumerate(zip(self.nths, raws, strict=True))]


class Gone(LookupError):
    """What was asked for is no longer held, or never was; the message says what is.

    oldest: the first number of that epoch that is still held, None when none is.
    """

    def __init__(self, message: str, oldest: int | None = None) -> None:
        super().__init__(message)
        self.oldest = oldest


class Ring:
    """Holds at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._epochs: dict[int, deque[_Block]] = {}

    def add(self, epoch: int, first: int, nths: list[int], time: float, packets: bytes) -> None:
        """Hold the events of one read: the first one's seq, the count of each, and their packets, each ended by an empty line."""
        block = _Block(first, array("Q", nths), time, packets)
        self._epochs.setdefault(epoch, deque()).append(block)
        self._bytes += block.size()
        while self._bytes > self._max_bytes:
            self._drop_oldest()

    def after(self, epoch: int, after: int, limit: int, last_seq: int | None) -> tuple[list[Held], bool]:
        """Up to `limit` events of `epoch` that follow number `after`, and whether there are more.

        last_seq: the last number given out when `epoch` is the current one, else None. Raises `Gone`.
        """
        if last_seq is not None and after >= last_seq:
            return [], False
        blocks = self._epochs.get(epoch)
        if not blocks:
            raise Gone(f"epoch {epoch} is not held; the epochs held are {sorted(self._epochs) or 'none'}")
        if after < blocks[0].first - 1:
            oldest = blocks[0].first
            raise Gone(f"the events after {after} of epoch {epoch} are gone; the oldest held is {oldest}", oldest)
        chosen: list[Held] = []
        for block in islice(blocks, bisect_right(blocks, after, key=lambda block: block.last), None):
            chosen += [held for held in block.events() if held.seq > after]
            if len(chosen) > limit:
                break
        return chosen[:limit], len(chosen) > limit

    def _drop_oldest(self) -> None:
        epoch = next(iter(self._epochs))
        blocks = self._epochs[epoch]
        self._bytes -= blocks.popleft().size()
        if not blocks:
            del self._epochs[epoch]
