"""The known channels, and the leg and call of each.

Local channels come in pairs, `Local/NUMBER@CONTEXT-SERIAL;1` and `;2`; both halves are one leg. A
channel whose Linkedid changes takes its call along: a transfer, a pickup or a conference has joined
two calls.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from heapq import merge
from typing import Any

from amid.history.event import Moment, known, text
from amid.history.model import Call, Leg

REMEMBERED = 10_000
"""Limit of the remembered channels that have hung up. Some events follow the Hangup."""
LINGER_S = 10.0
"""Seconds for which a call that is over accepts late events."""

_HALF_OF_PAIR = re.compile(r"(Local/.*);[12]")


class Legs:
    """`calls` by Linkedid: those that go on, and those that ended recently. A call that was joined
    to another is found by both Linkedids. `live`: legs by the Uniqueid of their channels."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.live: dict[str, Leg] = {}
        self._pairs: dict[str, Leg] = {}
        self._hung_up: OrderedDict[str, Leg] = OrderedDict()

    def current(self, uniqueid: Any, linkedid: Any) -> Leg | None:
        """The leg of a live channel that is known as one of this call."""
        leg = self.live.get(uniqueid) if type(uniqueid) is str else None
        return leg if leg is not None and (leg.call.linkedid == linkedid or linkedid in leg.call.joined) else None

    def find(self, uniqueid: Any, linkedid: Any, name: Any, number: Any, caller_name: Any, at: Moment) -> Leg | None:
        """The leg of a channel, a new one if it is unknown. None: the event has no such channel.
        The arguments are the values of its headers, None for absent ones."""
        leg = self.current(uniqueid, linkedid) or self._find_or_add(text(uniqueid), text(linkedid), text(name), at)
        if leg is None:
            return None
        if not leg.number and (known_number := known(number)):
            leg.number, leg.call.changed = known_number, True
        if not leg.name and (known_name := known(caller_name)):
            leg.name, leg.call.changed = known_name, True
        return leg

    def remove(self, uniqueid: str) -> Leg | None:
        """The leg of a channel that has hung up. None: it is unknown, or had hung up before."""
        leg = self.live.pop(uniqueid, None)
        if leg is None:
            return None
        self._hung_up[uniqueid] = leg
        if len(self._hung_up) > REMEMBERED:
            self._hung_up.popitem(last=False)
        leg.live -= 1
        if not leg.live:
            self._pairs.pop(leg.channel, None)
        return leg

    def expire(self, now: float) -> None:
        """Forget calls that ended some time ago. now: the time of the last event."""
        before = now - LINGER_S
        over = [call for call in self.calls.values() if call.ended and call.last.time < before and not call.changed]
        for call in dict.fromkeys(over):
            for linkedid in (call.linkedid, *call.joined):
                self.calls.pop(linkedid, None)
            for leg in call.legs:
                for uniqueid in leg.uniqueids:
                    self._hung_up.pop(uniqueid, None)

    def _call(self, linkedid: str, at: Moment) -> Call:
        call = self.calls.get(linkedid)
        if call is None:
            call = self.calls[linkedid] = Call(linkedid, first=at, last=at, began=at.time)
        return call

    def _find_or_add(self, uniqueid: str, linkedid: str, name: str, at: Moment) -> Leg | None:
        if not uniqueid or uniqueid == "none":
            return None
        linkedid = linkedid or uniqueid
        leg = self.live.get(uniqueid) or self._hung_up.get(uniqueid)
        if leg is None:
            return self._add(uniqueid, name, linkedid, at)
        if leg.call.linkedid != linkedid and linkedid not in leg.call.joined:
            self._join(leg.call, linkedid, at)
        return leg

    def _add(self, uniqueid: str, name: str, linkedid: str, at: Moment) -> Leg:
        half = _HALF_OF_PAIR.fullmatch(name) if name.startswith("Local/") else None
        leg = self._pairs.get(half[1]) if half else None
        if leg is None:
            call = self._call(linkedid, at)
            leg = Leg(half[1] if half else name, call, local=half is not None)
            call.legs.append(leg)
            if half:
                self._pairs[half[1]] = leg
        self.live[uniqueid] = leg
        leg.uniqueids.append(uniqueid)
        leg.live += 1
        leg.call.channels += 1
        leg.call.changed = True
        return leg

    def _join(self, call: Call, linkedid: str, at: Moment) -> None:
        """Add all of `call` to the call of `linkedid`, which one of its channels has now."""
        target = self._call(linkedid, at)
        if target is call:
            return
        target.began = min(target.began, call.began)
        target.ended = 0.0
        target.first = min(target.first, call.first, key=lambda at: at.number)
        target.last = max(target.last, call.last, key=lambda at: at.number)
        target.legs += call.legs
        target.steps = list(merge(target.steps, call.steps, key=lambda step: step.at.number))
        target.joined += [call.linkedid, *call.joined]
        target.numbers |= call.numbers
        target.events += call.events
        target.channels += call.channels
        target.left_out += call.left_out
        target.has_gap = target.has_gap or call.has_gap
        target.late = target.late or call.late
        target.waited += call.waited
        target.talked += call.talked
        target.outcome = target.outcome or call.outcome
        target.queue, target.agent = target.queue or call.queue, target.agent or call.agent
        target.dialled = target.dialled or call.dialled
        target.answered_at = min(filter(None, (target.answered_at, call.answered_at)), default=0.0)
        target.talks_since = min(filter(None, (target.talks_since, call.talks_since)), default=0.0)
        target.changed = True
        for leg in call.legs:
            leg.call = target
        for joined in (call.linkedid, *call.joined):
            self.calls[joined] = target
