"""Every accepted call: queued, assigned to a lane, and answered once, before its deadline.

Only the broker has this state, so a reader can die at any moment without losing any. Nothing here
does I/O: each method returns what must be sent, `Send`s to readers and `Reply`s to callers.

A call is assigned only to a reader that has reported recently. While a reader hangs and is not
replaced yet, calls wait in the queue, where they are certainly not sent, and run on its successor.

A call ends with its connection: there is no reply, and a queued action is never sent. Thousands of
calls may fail at one moment. Their replies come in portions; `next_deadline` is in the past until
the last one is out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from amid.errors import AmidError
from amid.rpc.call_table import CallTable
from amid.rpc.messages import CallService, Capacity, Forget, Hello, PassOn, PullEvents, Request, RunAction, ServiceHello, Status
from amid.rpc.open_call import BUG, Effect, OpenCall, Origin, Reply, Send
from amid.rpc.server_queue import READER_TTL_S, SESSION_GRACE_S, ServerQueue
from amid.rpc.services import Services

PORTION = 100
"""Limit of replies per method for calls that fail together. They take the broker 2 ms."""

NO_SERVICE = "the process that answers this method is not connected; `amid status` shows the processes"


class Calls:
    """Every open call. `late` counts answers without a waiting caller, `abandoned` calls whose
    caller disconnected.

    first_id: call ids begin above it. It must differ from that of the previous broker, whose calls
    a reader may still answer.
    """

    def __init__(self, limits: Mapping[str, int], max_calls: int, max_per_caller: int, now: float, first_id: int = 0) -> None:
        self.servers: dict[str, ServerQueue] = {}
        self.services = Services()
        self.late = 0
        self.abandoned = 0
        self._open = CallTable()
        self._failed: deque[tuple[OpenCall, str, str]] = deque()
        self._last_id = first_id
        self.configure(limits, max_calls, max_per_caller, now)

    def __len__(self) -> int:
        return len(self._open) + len(self._failed)

    def configure(self, limits: Mapping[str, int], max_calls: int, max_per_caller: int, now: float) -> list[Effect]:
        """Apply the servers and the limits of their queues. The calls of removed servers fail."""
        self.max_calls, self.max_per_caller = max_calls, max_per_caller
        for name in [name for name in self.servers if name not in limits]:
            why = f"server {name} was removed from the configuration"
            calls = [call for call in self._open.values() if call.server == name]
            self._fail([call for call in calls if call.sent], "connection_lost", why)
            self._fail([call for call in calls if not call.sent], "not_connected", why)
            del self.servers[name]
        for name, limit in limits.items():
            self.servers.setdefault(name, ServerQueue(name, limit, now)).limit = limit
        return self._failures()

    def new_call_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def open(self, origin: Origin, server: str, request: Request, now: float, service: str = "") -> list[Effect]:
        """Accept a call, or refuse it. service: the name of the service that answers a `CallService`."""
        call = OpenCall(origin, server, request, request.call_id, request.deadline, origin.principal)
        if self._open.by_principal.get(call.principal, 0) >= self.max_per_caller:
            return [call.failure("busy", f"this caller has {self.max_per_caller} calls open (max_calls_per_caller in [rpc])")]
        if len(self._open) >= self.max_calls:
            return [call.failure("busy", f"{self.max_calls} calls are open already (max_calls in [rpc])")]
        if isinstance(request, RunAction):
            return self._queue(self.servers[server], call, now)
        self._open.add(call)
        if isinstance(request, PullEvents):
            return self._queue_pull(self.servers[server], call)
        return self.services.add(call, service, now)

    def _queue(self, queue: ServerQueue, call: OpenCall, now: float) -> list[Effect]:
        if not queue.waits(now):
            return [call.failure("not_connected", queue.unavailable_reason())]
        if queue.can_hand(call, now):
            self._open.add(call)
            return [Send(queue.reader, queue.hand(call))]
        if len(queue.waiting) >= queue.limit:
            message = f"{queue.limit} calls are waiting for server {queue.name} already (queue in [servers.{queue.name}])"
            dropped = queue.waiting.newest_of_longest(call.principal)
            if dropped is None:
                return [call.failure("busy", message)]
            self._fail([dropped], "busy", f"{message}, and this caller has the most of them")
        self._open.add(call)
        queue.waiting.append(call)
        return self._hand_out(queue, now) + self._failures()

    def _queue_pull(self, queue: ServerQueue, call: OpenCall) -> list[Effect]:
        """Queue a request for events. It needs a reader, but no connection to Asterisk."""
        queue.pulls[call.call_id] = call
        return [Send(queue.reader, queue.hand(call))] if queue.reader is not None else []

    def end_pulls(self) -> list[Effect]:
        """Answer the requests that wait for events, because the broker is ending."""
        for queue in self.servers.values():
            for call in queue.pulls.values():
                queue.set_cursor(call)
            self._fail(list(queue.pulls.values()), "timeout", "amid is ending")
        self._fail([call for call in self._open.values() if call.service_call is not None], "not_connected", "amid is ending")
        return self._failures(len(self._failed))

    # ── readers ──

    def reader_reported(self, reader: Any, hello: Hello, report: Status | Capacity, now: float) -> list[Effect]:
        """Take a reader's report.

        `hello.started` orders the readers that a server has had; reports of an older one are
        ignored.
        """
        queue = self.servers.get(hello.server)
        if queue is None or hello.started < queue.started:
            return []
        effects: list[Effect] = []
        if queue.reader is not reader:
            self._fail(list(queue.handed.values()), "connection_lost", f"the reader of server {queue.name} was replaced")
            queue.replace_reader(reader, hello.started, report.capacity if isinstance(report, Status) else report)
            effects += [Send(reader, queue.hand(call)) for call in queue.pulls.values()]
        queue.take_report(report, now)
        return effects + self._hand_out(queue, now) + self._failures()

    def answered(self, call_id: int, result: bytes | None, error: AmidError | None, now: float) -> list[Effect]:
        """Take a reader's answer to a call. After the deadline it is dropped and counted."""
        call = self._open.get(call_id)
        if call is None or now >= call.deadline:
            self.late += 1
            return []
        self._close(call)
        if call.service_call is None and (error is None or error.kind != "too_large"):
            self.servers[call.server].lanes.release(call_id)  # after too_large Asterisk still works; the reader reports the end
        return [Reply(call.origin, result, error)]

    def progressed(self, call_id: int, response: dict[Any, Any]) -> None:
        """Asterisk has answered a call that now waits for an event; the caller gets the response."""
        call = self._open.get(call_id)
        if call is not None:
            call.response = response
            self.servers[call.server].lanes.release(call_id)

    def returned(self, call_id: int) -> None:
        """The reader had no lane for the call.

        It is queued again, at its old place, until the reader reports.
        """
        call = self._open.get(call_id)
        if call is not None and call.link is not None:
            queue = self.servers[call.server]
            queue.lanes.release(call_id)
            queue.take_back(call)

    def reader_lost(self, reader: Any, unwritten: Iterable[Any] = ()) -> list[Effect]:
        """A reader has ended, and everything that it sent was received.

        Calls that it had been assigned fail. Those among the `unwritten` messages were never
        received and are queued again.
        """
        for message in unwritten:
            call = self._open.get(message.call_id) if isinstance(message, RunAction) else None
            if call is not None and call.link is not None:
                self.servers[call.server].take_back(call)
        for queue in self.servers.values():
            if queue.reader is reader:
                self._fail(list(queue.handed.values()), "connection_lost", f"the reader of server {queue.name} has ended")
                queue.replace_reader(None, queue.started)
        return self._failures()

    # ── services ──

    def passed_on(self, message: PassOn, by_recorder: bool, now: float) -> list[Effect]:
        """Pass a request for events on to the recorder, or back to the reader."""
        call = self._open.get(message.call_id)
        if call is None or by_recorder != (call.recorded_pull is not None):
            return []
        if by_recorder:
            return self._pass_back(call, message.epoch, message.seq)
        self.servers[call.server].remove(call)
        call.pass_to_recorder(message, now)
        self._open.deadlines.add(call)
        return self.services.add(call, "recorder", now)

    def _pass_back(self, call: OpenCall, epoch: int, seq: int) -> list[Effect]:
        self.services.remove(call)
        call.pass_back(epoch, seq)
        return self._queue_pull(self.servers[call.server], call)

    def service_connected(self, link: Any, hello: ServiceHello) -> list[Effect]:
        return self.services.connected(link, hello)

    def service_lost(self, link: Any) -> list[Effect]:
        self.services.lost(link)
        calls = [call for call in self._open.values() if call.link is link]
        self._fail(calls, "not_connected", "the process that answers this method has ended; retry")
        return self._failures()

    # ── callers ──

    def cancel(self, origin: Origin, request_id: Any) -> tuple[list[OpenCall], list[Effect]]:
        """End and return the calls with this `request_id`, on the
        connection and for the principal of `origin`."""
        own = self._open.of_connection(origin.connection)
        ended = [call for call in own if call.origin.request_id == request_id and call.principal == origin.principal]
        effects = self._forget(ended)
        self._fail(ended, "cancelled", "its caller cancelled it")
        return ended, effects + self._failures()

    def deny(self, principals: Collection[str]) -> list[Effect]:
        """End the calls of principals that were removed from the configuration. What was sent to
        Asterisk is still answered."""
        ended = [call for call in self._open.values() if call.principal in principals and not call.sent]
        effects = self._forget(ended)
        self._fail(ended, "denied", "its key was removed from the configuration")
        return effects + self._failures()

    def disconnected(self, connection: Hashable) -> tuple[list[OpenCall], list[Effect]]:
        """End and return the calls of a connection that has ended. They get no reply."""
        ended = self._open.of_connection(connection)
        effects = self._forget(ended)
        for call in ended:
            self._close(call)
        self.abandoned += len(ended)
        return ended, effects

    def _forget(self, calls: list[OpenCall]) -> list[Effect]:
        """The messages that tell readers and services to forget these calls."""
        return [Send(call.link, Forget(call.call_id)) for call in calls if call.link is not None]

    def open_by_principal(self) -> dict[str, int]:
        """The number of open calls of each principal that has any."""
        return self._open.by_principal

    # ── bugs ──

    def cannot_carry_out(self, effect: Effect) -> list[Effect]:
        """End the call of an effect that has raised an exception, with `internal_error`."""
        match effect:
            case Reply(origin, _, error) if error is None or error.kind != "internal_error":
                sent = error is None or error.sent
                return [Reply(origin, error=AmidError("internal_error", BUG, sent=sent))]
            case Send(_, RunAction() | PullEvents() | CallService() as request) if call := self._open.get(request.call_id):
                if call.sent:
                    self.servers[call.server].unhand(call)
                self._fail([call], "internal_error", BUG)
                return self._failures()
        return []

    # ── time ──

    def tick(self, now: float) -> list[Effect]:
        """Fail the calls that are overdue, wait too long for a session,
        or are assigned to a silent reader."""
        while len(self._failed) < PORTION and (call := self._open.deadlines.pop_overdue(now)) is not None:
            self._time_out(call)
        effects = self._end_overdue(now)
        for queue in self.servers.values():
            if queue.waiting and not queue.waits(now):
                self._fail(list(queue.waiting), "not_connected", queue.unavailable_reason())
            if queue.handed and now >= queue.last_message_at + READER_TTL_S:
                self._fail(list(queue.handed.values()), "connection_lost", f"the reader of server {queue.name} does not report")
        return effects + self._failures()

    def _end_overdue(self, now: float) -> list[Effect]:
        """End the waits for services. The reader answers instead of the recorder, and reports what
        is missing."""
        effects: list[Effect] = []
        for call in self.services.overdue(now):
            if call.recorded_pull is not None:
                effects += self._pass_back(call, call.recorded_pull.epoch or 0, call.recorded_pull.seq)
            else:
                self._fail([call], "not_connected", NO_SERVICE)
        return effects

    def next_deadline(self) -> float | None:
        """When `tick` is due, in monotonic seconds; None if nothing is open."""
        if self._failed:
            return 0.0
        times = [first for first in (self._open.deadlines.first(), self.services.next_deadline()) if first is not None]
        if not times:
            return None
        times += [queue.last_ready + SESSION_GRACE_S for queue in self.servers.values() if queue.waiting]
        times += [queue.last_message_at + READER_TTL_S for queue in self.servers.values() if queue.handed]
        return min(times)

    def fail_all(self) -> list[Effect]:
        """Fail every open call, because the broker is ending."""
        handed = [call for call in self._open.values() if call.link is not None and call.service_call is None]
        self._fail(handed, "connection_lost", "amid has ended")
        self._fail(list(self._open.values()), "not_connected", "amid has ended")
        return self._failures(len(self._failed))

    # ── shared steps ──

    def _hand_out(self, queue: ServerQueue, now: float) -> list[Effect]:
        effects: list[Effect] = []
        while (call := queue.next_call(now)) is not None:
            if now >= call.deadline:
                self._time_out(call)
                continue
            queue.waiting.take(call)
            effects.append(Send(queue.reader, queue.hand(call)))
        want = queue.want_lanes(now)
        if want is not None:
            effects.append(Send(queue.reader, want))
        return effects

    def _time_out(self, call: OpenCall) -> None:
        self.servers[call.server].set_cursor(call)
        self._fail([call], "timeout", f"the deadline passed: {call.timeout_reason()}")

    def _fail(self, calls: Iterable[OpenCall], kind: str, message: str) -> None:
        for call in calls:
            self._close(call)
            self._failed.append((call, kind, message))

    def _failures(self, most: int = PORTION) -> list[Effect]:
        """The replies to calls that have failed, at most `most`."""
        if not self._failed:
            return []
        failed = [self._failed.popleft() for _ in range(min(most, len(self._failed)))]
        return [call.ended(kind, message) for call, kind, message in failed]

    def _close(self, call: OpenCall) -> None:
        self._open.remove(call)
        (self.services if call.service_call is not None else self.servers[call.server]).remove(call)
