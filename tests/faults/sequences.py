"""The sequence numbers of one subscriber: each once, in order, with every gap reported at its size.

Four subscribers follow three rules: one of all events compares `seq`, one of some names compares
`prev` with the last number of the name, and two pull and are told about gaps: the client library
(all events) and a bare socket (some names). The first two are fast, so within an epoch they may
miss nothing; the others may, if they are told. `prev` must be correct for all. Each method returns
the error, "" if there is none. `run` grows wherever the sequence was interrupted.
"""

from __future__ import annotations

import math

from tests.faults.records import Missed, Seen, Tick


class Names:
    """The last number of each name in an epoch. Whatever came behind number `begin` was seen, so the first event of a name may have
    a `prev` up to that."""

    def __init__(self, begin: float = math.inf) -> None:
        self._begin = begin
        self._last: dict[str, int] = {}

    def event(self, event: Seen) -> str:
        last, begin = self._last.get(event.name), self._begin
        self._last[event.name] = event.seq
        if event.prev == last if last is not None else event.prev <= begin:
            return ""
        behind = last if last is not None else f"none, all seen behind {begin}"
        return f"{event.name} {event.seq} with prev {event.prev} came behind {behind} in epoch {event.epoch}"

    def tick(self, tick: Tick) -> str:
        self._begin = min(self._begin, tick.seq)
        for name, last in self._last.items():
            if tick.last.get(name, 0) != last:
                return f"the tick says {name} {tick.last.get(name, 0)} where the last was {last} in epoch {tick.epoch}"
        return ""


class Whole:
    """A subscriber to everything. A new epoch may begin at any number: who finds a new reader late sees it by that."""

    def __init__(self) -> None:
        self.run = 0
        self._epoch = self._seq = 0
        self._names = Names()

    def event(self, event: Seen) -> str:
        wrong = self._enter(event.epoch)
        if not self._seq:
            self._names = Names(event.seq - 1)
        elif not wrong and event.seq != self._seq + 1:
            wrong = f"event {event.seq} came behind {self._seq} in epoch {event.epoch}"
        self._seq = event.seq
        wrong_name = self._names.event(event)
        return wrong or wrong_name

    def tick(self, tick: Tick) -> str:
        wrong = self._enter(tick.epoch)
        if not wrong and self._seq and tick.seq != self._seq:
            wrong = f"the tick says {tick.seq} where the last event was {self._seq} in epoch {tick.epoch}"
        self._seq = tick.seq
        return wrong or self._names.tick(tick)

    def has_reached(self, epoch: int, seq: int) -> bool:
        """Whether it has everything up to this event."""
        return self._epoch == epoch and self._seq >= seq

    def _enter(self, epoch: int) -> str:
        if epoch == self._epoch:
            return ""
        wrong = f"epoch {epoch} came behind epoch {self._epoch}" if epoch < self._epoch else ""
        self._epoch, self._seq, self._names = epoch, 0, Names()
        self.run += 1
        return wrong


class Named:
    """A subscriber to some names. It has everything behind its first tick; before that, a name is known from its first event on."""

    def __init__(self) -> None:
        self.run = 0
        self._epoch = 0
        self._names = Names()

    def event(self, event: Seen) -> str:
        wrong = self._enter(event.epoch)
        wrong_name = self._names.event(event)
        return wrong or wrong_name

    def tick(self, tick: Tick) -> str:
        wrong = self._enter(tick.epoch)
        return wrong or self._names.tick(tick)

    def has_reached(self, epoch: int, seq: int) -> bool:
        """Whether it is in this epoch."""
        return self._epoch == epoch

    def _enter(self, epoch: int) -> str:
        if epoch == self._epoch:
            return ""
        wrong = f"epoch {epoch} came behind epoch {self._epoch}" if epoch < self._epoch else ""
        self._epoch, self._names = epoch, Names()
        self.run += 1
        return wrong


class Told:
    """A subscriber that pulls, and receives every gap and every end of an epoch in its place among the events.

    by_name: whether it pulls the events of some names only. A gap then is behind its cursor, and not behind the last event.
    """

    def __init__(self, by_name: bool = False) -> None:
        self.run = 0
        self.missed = 0
        self.ends = 0
        self._by_name = by_name
        self._epoch = self._seq = 0
        self._ended = False
        self._names = Names()

    def event(self, event: Seen) -> str:
        wrong = self._place(event.epoch, event.seq - 1, f"event {event.seq}")
        self._seq = event.seq
        wrong_name = self._names.event(event)
        return wrong or wrong_name

    def has_reached(self, epoch: int, seq: int) -> bool:
        """Whether it has everything up to this event; of some names, whether it has one of this epoch."""
        return self._epoch == epoch and not self._ended and (self._by_name or self._seq >= seq)

    def gap(self, gap: Missed) -> str:
        self.run += 1
        if gap.missed is None:
            return self._end(gap)
        wrong = self._place(gap.epoch, gap.after, f"a gap behind {gap.after}")
        self._seq = gap.after + gap.missed
        self._names = Names(self._seq)
        self.missed += gap.missed
        return wrong or ("" if gap.missed > 0 else f"a gap of {gap.missed} events was told")

    def _end(self, gap: Missed) -> str:
        wrong = f"the end of epoch {gap.epoch} was told in epoch {self._epoch}" if gap.epoch < self._epoch else ""
        self._epoch, self._ended = max(gap.epoch, self._epoch), True
        self.ends += 1
        return wrong

    def _place(self, epoch: int, after: int, what: str) -> str:
        """Whether something that follows number `after` of `epoch` may come now."""
        wrong = self._why_not(epoch, after)
        if epoch != self._epoch:
            self._names = Names(0 if self._epoch else after)
            self._epoch, self._ended = epoch, False
            self.run += 1
        return wrong and f"{what} of epoch {epoch} came behind {self._seq} {wrong}"

    def _why_not(self, epoch: int, after: int) -> str:
        if not self._epoch:
            return ""
        if epoch < self._epoch or (epoch == self._epoch and self._ended):
            return f"of epoch {self._epoch}, which had ended" if self._ended else f"of the later epoch {self._epoch}"
        if epoch == self._epoch:
            return "" if self._follows(after, self._seq) else "of the same epoch, and no gap was told"
        if not self._ended:
            return f"of epoch {self._epoch}, and its end was not told"
        return "" if self._follows(after, 0) else "of another epoch, and the gap at its begin was not told"

    def _follows(self, after: int, seq: int) -> bool:
        return after >= seq if self._by_name else after == seq
