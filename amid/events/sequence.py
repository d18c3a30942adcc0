"""Numbers on events, so that loss is always detected.

`epoch` changes with each event session. `seq` counts a server's events within an epoch. `prev` is
the number of the previous event of the same name: a subscriber to some names sees holes in `seq` by
design, and detects loss from `prev`. A tick each second carries the last number of each name and
uses none, so that loss at the end of a quiet stream is detected too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_NAMES = 1000
"""Event names that are counted separately, and as many again that subscribers asked for. Asterisk
has some 200, but forged events can have any name, and each tick carries all of them."""
MAX_NAME_LENGTH = 80
"""Characters of a name that is counted separately."""


class Sequencer:
    """Numbers the events of one server. `last` has the last number of each name counted separately.

    All other names count as one, `others`. `prev` of such an event may be too large: loss is then
    suspected without reason, but never missed.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.seq = 0
        self.last: dict[str, int] = {}
        self.others = 0
        self._asked: set[str] = set()

    def number(self, events: Iterable[str]) -> tuple[int, list[int]]:
        """(number of the first event, `prev` of each) for events of these names, in order."""
        seq, last, prevs = self.seq, self.last, []
        for event in events:
            seq += 1
            prev = last.get(event)
            if prev is None:  # new, or until now among the others
                prev = 0 if event in self._asked else self.others
                if not self._may_add(event):
                    self.others = seq
                    prevs.append(prev)
                    continue
            last[event] = seq
            prevs.append(prev)
        first, self.seq = self.seq + 1, seq
        return first, prevs

    def count_separately(self, name: str) -> None:
        """Count this name separately from now on, because a subscriber asked for it."""
        if len(self._asked) < MAX_NAMES and len(name) <= MAX_NAME_LENGTH:
            self._asked.add(name)
            self.last.setdefault(name, self.others)

    def _may_add(self, name: str) -> bool:
        return name in self._asked or (len(self.last) < MAX_NAMES + len(self._asked) and len(name) <= MAX_NAME_LENGTH)

    def new_epoch(self, proposed: int) -> None:
        """Begin epoch `proposed`, or the next number if that is not greater."""
        self.epoch = max(self.epoch + 1, proposed)
        self.seq = self.others = 0
        self.last = {}


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing events: `missed` of them after number `after` of `epoch`; None
    if unknown, because the epoch ended."""

    server: str
    epoch: int
    after: int
    missed: int | None
