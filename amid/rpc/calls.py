"""What becomes of every call that was accepted: queued, handed to a lane, answered once, always before its deadline.

The broker owns this and nothing else does, so a reader can die at any moment and take no bookkeeping with it. Nothing here does
I/O: each method returns what must be sent, `Send`s to readers and `Reply`s to callers.

A reader states in every message how many lanes are free and how many calls it has taken from this broker so far. What the broker
may hand out is the first number less the calls that are still under way to it; a lost or repeated message cannot make the two
drift apart.

A call is handed only to a reader that was heard a moment ago. So while a reader hangs and is not yet replaced, calls wait in the
queue, where they can be said not to have been sent, and their turn comes with its successor.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from amid.errors import AmidError

GAP_S = 3.0
"""Seconds without a session that a call will wait through; also how long a reader is believed after its last message."""

FRESH_S = 1.2
"""Seconds since a reader's last message within which calls are handed to it; it sends one every half second."""


class Order(Struct, frozen=True):
    """What a reader is asked to do. `kind` is "call", which takes a lane, or "replay", which does not."""

    kind: str
    body: dict[str, Any]


class Send(Struct, frozen=True):
    """`reader` is whatever `Calls.state` was given for it."""

    reader: Any
    message: list[Any]


class Reply(Struct, frozen=True):
    """`origin` is whoever asked, as the broker knows him. `result` is packed already: the broker does not look inside."""

    origin: Any
    result: bytes | None = None
    error: AmidError | None = None


Effect = Send | Reply


@dataclass(slots=True, eq=False)
class Pending:
    call_id: int
    origin: Any
    server: str
    order: Order
    deadline: float
    handed: bool = False
    response: dict[Any, Any] | None = None

    def failure(self, kind: str, message: str) -> Reply:
        sent = self.handed and self.order.kind == "call"
        action_id = self.order.body.get("action_id") if sent else None
        error = AmidError(kind, message, sent=sent, server=self.server, action_id=action_id, response=self.response)
        return Reply(self.origin, error=error)

    def lateness(self) -> str:
        """What had not come when the deadline passed."""
        if not self.handed:
            return "it was still waiting for a lane"
        return f"{self.order.body['until']} had not come" if self.response is not None else "its answer had not come"


@dataclass(slots=True)
class ServerQueue:
    """One server as the broker sees it. `info` is its reader's last statement."""

    name: str
    limit: int
    last_ready: float
    reader: Any = None
    started: int = 0
    heard: float = 0.0
    ready: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    waiting: deque[Pending] = field(default_factory=deque)
    handed: dict[int, Pending] = field(default_factory=dict)
    free: int = 0
    taken: int = 0
    sent: int = 0
    wanted: int = 0

    def patient(self, now: float) -> bool:
        """Whether a call may wait: there is a session, or there was one a moment ago."""
        return now < self.last_ready + GAP_S

    @property
    def free_lanes(self) -> int:
        """Those that no call has, or is on its way to."""
        return self.free - (self.sent - self.taken)

    def credit(self, now: float) -> int:
        """How many calls may be handed to the reader now."""
        return self.free_lanes if self.ready and now < self.heard + FRESH_S else 0


