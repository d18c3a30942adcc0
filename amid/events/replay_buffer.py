"""The last events of a server as received, for requests for events (`amid.reader.pulls`).

They are stored as blocks, one for each read from Asterisk: the packets in one piece, beside their
names and numbers. So an event takes little more memory than its bytes, and storing it costs the hot
path next to nothing. The oldest block is dropped first. The events of an epoch are contiguous, so
an event is found by its number.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import NamedTuple

from amid.events.sequence import Sequencer

BLOCK_OVERHEAD = 256
"""Approximate memory of a block besides its packets. Counted, or many
small blocks would exceed the limit."""
EVENT_OVERHEAD = 16
"""Memory of each event besides its bytes, for its name and number."""
MAX_SCAN = 5000
"""Events that one `read` searches for names."""
MAX_READ_BYTES = 256 * 1024
"""Bytes of packets after which a `read` ends. The last block that it reads may exceed this."""
_END = b"\r\n\r\n"  # no packet has an empty line


class Cursor(NamedTuple):
    """A position in the stream: after event `seq` of `epoch`."""

    epoch: int
    seq: int


@dataclass(slots=True)
class StoredEvents:
    """Events in columns: nearly all of a page are whole blocks, which are appended without a loop
    over their events.

    times: when each was read, in seconds since 1970. packets: in pieces, each event ended by an
    empty line.
    """

    seqs: list[int] = field(default_factory=list)
    prevs: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seqs)

    def append(self, block: _Block, chosen: Sequence[int]) -> None:
        """Append events of a block. chosen: their positions in it, ascending."""
        if len(chosen) == len(block.names):
            self.seqs += range(block.first, block.last + 1)
            self.prevs += block.prevs
            self.names += block.names
            self.packets.append(block.packets)
        else:
            packets = block.packets.split(_END)
            self.seqs += [block.first + at for at in chosen]
            self.prevs += [block.prevs[at] for at in chosen]
            self.names += [block.names[at] for at in chosen]
            self.packets += [packets[at] + _END for at in chosen]
        self.times += repeat(block.time, len(chosen))


class Page(NamedTuple):
    """Events of one epoch, and the cursor after them.

    missed: events between the requested cursor and these that are no longer stored; None if an
    epoch ended there, because the number of its last event is unknown. more: whether further events
    may be available already.
    """

    cursor: Cursor
    events: StoredEvents
    missed: int | None
    more: bool


class _Block(NamedTuple):
    first: int
    names: list[str]
    prevs: array[int]
    time: float
    packets: bytes

    @property
    def last(self) -> int:
        return self.first + len(self.names) - 1

    def size(self) -> int:
        return len(self.packets) + EVENT_OVERHEAD * len(self.names) + BLOCK_OVERHEAD


class ReplayBuffer:
    """Stores at most `max_bytes` bytes of the events that `numbers` counts."""

    def __init__(self, max_bytes: int, numbers: Sequencer) -> None:
        self.numbers = numbers
        self._max_bytes = max_bytes
        self._bytes = 0
        self._epochs: dict[int, deque[_Block]] = {}

    @property
    def cursor(self) -> Cursor:
        """The position after the last event."""
        return Cursor(self.numbers.epoch, self.numbers.seq)

    @property
    def begin(self) -> Cursor:
        """The position before the oldest stored event."""
        for epoch, blocks in self._epochs.items():
            return Cursor(epoch, blocks[0].first - 1)
        return self.cursor

    def add(self, first: int, names: list[str], prevs: list[int], time: float, packets: bytes) -> None:
        """Store the events of one read.

        first: the number of the first event. prevs: the `prev` of each. packets: each ended by an
        empty line.
        """
        block = _Block(first, [sys.intern(name) for name in names], array("Q", prevs), time, packets)
        self._epochs.setdefault(self.numbers.epoch, deque()).append(block)
        self._bytes += block.size()
        while self._bytes > self._max_bytes:
            epoch, oldest = next(iter(self._epochs.items()))
            self._bytes -= oldest.popleft().size()
            if not oldest:
                del self._epochs[epoch]

    def read(self, after: Cursor, limit: int, names: frozenset[str] = frozenset()) -> Page:
        """Up to `limit` events of one epoch after a cursor. names: those wanted (case-folded), all
        if empty.

        An empty page with `more` has the cursor to continue from. Raises `ValueError` for a cursor
        ahead of the last event.
        """
        epoch, seq = after
        end = self.cursor
        if epoch == end.epoch and seq > end.seq:
            raise ValueError(f"epoch {epoch} has {end.seq} events so far, and none after {seq}")
        blocks = self._epochs.get(epoch, deque())
        last = end.seq if epoch == end.epoch else blocks[-1].last if blocks else 0
        if seq >= last:
            return self._begin_next(after)
        begin = max(seq, blocks[0].first - 1 if blocks else last)
        events, reached = self._scan(blocks, begin, limit, names)
        missed = begin - seq
        if missed and names and not self._may_lack(blocks, after, names):
            missed = 0
        return Page(Cursor(epoch, reached or last), events, missed, 0 < reached < last or epoch != end.epoch)

    def holds_end_of(self, cursor: Cursor) -> bool:
        """Whether `cursor` is after the last event of its epoch, which is followed without a hole by
        the stored events of the next one."""
        return cursor.epoch in self._epochs and self._epochs[cursor.epoch][-1].last == cursor.seq

    def _begin_next(self, after: Cursor) -> Page:
        """A page that leads to the next epoch with events, if there is one."""
        end = self.cursor
        if after.epoch == end.epoch or not end.seq:
            return Page(after, StoredEvents(), 0, False)
        epochs = list(dict.fromkeys([*self._epochs, end.epoch]))
        place = epochs.index(after.epoch) + 1 if after.epoch in epochs else 0
        return Page(Cursor(epochs[place], 0), StoredEvents(), None, True)

    def _scan(self, blocks: deque[_Block], after: int, limit: int, names: frozenset[str]) -> tuple[StoredEvents, int]:
        """The events, and the number up to which the buffer was searched; 0 for all."""
        events = StoredEvents()
        size_bytes = 0
        for block in _from(blocks, after):
            found = self._find(block, after, names)
            room = limit - len(events)
            if found:
                events.append(block, found[:room])
                size_bytes += len(block.packets)
            if len(found) >= room:
                return events, events.seqs[-1]
            if size_bytes >= MAX_READ_BYTES or (names and block.last - after >= MAX_SCAN):
                return events, block.last
        return events, 0

    def _find(self, block: _Block, after: int, names: frozenset[str]) -> Sequence[int]:
        """The positions in a block of the events that are wanted."""
        begin = max(0, after + 1 - block.first)
        if not names:
            return range(begin, len(block.names))
        wanted = {name for name in set(block.names) if name.casefold() in names}
        return [at for at in range(begin, len(block.names)) if block.names[at] in wanted] if wanted else ()

    def _may_lack(self, blocks: deque[_Block], after: Cursor, names: frozenset[str]) -> bool:
        """Whether an event of these names came after `after` and is no longer stored.

        The first stored event of each name shows it; without one, the last number of the name does.
        """
        numbers = self.numbers
        is_current = after.epoch == numbers.epoch
        unknown = set(names) if not is_current or numbers.others > after.seq else set()
        counted = {name for name, last in numbers.last.items() if last > after.seq and name.casefold() in names}
        expected = counted if is_current else set()
        for block in blocks:
            if not unknown and not expected:
                break
            for name, prev in zip(block.names, block.prevs, strict=True):
                if name in expected or name.casefold() in unknown:
                    if prev > after.seq:
                        return True
                    expected.discard(name)
                    unknown.discard(name.casefold())
        return bool(unknown or expected)


def _from(blocks: deque[_Block], after: int) -> Iterator[_Block]:
    """The blocks with events after number `after`."""
    return islice(blocks, bisect_right(blocks, after, key=lambda block: block.last), None)
