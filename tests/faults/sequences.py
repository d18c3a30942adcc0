"""The numbers on the events that one subscriber got: each once, in order, and what is missing shown at its right size.

Three subscribers, three rules: one to everything counts `seq`, one to some names counts `nth` of each, and the client library tells
of its gaps itself. The first two keep up, so within an epoch they may miss nothing at all; the third may, if it says so. Each
method returns what is wrong, "" if nothing is. `run` grows wherever the sequence was interrupted.
"""

from __future__ import annotations

from tests.faults.records import Missed, Seen, Tick


class Whole:
    """A subscriber to everything. A new epoch may begin at any number: who finds a new reader late sees it by that."""

    def __init__(self) -> None:
        self.run = 0
        self._epoch = self._seq = 0

    def event(self, event: Seen) -> str:
        wrong = self._enter(event.epoch)
        if not wrong and self._seq and event.seq != self._seq + 1:
            wrong = f"event {event.seq} came behind {self._seq} in epoch {event.epoch}"
        self._seq = event.seq
        return wrong

    def tick(self, tick: Tick) -> str:
        wrong = self._enter(tick.epoch)
        if not wrong and self._seq and tick.seq != self._seq:
            wrong = f"the tick says {tick.seq} where the last event was {self._seq} in epoch {tick.epoch}"
        self._seq = tick.seq
        return wrong

    def _enter(self, epoch: int) -> str:
        if epoch == self._epoch:
            return ""
        wrong = f"epoch {epoch} came behind epoch {self._epoch}" if epoch < self._epoch else ""
        self._epoch, self._seq = epoch, 0
        self.run += 1
        return wrong


class Named:
    """A subscriber to some names. A name's count is known from its first event or a tick on."""

    def __init__(self) -> None:
        self.run = 0
        self._epoch = 0
        self._nths: dict[str, int] = {}

    def event(self, event: Seen) -> str:
        wrong = self._enter(event.epoch)
        last = self._nths.get(event.name)
        if not wrong and last is not None and event.nth != last + 1:
            wrong = f"{event.name} {event.nth} came behind {last} in epoch {event.epoch}"
        self._nths[event.name] = event.nth
        return wrong

    def tick(self, tick: Tick) -> str:
        wrong = self._enter(tick.epoch)
        for name, last in self._nths.items():
            if not wrong and tick.counts.get(name, 0) != last:
                wrong = f"the tick says {name} {tick.counts.get(name, 0)} where the last was {last} in epoch {tick.epoch}"
        return wrong

    def _enter(self, epoch: int) -> str:
        if epoch == self._epoch:
            return ""
        wrong = f"epoch {epoch} came behind epoch {self._epoch}" if epoch < self._epoch else ""
        self._epoch, self._nths = epoch, {}
        self.run += 1
        return wrong


class Told:
    """A subscriber whose library tells of every gap and of the end of every epoch, in its place among the events."""

    def __init__(self) -> None:
        self.run = 0
        self.missed = 0
        self._epoch = self._seq = 0
        self._ended = False

    def event(self, event: Seen) -> str:
        wrong = self._place(event.epoch, event.seq - 1, f"event {event.seq}")
        self._seq = event.seq
        return wrong

    def gap(self, gap: Missed) -> str:
        self.run += 1
        if gap.missed is None:
            return self._end(gap)
        wrong = self._place(gap.epoch, gap.after, f"a gap behind {gap.after}")
        self._seq = gap.after + gap.missed
        self.missed += gap.missed
        return wrong or ("" if gap.missed > 0 else f"a gap of {gap.missed} events was told")

    def _end(self, gap: Missed) -> str:
        wrong = f"the end of epoch {gap.epoch} was told in epoch {self._epoch}" if gap.epoch < self._epoch else ""
        self._epoch, self._ended = max(gap.epoch, self._epoch), True
        return wrong

    def _place(self, epoch: int, after: int, what: str) -> str:
        """Whether something that follows number `after` of `epoch` may come now."""
        wrong = self._why_not(epoch, after)
        if epoch != self._epoch:
            self._epoch, self._ended = epoch, False
            self.run += 1
        return wrong and f"{what} of epoch {epoch} came behind {self._seq} {wrong}"

    def _why_not(self, epoch: int, after: int) -> str:
        if not self._epoch:
            return ""
        if epoch < self._epoch or (epoch == self._epoch and self._ended):
            return f"of epoch {self._epoch}, which had ended" if self._ended else f"of the later epoch {self._epoch}"
        if epoch == self._epoch:
            return "" if after == self._seq else "of the same epoch, and no gap was told"
        if not self._ended:
            return f"of epoch {self._epoch}, and its end was not told"
        return "" if after == 0 else "of another epoch, and the gap at its begin was not told"