class Calls:
    """Every open call. `late` counts answers that came when nobody waited any more.

    first_id: where the numbers of the calls begin. A broker's must differ from its predecessor's: a reader may still have an answer
    to a call of that one's, and it must not find a new call under the same number.
    """

    def __init__(self, limits: Mapping[str, int], max_calls: int, now: float, first_id: int = 0) -> None:
        self.servers: dict[str, ServerQueue] = {}
        self.max_calls = max_calls
        self.late = 0
        self._open: dict[int, Pending] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._last_id = first_id
        self.configure(limits, max_calls, now)

    def __len__(self) -> int:
        return len(self._open)

    def configure(self, limits: Mapping[str, int], max_calls: int, now: float) -> list[Effect]:
        """Take the servers and their queues' limits; the calls of a server that is gone fail."""
        self.max_calls = max_calls
        effects: list[Effect] = []
        for name in [name for name in self.servers if name not in limits]:
            queue, why = self.servers[name], f"server {name} was taken out of the configuration"
            effects += self._fail(list(queue.handed.values()), "connection_lost", why)
            effects += self._fail(list(queue.waiting), "not_connected", why)
            del self.servers[name]
        for name, limit in limits.items():
            self.servers.setdefault(name, ServerQueue(name, limit, now)).limit = limit
        return effects

    def open(self, origin: Any, server: str, order: Order, deadline: float, now: float) -> list[Effect]:
        """Accept a call, or refuse it at once."""
        queue = self.servers[server]
        self._last_id += 1
        call = Pending(self._last_id, origin, server, order, deadline)
        if len(self._open) >= self.max_calls:
            return [call.failure("busy", f"{self.max_calls} calls are open already (max_calls in [rpc])")]
        return self._ask(queue, call, now) if order.kind == "replay" else self._queue(queue, call, now)

    def _queue(self, queue: ServerQueue, call: Pending, now: float) -> list[Effect]:
        if not queue.patient(now):
            return [call.failure("not_connected", _why(queue))]
        if len(queue.waiting) >= queue.limit:
            return [call.failure("busy", f"{queue.limit} calls are waiting for server {queue.name} already")]
        self._register(call)
        queue.waiting.append(call)
        return self._hand_out(queue, now)

    def _ask(self, queue: ServerQueue, call: Pending, now: float) -> list[Effect]:
        """A question to the reader itself, for which Asterisk need not be there."""
        if queue.reader is None or now >= queue.heard + GAP_S:
            return [call.failure("not_connected", f"the reader of server {queue.name} does not report")]
        self._register(call)
        return [self._hand(queue, queue.reader, call)]

    def _register(self, call: Pending) -> None:
        self._open[call.call_id] = call
        heapq.heappush(self._deadlines, (call.deadline, call.call_id))
        if len(self._deadlines) > 2 * len(self._open) + 1000:  # most are of calls that were answered long before theirs
            self._deadlines = sorted((one.deadline, one.call_id) for one in self._open.values())  # which is a heap

    def state(
        self, server: str, reader: Any, started: int, free: int, taken: int, info: dict[str, Any] | None, now: float
    ) -> list[Effect]:
        """A reader's word on itself. `started` orders incarnations: an older one is not listened to."""
        queue = self.servers.get(server)
        if queue is None or started < queue.started:
            return []
        effects: list[Effect] = []
        if reader != queue.reader:
            effects += self._fail(list(queue.handed.values()), "connection_lost", f"the reader of server {server} was replaced")
            queue.reader, queue.started, queue.sent, queue.wanted = reader, started, 0, 0
        queue.heard, queue.free, queue.taken = now, free, taken
        if info is not None:
            queue.info = info
            queue.ready = bool(info["ready"])
        if queue.ready:
            queue.last_ready = now
        return effects + self._hand_out(queue, now)

    def answered(self, call_id: int, result: bytes | None, error: AmidError | None, now: float) -> list[Effect]:
        """A reader's answer to a call; dropped and counted when its deadline has passed."""
        call = self._open.get(call_id)
        if call is None or now >= call.deadline:
            self.late += 1
            return []
        self._close(call)
        return [Reply(call.origin, result, error)]

    def until(self, call_id: int, response: dict[Any, Any]) -> None:
        """Asterisk has answered a call that goes on waiting for an event; its caller learns the response in any case."""
        call = self._open.get(call_id)
        if call is not None:
            call.response = response

    def unsent(self, call_id: int, now: float) -> list[Effect]:
        """The reader had no lane for it after all: the call is in its queue again, where it was."""
        call = self._open.get(call_id)
        if call is None or not call.handed:
            return []
        self._take_back(call)
        return self._hand_out(self.servers[call.server], now)

    def gone(self, reader: Any, unheard: Iterable[list[Any]] = ()) -> list[Effect]:
        """A reader has ended, and everything that it had said was heard. Nobody will answer what it was handed; but a call among
        the messages that did not reach it any more is back in the queue."""
        for message in unheard:
            call = self._open.get(message[1]) if message[0] == "call" else None
            if call is not None and call.handed:
                self._take_back(call)
        effects: list[Effect] = []
        for queue in self.servers.values():
            if queue.reader == reader:
                why = f"the reader of server {queue.name} has ended"
                effects += self._fail(list(queue.handed.values()), "connection_lost", why)
                queue.reader, queue.ready, queue.heard = None, False, 0.0
        return effects

    def _take_back(self, call: Pending) -> None:
        queue = self.servers[call.server]
        queue.handed.pop(call.call_id, None)
        call.handed = False
        insort(queue.waiting, call, key=lambda other: other.call_id)

    def tick(self, now: float) -> list[Effect]:
        """Fail what is overdue, what waits for a server that stays away, and what a reader that fell silent was given."""
        effects: list[Effect] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            call = self._open.get(heapq.heappop(self._deadlines)[1])
            if call is not None:
                effects += self._time_out(call)
        for queue in self.servers.values():
            if queue.waiting and not queue.patient(now):
                effects += self._fail(list(queue.waiting), "not_connected", _why(queue))
            if queue.handed and now >= queue.heard + GAP_S:
                silent = f"the reader of server {queue.name} does not report"
                effects += self._fail(list(queue.handed.values()), "connection_lost", silent)
        return effects

    def next_deadline(self) -> float | None:
        """When `tick` has something to do next, in monotonic seconds; None when nothing is open."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        times = [self._deadlines[0][0]] if self._deadlines else []
        times += [queue.last_ready + GAP_S for queue in self.servers.values() if queue.waiting]
        times += [queue.heard + GAP_S for queue in self.servers.values() if queue.handed]
        return min(times, default=None)

    def fail_all(self) -> list[Effect]:
        """The broker ends: every open call gets the honest error."""
        lost = [call for call in self._open.values() if call.handed]
        waiting = [call for call in self._open.values() if not call.handed]
        return self._fail(lost, "connection_lost", "amid has ended") + self._fail(waiting, "not_connected", "amid has ended")

    def _hand_out(self, queue: ServerQueue, now: float) -> list[Effect]:
        effects: list[Effect] = []
        credit = queue.credit(now)
        reader = queue.reader
        if reader is None:
            return effects
        while queue.waiting and credit > 0:
            if now >= queue.waiting[0].deadline:
                effects += self._time_out(queue.waiting[0])
                continue
            effects.append(self._hand(queue, reader, queue.waiting.popleft()))
            credit -= 1
        if queue.wanted and not queue.waiting:
            queue.wanted = 0
        if len(queue.waiting) > queue.wanted and now < queue.heard + FRESH_S:
            queue.wanted = len(queue.waiting)
            effects.append(Send(reader, ["want", queue.wanted]))
        return effects

    def _hand(self, queue: ServerQueue, reader: Any, call: Pending) -> Send:
        call.handed = True
        queue.handed[call.call_id] = call
        queue.sent += call.order.kind == "call"
        return Send(reader, [call.order.kind, call.call_id, call.deadline, call.order.body])

    def _time_out(self, call: Pending) -> list[Effect]:
        return self._fail([call], "timeout", f"the deadline passed: {call.lateness()}")

    def _fail(self, calls: Iterable[Pending], kind: str, message: str) -> list[Effect]:
        effects: list[Effect] = []
        for call in calls:
            self._close(call)
            effects.append(call.failure(kind, message))
        return effects

    def _close(self, call: Pending) -> None:
        self._open.pop(call.call_id, None)
        queue = self.servers[call.server]
        if call.handed:
            queue.handed.pop(call.call_id, None)
        else:
            queue.waiting.remove(call)


def _why(queue: ServerQueue) -> str:
    detail = queue.info.get("detail") or ("no session for actions is open yet" if queue.info else "its reader has not reported")
    return f"server {queue.name} has no session: {detail}"
