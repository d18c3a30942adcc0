"""One server as the broker sees it: the calls that wait for its lanes, their order, and the lanes'
use.

Lanes are shared among principals, so that neither slow actions nor a flood of quick ones of one
caller delay the others:

* A free lane goes to the principal with the fewest calls on lanes, and among equals to the one that
  was served least recently.
* A quick action goes to an idle lane first, and behind other quick ones if the reader has room
  there. While a slow action is next, nothing is sent behind others, so that a lane becomes idle for
  it.
* If others hold all lanes and a principal without one waits, the reader opens a spare lane, one
  more than `lanes`. Only a principal without a call on a lane gets the last idle one, so one caller
  alone can use exactly `lanes` of them.
* A full queue drops the newest call of the principal with the most waiting calls.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from amid.rpc.messages import Capacity, Lanes, Request, RunAction, Status, WantLanes
from amid.rpc.open_call import OpenCall

SESSION_GRACE_S = 3.0
"""A call waits in the queue for this time without a session."""
READER_TTL_S = 3.0
"""A reader without a message for this time counts as lost."""
READER_FRESH_S = 1.2
"""Calls are assigned to a reader within this time after its last
message; it sends one every 0.5 s."""

NO_CAPACITY = Capacity(0, 0, 0, 0)
NO_STATUS = Status(NO_CAPACITY, False, "connecting", "its reader has not reported yet", 0.0, 0, 0, "", Lanes(0, 0, 0, []), {})
"""Of a reader that has not reported yet."""


class FairQueue:
    """Waiting calls: first in, first out within one principal, and the principals in turn."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[int, OpenCall]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[OpenCall]:
        return (call for calls in self._waiting.values() for call in calls.values())

    def append(self, call: OpenCall) -> None:
        self._waiting.setdefault(call.principal, OrderedDict())[call.call_id] = call
        self._count += 1

    def put_back(self, call: OpenCall) -> None:
        """Queue a call again, before the calls of its principal that were opened later."""
        self.append(call)
        calls = self._waiting[call.principal]
        older = list(takewhile(call.call_id.__gt__, calls))  # few: sorting thousands for each would take most of the time
        for call_id in (call.call_id, *reversed(older)):
            calls.move_to_end(call_id, last=False)

    def remove(self, call: OpenCall) -> None:
        calls = self._waiting[call.principal]
        del calls[call.call_id]
        self._count -= 1
        if not calls:
            del self._waiting[call.principal]

    def next_call(self, lanes: LaneUse) -> OpenCall:
        """The next call. There must be one."""
        principal = next(iter(self._waiting)) if len(self._waiting) == 1 else min(self._waiting, key=lanes.count)
        return next(iter(self._waiting[principal].values()))

    def take(self, call: OpenCall) -> None:
        """Remove `call`, which is assigned now.

        The next turn of its principal comes after all others'.
        """
        self._waiting.move_to_end(call.principal)
        self.remove(call)

    def newest_of_longest(self, principal: str) -> OpenCall | None:
        """The call to drop for one of `principal`; None if no other
        principal has more waiting calls."""
        longest = max(self._waiting.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._waiting.get(principal, ())):
            return None
        return longest[next(reversed(longest))]

    def any_without_lane(self, lanes: LaneUse) -> bool:
        """Whether a principal waits that has no call on a lane."""
        return not lanes.counts.keys() >= self._waiting.keys()


