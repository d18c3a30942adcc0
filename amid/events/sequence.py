"""Numbers on events, so that no loss is silent.

`epoch` changes with each event session; `seq` counts a server's events within an epoch; `nth` counts them per event name, so that a
subscriber to some names, who sees holes in `seq` by design, can check too. Names that are not counted have `nth` 0. A tick once a
second states the last of each without using one, so that loss at the end of a quiet stream shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

MAX_NAMES = 1000
"""Names of events that are counted, and as many more that subscribers asked for. Asterisk has some two hundred; whoever can forge
events can invent any number, and each tick has all that are counted."""
MAX_NAME_LENGTH = 80
"""Characters of a name that is counted."""


class Numberer:
    """The publisher's side: one per server. `counts` has the last `nth` of each name that is counted."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.seq = 0
        self.counts: dict[str, int] = {}
        self._asked: dict[str, int] = {}

    def number(self, events: Iterable[str]) -> tuple[int, list[int]]:
        """(the first one's seq, the nth of each) for the events of these names, in order. nth 0: the name is not counted."""
        first, counts, nths = self.seq + 1, self.counts, []
        for event in events:
            nth = counts.get(event, 0)
            if nth or self._is_counted(event):
                nth += 1
                counts[event] = nth
            nths.append(nth)
        self.seq += len(nths)
        return first, nths

    def count(self, name: str) -> None:
        """Count this name, however many others there are: a subscriber asked for it."""
        if len(self._asked) < MAX_NAMES and len(name) <= MAX_NAME_LENGTH:
            self._asked[name] = 0
            self.counts.setdefault(name, 0)

    def _is_counted(self, name: str) -> bool:
        """Whether a name that has not come before in this epoch is counted."""
        return name in self._asked or (len(self.counts) < MAX_NAMES + len(self._asked) and len(name) <= MAX_NAME_LENGTH)

    def new_epoch(self, proposed: int) -> None:
        """Begin an epoch: `proposed`, or the next number when the clock gave nothing greater."""
        self.epoch = max(self.epoch + 1, proposed)
        self.seq = 0
        self.counts = dict(self._asked)


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that this subscriber did not get.

    They lie behind number `after` and not behind number `until` of `epoch`; `event` names them when only some names are subscribed.
    missed: how many, or None when it cannot be known: because the epoch ended (`until` is None too), or the name is not counted.
    """

    server: str
    epoch: int
    after: int
    until: int | None
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
        """Behind which number the next event of this name comes; those of other names may have come since."""
        return self.seqs.get(name, self.base)


class Gaps:
    """The subscriber's side. `names` are the event names subscribed to; None is all of them.

    Give `event` each event and `tick` each tick, in the order they come; both return what was missed before it. An event that was
    seen already is answered with no gaps and False as fresh. `before_event` and `before_tick` tell the same and take nothing, for a
    subscriber that fetches what it missed before it goes on.
    """

    def __init__(self, names: frozenset[str] | None = None) -> None:
        self._names = names
        self._seen: dict[str, _Seen] = {}

    def add_name(self, name: str) -> None:
        """Subscribe to one more name; what was counted of it since the last tick is missing."""
        if self._names is not None:
            self._names |= {name}

    def event(self, server: str, epoch: int, seq: int, nth: int, name: str) -> tuple[bool, list[Gap]]:
        """(whether the event is new, the gaps before it)."""
        seen = self._seen.get(server)
        if seen is None:
            seen = self._seen[server] = _Seen(epoch, seq, base=seq)
        elif not self._fresh(seen, epoch, seq, name):
            return False, []
        gaps = self.before_event(server, epoch, seq, nth, name)
        if epoch != seen.epoch:
            seen = self._seen[server] = _begun(epoch)
        seen.seq = max(seen.seq, seq)
        if self._names is not None:
            seen.seqs[name] = seq
            seen.nths[name] = nth
        return True, gaps

    def before_event(self, server: str, epoch: int, seq: int, nth: int, name: str) -> list[Gap]:
        """What this event, when it is the next to be taken, shows to be missing."""
        seen = self._seen.get(server)
        if seen is None or not self._fresh(seen, epoch, seq, name):
            return []
        if epoch != seen.epoch:
            return [_ended(server, seen), *self._before(server, _begun(epoch), seq, nth, name)]
        return self._before(server, seen, seq, nth, name)

    def tick(self, server: str, epoch: int, seq: int, counts: dict[str, int]) -> list[Gap]:
        """What a tick shows to be missing: everything up to its `seq` has been published."""
        gaps = self.before_tick(server, epoch, seq, counts)
        seen = self._seen.get(server)
        if seen is None or epoch != seen.epoch or seq >= seen.seq:
            known = {name: counts[name] for name in self._names or () if name in counts}
            self._seen[server] = _Seen(epoch, seq, known, whole=True, base=seq)
        return gaps

    def before_tick(self, server: str, epoch: int, seq: int, counts: dict[str, int]) -> list[Gap]:
        """What this tick, when it is the next to be taken, shows to be missing."""
        seen = self._seen.get(server)
        if seen is None or (epoch == seen.epoch and seq < seen.seq):
            return []
        if epoch != seen.epoch:
            return [_ended(server, seen), *self._at_tick(server, _begun(epoch), seq, counts)]
        return self._at_tick(server, seen, seq, counts)

    def widened(self, gap: Gap) -> Gap:
        """With names only, `gap` from where nothing of any name is missing: what was lost of the others lies there too."""
        seen = self._seen.get(gap.server)
        if self._names is None or seen is None or seen.epoch != gap.epoch:
            return gap
        return replace(gap, after=min(map(seen.after, self._names)))

    def _fresh(self, seen: _Seen, epoch: int, seq: int, name: str) -> bool:
        """With names only, each name is a stream of its own: of one name a lost event may be fetched when another's has come."""
        if epoch != seen.epoch:  # a smaller one too: the daemon lost its state, and nothing else can send it
            return True
        return seq > (seen.seq if self._names is None else seen.after(name))

    def _before(self, server: str, seen: _Seen, seq: int, nth: int, name: str) -> list[Gap]:
        if self._names is None:
            missed = seq - seen.seq - 1
            return [Gap(server, seen.epoch, seen.seq, seq - 1, missed, "lost")] if missed > 0 else []
        if nth == 0:
            return [Gap(server, seen.epoch, seen.after(name), seq - 1, None, "events of this name are not counted", name)]
        missed = nth - seen.nth(name, nth - 1) - 1
        return [Gap(server, seen.epoch, seen.after(name), seq - 1, missed, "lost", name)] if missed > 0 else []

    def _at_tick(self, server: str, seen: _Seen, seq: int, counts: dict[str, int]) -> list[Gap]:
        if self._names is None:
            missed = seq - seen.seq
            return [Gap(server, seen.epoch, seen.seq, seq, missed, "lost")] if missed else []
        lost = {name: counts.get(name, 0) - seen.nth(name, counts.get(name, 0)) for name in sorted(self._names)}
        return [Gap(server, seen.epoch, seen.after(name), seq, n, "lost", name) for name, n in lost.items() if n > 0]


def _begun(epoch: int) -> _Seen:
    """An epoch that began before our eyes: nothing of it has been seen, and all of it counts."""
    return _Seen(epoch, 0, whole=True)


def _ended(server: str, seen: _Seen) -> Gap:
    return Gap(server, seen.epoch, seen.seq, None, None, "the event session was replaced")
