"""The reader of one Asterisk: owns its manager connections, publishes its events, runs its actions.

It has one event session, which only receives, and lanes for actions. It reads at once and never
blocks: Asterisk closes a session whose peer does not read for 100 ms. Sessions reconnect inside the
reader, with back-off; the supervisor replaces only a reader that hangs or dies. The broker knows
who requested what, so a reader can end at any moment without losing that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from amid.ami.packet import Headers, text
from amid.ami.trace import Tap
from amid.config.tables import Caller, Config, Curve
from amid.events.replay_buffer import Cursor
from amid.process import loop
from amid.process.broker_link import BrokerLink
from amid.process.child import BEAT_S, Child
from amid.process.loop import Alarm, Soon, clock
from amid.process.run_dir import describe_run_dir_error, epoch_origin_now
from amid.process.settings import ReaderSettings, reader_settings
from amid.reader.answers import Answers
from amid.reader.event_socket import EventSockets
from amid.reader.event_stream import MAX_EVENT_BYTES, EventStream
from amid.reader.lane_pool import LanePool
from amid.reader.manager_connection import Endpoint
from amid.reader.publisher import Publisher
from amid.reader.pulls import Pulls
from amid.reader.tls import tls_context
from amid.reader.tracer import Tracer
from amid.rpc import messages
from amid.rpc.messages import (
    Capacity,
    Done,
    Drained,
    Draining,
    Failure,
    Forget,
    Hello,
    Lanes,
    PassOn,
    Progress,
    PullEvents,
    Returned,
    RunAction,
    Status,
    ToReader,
    WantLanes,
)

log = logging.getLogger("amid.reader")

IN_FLIGHT_S = 1.0
"""Time for actions in flight when the reader is asked to stop."""

LOGOFF_S = 0.5
"""Time after that for Asterisk to answer the Logoffs."""

MAX_UNSENT_BYTES = 128 * 1024 * 1024
"""Bytes of results that wait to be encoded, or to be received by the broker, at which no further
action begins. Far more than usual, because small actions then wait too: without a limit, one caller
could make the reader use gigabytes."""

STATUS_DELAY_S = 0.02
"""Delay of the counters in `status`."""

OpenSockets = Callable[[str, Counter[str], int, Curve, Mapping[str, Caller]], EventSockets]


class Reader:
    """Made on the running loop; `run` returns when it has ended.
    open_sockets: makes the event sockets."""

    def __init__(self, child: Child[ReaderSettings], settings: ReaderSettings, open_sockets: OpenSockets = EventSockets) -> None:
        self._child = child
        server = settings.server
        self._limit = server.lanes
        self._epoch_origin = settings.epoch_origin
        started = self._epoch(clock.monotonic())
        self._counters: Counter[str] = Counter()
        most = server.max_subscribers_per_caller
        self._sockets = open_sockets(settings.run_dir, self._counters, most, settings.curve, settings.callers)
        self._publisher = Publisher(self._sockets, settings.name, started, server.replay_bytes)
        self._tracer = Tracer(self._sockets, settings.run_dir, settings.name, started, server.secret or "")
        self._tracer.open(settings.trace)
        table, report = f"[servers.{settings.name}]", child.report_problem
        self._publisher.events.listen(server.events_listen, f"events_listen in {table}", report)
        self._publisher.stream.listen(server.stream_listen, f"stream_listen in {table}", report)
        running = asyncio.get_running_loop()
        self._report_soon = Soon(running, self._report)
        self._status_alarm = Alarm(running, self._send_status)
        self._answers = Answers(settings.name, self._deliver, self._report_progress)
        self._pulls = Pulls(self._publisher, self._deliver, self._pass_on, lambda: self._link.is_backlogged)
        tls, trace = tls_context(server), self._tracer.trace
        listening = Endpoint(server, tls, server.events, MAX_EVENT_BYTES)
        acting = Endpoint(server, tls, "off", server.max_reply_bytes)
        tap = Tap(trace, "events")
        self._events = EventStream(listening, self._publisher, self._answers, self._epoch, tap, self._events_changed)
        self._lanes = LanePool(acting, trace, self._answers, self._report_soon)
        hello, decode = Hello(settings.name, started), messages.decode_to_reader
        resume = self._resume_answers
        self._link = BrokerLink(settings.run_dir, hello, decode, self._dispatch, self._broker_connected, on_room=resume)
        self._taken_idle = self._taken_behind = 0  # calls of this broker
        self._reported: tuple[Any, ...] = ()
        self._undeliverable = 0
        self._leaving = False
        self._drained = False
        self._changed = asyncio.Event()

    def _epoch(self, now: float) -> int:
        return self._epoch_origin + int(now * 1000)

    async def run(self) -> None:
        """Serve until asked to stop."""
        self._child.start(lambda settings: self._tracer.open(settings.trace))
        self._events.dial()
        self._do_periodic_work()
        await self._child.ended.wait()
        if not self._child.orphaned:
            await self._leave()

    def _do_periodic_work(self) -> None:
        self._send_status()
        self._answers.drop_overdue(clock.monotonic())
        self._tracer.step()
        asyncio.get_running_loop().call_later(BEAT_S, self._do_periodic_work)

    # ── sessions ──

    def _events_changed(self) -> None:
        may_dial = self._events.state == "up" and not self._leaving
        self._lanes.allow_dialing(may_dial, self._events.address)
        self._report_soon()

    # ── the broker ──

    def _broker_connected(self) -> None:
        self._answers.forget_all()
        self._pulls.forget_all()
        self._taken_idle = self._taken_behind = 0
        self._send_status()

    def _dispatch(self, message: ToReader) -> None:
        match message:
            case RunAction():
                self._run_action(message)
            case PullEvents():
                self._pulls.add(message)
            case Forget(call_id):
                self._answers.forget(call_id)
                self._pulls.forget(call_id)
                self._report_soon()
            case WantLanes(waiting, spare):
                self._lanes.want(waiting, spare)
            case Drained():
                self._drained = True
                self._report_soon()

    @property
    def _takes_calls(self) -> bool:
        """Not while Asterisk boots, though a lane may be open: it may have connected
        before the event session noticed the restart."""
        return not self._leaving and self._events.state != "booting"

    def _run_action(self, request: RunAction) -> None:
        if request.behind:
            self._taken_behind += 1
        else:
            self._taken_idle += 1
        now = clock.monotonic()
        if now < request.deadline and self._takes_calls and self._lanes.start(request, request.behind, now):
            self._answers.expect(request)
            if request.own_id is not None:
                self._tracer.trace.set_own_id(request.action_id, text(request.own_id))
        else:
            self._link.send(Returned(request.call_id))
        self._report_soon()  # after the lane's write, which it would delay

    def _deliver(self, call_id: int, result: bytes | None, error: Failure | None) -> None:
        self._report_soon()  # before the pipe's write, which it joins
        if not self._link.send(Done(call_id, error), result or b""):
            self._undeliverable += 1

    def _resume_answers(self) -> None:
        self._pulls.work_soon()
        self._report_soon()

    def _pass_on(self, call_id: int, cursor: Cursor) -> None:
        self._link.send(PassOn(call_id, *cursor, self._publisher.buffer.begin))

    def _report_progress(self, call_id: int, response: Headers) -> None:
        self._link.send(Progress(call_id, response))

    def _report(self) -> None:
        """Report changed capacity or state to the broker."""
        capacity = self._capacity()
        standing = (
            capacity.idle + capacity.taken_idle,
            capacity.room + capacity.taken_behind,
            self._lanes.ready,
            self._events.state,
            self._events.asterisk,
        )
        if standing[2:] != self._reported[2:]:
            self._send_status()
        elif standing != self._reported:
            self._link.send(capacity)
        self._reported = standing
        self._status_alarm.set(clock.monotonic() + STATUS_DELAY_S)
        self._changed.set()

    def _capacity(self) -> Capacity:
        """A lane is free when its answer has arrived, and Asterisk may answer faster than results are
        encoded and received. While too many of them wait, no action begins."""
        is_full = self._answers.unencoded_bytes + self._link.backlog_bytes > MAX_UNSENT_BYTES
        idle, room = (0, 0) if is_full else self._lanes.capacity(clock.monotonic())
        return Capacity(idle, room, self._taken_idle, self._taken_behind)

    def _send_status(self) -> None:
        lanes, events, numbers = self._lanes, self._events, self._publisher.numbers
        status = Status(
            self._capacity(),
            lanes.ready and self._takes_calls,
            events.state,
            events.detail or lanes.trouble,
            events.since,
            numbers.epoch,
            numbers.seq,
            events.asterisk,
            Lanes(lanes.idle, lanes.busy, self._limit, lanes.call_ids),
            self._all_counters(),
        )
        self._link.send(status)

    def _all_counters(self) -> dict[str, int]:
        publisher = self._publisher
        return {
            "sessions": self._events.sessions,
            "events": publisher.numbers.seq,
            "published_messages": publisher.published,
            "disconnected_subscribers": publisher.events.disconnected + publisher.stream.disconnected,
            "event_sockets_reopened": publisher.events.reopened + publisher.stream.reopened,
            "undeliverable_answers": self._undeliverable,
            "unknown_on_event_session": self._events.unknown,
            **self._counters,
            **self._lanes.counters,
            **self._answers.counters,
        }

    # ── the end ──

    async def _leave(self) -> None:
        """Let actions in flight finish, return other calls, and log off
        all sessions; each step has a timeout."""
        self._leaving = True
        self._lanes.allow_dialing(False, self._events.address)
        self._send_status()
        # Calls that the broker sent before it receives this are returned. There may be no broker.
        self._drained = not self._link.send(Draining())
        await self._until(lambda: self._drained and not self._lanes.busy and not self._answers.open, IN_FLIGHT_S)
        self._lanes.log_off()
        self._events.log_off()
        await self._until(lambda: not (self._events.open or self._lanes.open), LOGOFF_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOGOFF_S):
                await self._link.close()
        self._events.close()
        self._lanes.close()
        self._publisher.close()
        self._tracer.close()
        self._sockets.close()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()


async def _run(by_hand: ReaderSettings | None) -> None:
    child = Child(ReaderSettings, by_hand)
    settings = child.settings
    child.set_up_log([settings.server.secret, settings.curve.secret_key], process="reader", server=settings.name)
    try:
        reader = Reader(child, settings)
    except (OSError, zmq.ZMQError) as error:
        log.error("cannot start in %s: %s", settings.run_dir, describe_run_dir_error(settings.run_dir, error))
        sys.exit(1)
    await reader.run()


def main(config: Config | None = None, name: str = "") -> None:
    """`python -m amid reader NAME`: started by the supervisor, or by hand to debug."""
    loop.run_child(_run(reader_settings(config, name, epoch_origin_now()) if config else None))