class LaneUse:
    """Whose calls are on lanes. Asterisk may still work on a call whose caller has been answered.

    calls: by id, the principal of each, and its number among all calls that this reader was
    assigned. counts: calls by principal.
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
        """Release the calls that the reader had taken and no longer has on a lane."""
        over = [call_id for call_id, (_, number) in self.calls.items() if number <= taken and call_id not in reported]
        for call_id in over:
            self.release(call_id)


@dataclass(slots=True)
class ServerQueue:
    """A server's calls and its reader.

    reader: the link to the reader; status: its last full report. sent_idle, sent_behind: calls that
    this reader was assigned, for an idle lane and behind others. handed: the open actions among
    them. pulls: the open calls that wait for events. If there is a reader, it has them all.
    """

    name: str
    limit: int
    last_ready: float
    reader: Any = None
    started: int = 0
    last_message_at: float = -math.inf
    ready: bool = False
    status: Status = NO_STATUS
    waiting: FairQueue = field(default_factory=FairQueue)
    handed: dict[int, OpenCall] = field(default_factory=dict)
    pulls: dict[int, OpenCall] = field(default_factory=dict)
    lanes: LaneUse = field(default_factory=LaneUse)
    capacity: Capacity = NO_CAPACITY
    sent_idle: int = 0
    sent_behind: int = 0
    has_spare_lane: bool = False
    wanted: tuple[int, bool] = (0, False)

    def waits(self, now: float) -> bool:
        """Whether a call may wait: a session is open, or was until a moment ago."""
        return now < self.last_ready + SESSION_GRACE_S

    def fresh(self, now: float) -> bool:
        """Whether the reader has reported recently enough to be assigned calls."""
        return now < self.last_message_at + READER_FRESH_S

    @property
    def idle_lanes(self) -> int:
        """Idle lanes without a call on its way to them."""
        return self.capacity.idle - (self.sent_idle - self.capacity.taken_idle)

    @property
    def room(self) -> int:
        """Quick calls that may be sent behind others."""
        return self.capacity.room - (self.sent_behind - self.capacity.taken_behind)

    def next_call(self, now: float) -> OpenCall | None:
        """The call that the reader may get now. `hand` must follow."""
        if not self.waiting or not self.ready or not self.fresh(now):
            return None
        call = self.waiting.next_call(self.lanes)
        return call if self._has_place(call) else None

    def can_hand(self, call: OpenCall, now: float) -> bool:
        """Whether the reader may get a new call at once, because no other waits. `hand` must follow."""
        return not self.waiting and self.ready and self.fresh(now) and self._has_place(call)

    def _has_place(self, call: OpenCall) -> bool:
        """Whether the reader can take an action. Its message says where: on an idle lane, or behind others."""
        request = call.request
        assert isinstance(request, RunAction)
        reserved = self.has_spare_lane and self.lanes.count(call.principal) > 0
        request.behind = self.idle_lanes <= reserved
        return not request.behind or (request.quick and self.room > 0)

    def hand(self, call: OpenCall) -> Request:
        """The message that assigns `call` to the reader."""
        request = call.request
        if isinstance(request, RunAction):
            self.sent_idle += not request.behind
            self.sent_behind += request.behind
            self.lanes.add(call, self.sent_idle + self.sent_behind)
            self.handed[call.call_id] = call
        call.link = self.reader
        return request

    def unhand(self, call: OpenCall) -> None:
        """Undo `hand` for an action whose message could not be sent."""
        assert isinstance(call.request, RunAction)
        self.sent_idle -= not call.request.behind
        self.sent_behind -= call.request.behind
        self.lanes.release(call.call_id)
        self.take_back(call)

    def take_back(self, call: OpenCall) -> None:
        """Queue a call again that Asterisk has not received, at its old place."""
        del self.handed[call.call_id]
        call.link = None
        self.waiting.put_back(call)

    def remove(self, call: OpenCall) -> None:
        """Drop a call that has ended for its caller."""
        if call.pull is not None:
            del self.pulls[call.call_id]
        elif call.link is not None:
            del self.handed[call.call_id]
        else:
            self.waiting.remove(call)

    def set_cursor(self, call: OpenCall) -> None:
        """Let a pull without a cursor begin at the last event that the reader reported.

        An error in place of a cursor would make its caller request "from now on" again, and lose
        the events in between without notice.
        """
        if call.pull is not None and call.pull.epoch is None and self.status is not NO_STATUS:
            call.pull.epoch, call.pull.seq = self.status.epoch, self.status.seq

    def replace_reader(self, reader: Any, started: int, capacity: Capacity = NO_CAPACITY) -> None:
        """capacity: its first report. It counts calls already if its server was removed and added again.

        The pulls stay for the reader's successor, which continues from their cursors. One without a
        cursor continues after the last event that the reader reported.
        """
        for call in self.pulls.values():
            if call.link is not None:
                self.set_cursor(call)
            call.link = None
        self.reader, self.started, self.last_message_at = reader, started, -math.inf
        self.sent_idle, self.sent_behind = capacity.taken_idle, capacity.taken_behind
        self.capacity, self.wanted = NO_CAPACITY, (0, False)
        self.ready = False
        self.lanes = LaneUse()

    def take_report(self, report: Status | Capacity, now: float) -> None:
        """Take the reader's report, the full one or its capacity alone."""
        self.last_message_at = now
        if isinstance(report, Capacity):
            self.capacity = report
        else:
            self.status, self.ready, self.capacity, lanes = report, report.ready, report.capacity, report.lanes
            self.wanted = 0, False  # ask again: some may have ended when it was asked, and it opens lanes beside those in use
            self.has_spare_lane = lanes.free + lanes.busy > lanes.limit
            self.lanes.reconcile(lanes.calls, self.capacity.taken_idle + self.capacity.taken_behind)
        if self.ready:
            self.last_ready = now

    def want_lanes(self, now: float) -> WantLanes | None:
        """The message that asks the reader for more lanes; None if it
        has been asked for as many already."""
        waiting = len(self.waiting)
        if not waiting:
            self.wanted = 0, False
        if not waiting or not self.fresh(now):
            return None
        waiting = min(waiting, self.status.lanes.limit)  # for more, it opens no more lanes
        asked_waiting, asked_spare = self.wanted
        spare = self.idle_lanes <= 0 and self.waiting.any_without_lane(self.lanes)
        self.wanted = max(waiting, asked_waiting), spare
        return WantLanes(waiting, spare) if waiting > asked_waiting or spare > asked_spare else None

    def unavailable_reason(self) -> str:
        """Why there is no session, for a caller."""
        return f"server {self.name} has no session: {self.status.detail or 'no session for actions is open yet'}"
