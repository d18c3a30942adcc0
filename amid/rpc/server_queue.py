"""One server as the broker sees it: the calls that wait for its lanes, whose turn it is, and whose calls are on the lanes.

Lanes are shared by principal, so that neither slow actions nor a flood of quick ones of one caller hold up the others:

* A lane that becomes free goes to the principal with the fewest lanes, and among equals to the one that was served longest ago.
* When others hold all lanes and a principal without one waits, the reader opens a spare lane, one more than `lanes`. Only a
  principal without a lane gets the last one, so one caller alone can use `lanes` of them, as if there were no spare.
* A full queue drops the newest call of the principal with the most waiting calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from amid.rpc.open_call import OpenCall

GAP_S = 3.0
"""Seconds without a session that a call will wait through; also how long a reader is believed after its last message."""

FRESH_S = 1.2
"""Seconds since a reader's last message within which calls are handed to it; it sends one every half second."""


class FairQueue:
    """Calls that wait, by principal: first in, first out for one principal, and the principals in turn."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[int, OpenCall]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[OpenCall]:
        return (call for calls in self._waiting.values() for call in calls.values())

    def append(self, call: OpenCall) -> None:
        calls = self._waiting.get(call.principal)
        if calls is None:
            calls = self._waiting[call.principal] = OrderedDict()
        calls[call.call_id] = call
        self._count += 1

    def put_back(self, call: OpenCall) -> None:
        """A call that was handed out waits again, in front of those of its principal that were opened later."""
        self.append(call)
        calls = self._waiting[call.principal]
        self._waiting[call.principal] = OrderedDict(sorted(calls.items()))

    def remove(self, call: OpenCall) -> None:
        calls = self._waiting[call.principal]
        del calls[call.call_id]
        self._count -= 1
        if not calls:
            del self._waiting[call.principal]

    def next_call(self, lanes: LaneUse, without_lane: bool) -> OpenCall | None:
        """Whose turn it is. without_lane: only a principal that has no lane may be served."""
        if not self._waiting:
            return None
        principal = next(iter(self._waiting)) if len(self._waiting) == 1 else min(self._waiting, key=lanes.count)
        if without_lane and lanes.count(principal):
            return None
        return next(iter(self._waiting[principal].values()))

    def take(self, call: OpenCall) -> None:
        """`call` is handed out: its principal's next turn comes after that of all others."""
        self._waiting.move_to_end(call.principal)
        self.remove(call)

    def newest_of_longest(self, principal: str) -> OpenCall | None:
        """The call that makes room for one of `principal`; None when no other principal has more waiting calls."""
        longest = max(self._waiting.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._waiting.get(principal, ())):
            return None
        return longest[next(reversed(longest))]

    def any_without_lane(self, lanes: LaneUse) -> bool:
        return not lanes.counts.keys() >= self._waiting.keys()


class LaneUse:
    """Whose calls are on lanes. A call may be on one after its caller was answered: Asterisk works on it still.

    calls: by id, each with its principal, and its number among all calls that this reader was handed. counts: the number of lanes
    of each principal that has any.
    """

    def __init__(self) -> None:
        self.calls: dict[int, tuple[str, int]] = {}
        self.counts: dict[str, int] = {}

    def count(self, principal: str) -> int:
        return self.counts.get(principal, 0)

    def add(self, call: OpenCall, number: int) -> None:
        principal = call.principal
        self.calls[call.call_id] = principal, number
        self.counts[principal] = self.counts.get(principal, 0) + 1

    def release(self, call_id: int) -> None:
        known = self.calls.pop(call_id, None)
        if known is None:
            return
        principal, _ = known
        self.counts[principal] -= 1
        if not self.counts[principal]:
            del self.counts[principal]

    def reconcile(self, reported: Collection[int], taken: int) -> None:
        """Release what the reader had taken and has on no lane any more."""
        over = [call_id for call_id, (_, number) in self.calls.items() if number <= taken and call_id not in reported]
        for call_id in over:
            self.release(call_id)

    def clear(self) -> None:
        self.calls.clear()
        self.counts.clear()


@dataclass(slots=True)
class ServerQueue:
    """`info` is the last full statement of the server's reader."""

    name: str
    limit: int
    last_ready: float
    reader: Any = None
    started: int = 0
    heard: float = 0.0
    ready: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    waiting: FairQueue = field(default_factory=FairQueue)
    handed: dict[int, OpenCall] = field(default_factory=dict)
    lanes: LaneUse = field(default_factory=LaneUse)
    max_lanes: int = 1
    has_spare_lane: bool = False
    free: int = 0
    taken: int = 0
    sent: int = 0
    wanted: tuple[int, bool] = (0, False)

    def patient(self, now: float) -> bool:
        """Whether a call may wait: there is a session, or there was one a moment ago."""
        return now < self.last_ready + GAP_S

    @property
    def free_lanes(self) -> int:
        """Those that no call has, or is on its way to."""
        return self.free - (self.sent - self.taken)

    @property
    def lanes_used_up(self) -> bool:
        return len(self.lanes.calls) >= self.max_lanes

    def fresh(self, now: float) -> bool:
        return now < self.heard + FRESH_S

    def next_call(self, now: float) -> OpenCall | None:
        """The call that may be handed to the reader now."""
        if self.free_lanes <= 0 or not self.ready or not self.fresh(now):
            return None
        return self.waiting.next_call(self.lanes, without_lane=self.has_spare_lane and self.lanes_used_up)

    def hand(self, call: OpenCall) -> list[Any]:
        """The message that gives `call` to the reader."""
        call.handed = True
        self.handed[call.call_id] = call
        if call.order.kind == "call":
            self.sent += 1
            self.lanes.add(call, self.sent)
        return [call.order.kind, call.call_id, call.deadline, call.order.body]

    def take_back(self, call: OpenCall) -> None:
        """`call` did not reach Asterisk: it waits again, where it was."""
        del self.handed[call.call_id]
        call.handed = False
        self.waiting.put_back(call)

    def remove(self, call: OpenCall) -> None:
        """`call` is over for its caller."""
        if call.handed:
            del self.handed[call.call_id]
        else:
            self.waiting.remove(call)

    def replace_reader(self, reader: Any, started: int) -> None:
        self.reader, self.started, self.sent, self.wanted = reader, started, 0, (0, False)
        self.lanes.clear()

    def report(self, free: int, taken: int, info: dict[str, Any] | None, now: float) -> None:
        """What the reader says of itself."""
        self.heard, self.free, self.taken = now, free, taken
        if info is not None:
            self.info = info
            self.ready = bool(info["ready"])
            lanes = info["lanes"]
            self.max_lanes = lanes["limit"]
            self.has_spare_lane = lanes["free"] + lanes["busy"] > self.max_lanes
            self.lanes.reconcile(lanes["calls"], taken)
        if self.ready:
            self.last_ready = now

    def want_lanes(self, now: float) -> list[Any] | None:
        """The message that asks the reader for more lanes, when it has not been asked for as many."""
        waiting = len(self.waiting)
        if not waiting:
            self.wanted = 0, False
        if not waiting or not self.fresh(now):
            return None
        asked_waiting, asked_spare = self.wanted
        spare = self.lanes_used_up and self.waiting.any_without_lane(self.lanes)
        self.wanted = max(waiting, asked_waiting), spare
        return ["want", waiting, spare] if waiting > asked_waiting or spare > asked_spare else None

    def absence(self) -> str:
        """Why there is no session, for a caller."""
        unknown = "no session for actions is open yet" if self.info else "its reader has not reported"
        return f"server {self.name} has no session: {self.info.get('detail') or unknown}"
