"""One server as the broker sees it: the calls that wait for its lanes, whose turn it is, and whose calls are on the lanes.

Lanes are shared by principal, so that neither slow actions nor a flood of quick ones of one caller hold up the others:

* A lane that becomes free goes to the principal with the fewest calls on lanes, and among equals to the one that was served
  longest ago.
* A quick action goes to an idle lane first, and behind other quick ones when the reader has room there. While an action that is
  not quick has the next turn, nothing is put behind others, so that a lane becomes idle for it.
* When others hold all lanes and a principal without one waits, the reader opens a spare lane, one more than `lanes`. Only a
  principal without a call on any lane gets the last idle one, so one caller alone can use `lanes` of them, as if there were no
  spare.
* A full queue drops the newest call of the principal with the most waiting calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from amid.rpc.messages import Capacity, Request, RunAction, Status, WantLanes
from amid.rpc.open_call import OpenCall

SESSION_GRACE_S = 3.0
"""Seconds without a session for which a call waits in the queue."""
READER_TTL_S = 3.0
"""Seconds for which a reader is believed after its last message."""
READER_FRESH_S = 1.2
"""Seconds since a reader's last message within which calls are handed to it; it sends one every half second."""

NO_CAPACITY = Capacity(0, 0, 0, 0)


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

    def next_call(self, lanes: LaneUse) -> OpenCall | None:
        """Whose turn it is."""
        if not self._waiting:
            return None
        principal = next(iter(self._waiting)) if len(self._waiting) == 1 else min(self._waiting, key=lanes.count)
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

    calls: by id, each with its principal, and its number among all calls that this reader was handed. counts: the number of calls
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
    """`reader` is the link to the server's reader, `status` its last full report; sent_idle, sent_behind: the calls that this
    reader was handed, for an idle lane and to be put behind others."""

    name: str
    limit: int
    last_ready: float
    reader: Any = None
    started: int = 0
    heard: float = 0.0
    ready: bool = False
    status: Status | None = None
    waiting: FairQueue = field(default_factory=FairQueue)
    handed: dict[int, OpenCall] = field(default_factory=dict)
    lanes: LaneUse = field(default_factory=LaneUse)
    capacity: Capacity = NO_CAPACITY
    sent_idle: int = 0
    sent_behind: int = 0
    has_spare_lane: bool = False
    wanted: tuple[int, bool] = (0, False)

    def waits(self, now: float) -> bool:
        """Whether a call may wait: there is a session, or there was one a moment ago."""
        return now < self.last_ready + SESSION_GRACE_S

    def fresh(self, now: float) -> bool:
        return now < self.heard + READER_FRESH_S

    @property
    def idle_lanes(self) -> int:
        """Those that no call has, or is on its way to."""
        return self.capacity.idle - (self.sent_idle - self.capacity.taken_idle)

    @property
    def room(self) -> int:
        """How many quick calls may be put behind others."""
        return self.capacity.room - (self.sent_behind - self.capacity.taken_behind)

    def next_call(self, now: float) -> OpenCall | None:
        """The call that may be handed to the reader now; `hand` must follow."""
        if not self.ready or not self.fresh(now):
            return None
        call = self.waiting.next_call(self.lanes)
        if call is None or self._may_have_lane(call) or (call.quick and self.room > 0):
            return call
        return None

    def _may_have_lane(self, call: OpenCall) -> bool:
        reserved = self.has_spare_lane and self.lanes.count(call.principal) > 0
        return self.idle_lanes > reserved

    def hand(self, call: OpenCall) -> Request:
        """The message that gives `call` to the reader."""
        request = call.request
        if isinstance(request, RunAction):
            request.behind = not self._may_have_lane(call)
            self.sent_idle += not request.behind
            self.sent_behind += request.behind
            self.lanes.add(call, self.sent_idle + self.sent_behind)
        call.handed = True
        self.handed[call.call_id] = call
        return request

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

    def replace_reader(self, reader: Any, started: int, capacity: Capacity = NO_CAPACITY) -> None:
        """capacity: its first report. It has taken calls already when its server was out of the configuration meanwhile."""
        self.reader, self.started = reader, started
        self.sent_idle, self.sent_behind = capacity.taken_idle, capacity.taken_behind
        self.capacity, self.wanted = NO_CAPACITY, (0, False)
        self.ready = False
        self.lanes.clear()

    def take_status(self, status: Status, now: float) -> None:
        self.status, self.ready, self.capacity, self.heard = status, status.ready, status.capacity, now
        lanes = status.lanes
        self.has_spare_lane = lanes.free + lanes.busy > lanes.limit
        self.lanes.reconcile(lanes.calls, status.capacity.taken_idle + status.capacity.taken_behind)

    def take_capacity(self, capacity: Capacity, now: float) -> None:
        self.capacity, self.heard = capacity, now

    def want_lanes(self, now: float) -> WantLanes | None:
        """The message that asks the reader for more lanes, when it has not been asked for as many."""
        waiting = len(self.waiting)
        if not waiting:
            self.wanted = 0, False
        if not waiting or not self.fresh(now):
            return None
        asked_waiting, asked_spare = self.wanted
        spare = self.idle_lanes <= 0 and self.waiting.any_without_lane(self.lanes)
        self.wanted = max(waiting, asked_waiting), spare
        return WantLanes(waiting, spare) if waiting > asked_waiting or spare > asked_spare else None

    def absence(self) -> str:
        """Why there is no session, for a caller."""
        if self.status is None:
            return f"server {self.name} has no session: its reader has not reported"
        return f"server {self.name} has no session: {self.status.detail or 'no session for actions is open yet'}"
