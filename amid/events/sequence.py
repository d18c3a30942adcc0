"""Numbers on events, so that no loss is silent.

`epoch` changes with each event session and only grows; `seq` counts a server's events within an epoch; `nth` counts them per event
name, so that a subscriber to some names, who sees holes in `seq` by design, can check too. A tick once a second states the last of
each without using one, so that loss at the end of a quiet stream shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class Numberer:
    """The publisher's side: one per server."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.seq = 0
        self.counts: dict[str, int] = {}

    def next(self, event: str) -> tuple[int, int]:
        """(seq, nth) for an event of this name."""
        self.seq += 1
        nth = self.counts.get(event, 0) + 1
        self.counts[event] = nth
        return self.seq, nth

    def new_epoch(self, proposed: int) -> None:
        """Begin an epoch: `proposed`, or the next number when the clock gave nothing greater."""
        self.epoch = max(self.epoch + 1, proposed)
        self.seq = 0
        self.counts = {}


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that this subscriber did not get.

    missed: how many, or None when it cannot be known because the epoch changed.
    after: the seq in `epoch` behind which they lie, for `replay`; `event` names them when only some names are subscribed.
    """

    server: str
    epoch: int
    after: int
    missed: int | None
    reason: str
    event: str | None = None


@dataclass
class _Seen:
    """`whole`: the count of every name is known, from a tick or because the epoch began before our eyes.

    `base`: the seq at which it was; `seqs`: the last seq of each name since.
    """

    epoch: int
    seq: int
    nths: dict[str, int] = field(default_factory=dict)
    whole: bool = False
    base: int = 0
    seqs: dict[str, int] = field(default_factory=dict)

    def nth(self, name: str, otherwise: int) -> int:
        return self.nths.get(name, 0 if self.whole else otherwise)

    def after(self, name: str) -> int:
        """Where to look for lost events of this name; those of other names may have come since."""
        return self.seqs.get(name, self.base)


class Gaps:
    """The subscriber's side. `names` are the event names subscribed to; None is all of them.

    Give `event` each event and `tick` each tick, in the order they come; both return what was missed before it. An event that was
    seen already is answered with None as its gap and False as fresh.
    """

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self._names = names
        self._seen: dict[str, _Seen] = {}

    def event(self, server: str, epoch: int, seq: int, nth: int, name: str) -> tuple[bool, Gap | None]:
        """(whether the event is new, the gap before it)."""
        seen = self._seen.get(server)
        if seen is None:
            self._seen[server] = _Seen(epoch, seq, {name: nth}, base=seq)
            return True, None
        if epoch < seen.epoch or (epoch == seen.epoch and seq <= seen.seq):
            return False, None
        gap = self._before(server, seen, epoch, seq, nth, name)
        if epoch != seen.epoch:
            seen = self._seen[server] = _Seen(epoch, seq, whole=True)
        seen.seq = seen.seqs[name] = seq
        seen.nths[name] = nth
        return True, gap

    def tick(self, server: str, epoch: int, seq: int, counts: dict[str, int]) -> list[Gap]:
        """What a tick shows to be missing: everything up to its `seq` has been published."""
        seen = self._seen.get(server)
        if seen is None:
            self._seen[server] = _Seen(epoch, seq, dict(counts), whole=True, base=seq)
            return []
        if epoch < seen.epoch or (epoch == seen.epoch and seq < seen.seq):
            return []
        gaps = self._at_tick(server, seen, epoch, seq, counts)
        self._seen[server] = _Seen(epoch, seq, dict(counts), whole=True, base=seq)
        return gaps

    def _before(self, server: str, seen: _Seen, epoch: int, seq: int, nth: int, name: str) -> Gap | None:
        if epoch != seen.epoch:
            return _new_epoch(server, seen)
        if self._names is None:
            missed = seq - seen.seq - 1
            return Gap(server, epoch, seen.seq, missed, "lost") if missed else None
        missed = nth - seen.nth(name, nth - 1) - 1
        return Gap(server, epoch, seen.after(name), missed, "lost", name) if missed > 0 else None

    def _at_tick(self, server: str, seen: _Seen, epoch: int, seq: int, counts: dict[str, int]) -> list[Gap]:
        if epoch != seen.epoch:
            return [_new_epoch(server, seen)]
        if self._names is None:
            missed = seq - seen.seq
            return [Gap(server, epoch, seen.seq, missed, "lost")] if missed else []
        now = {name: counts.get(name, 0) for name in sorted(self._names)}
        lost = {name: nth - seen.nth(name, nth) for name, nth in now.items()}
        return [Gap(server, epoch, seen.after(name), missed, "lost", name) for name, missed in lost.items() if missed > 0]


def _new_epoch(server: str, seen: _Seen) -> Gap:
    return Gap(server, seen.epoch, seen.seq, None, "the event session was replaced")
