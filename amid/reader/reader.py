"""The reader of one Asterisk: owns its manager connections, publishes its events, carries out its calls.

It holds one event session, which only listens, and lanes for actions (`lanes`). It reads first and waits for nobody: Asterisk
closes a session whose peer does not drain it for 100 ms. Sessions reconnect in here with back-off; a reader that hangs is replaced
by the supervisor. Who asked for what is the broker's knowledge, so a reader can end at any moment and take none of it along.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from amid import wire
from amid.ami.lane import Call, Lane, Outcome
from amid.ami.session import Patience
from amid.config import Config
from amid.process.acceptor import Acceptor
from amid.process.child import Child
from amid.process.pipe import LARGE, OUT, Pipe, connect
from amid.process.run_dir import epoch_origin_now, why_not
from amid.process.settings import ReaderSettings, reader_settings
from amid.process.zap import ZapAuthenticator
from amid.reader.answers import Answers
from amid.reader.connection import tls_context
from amid.reader.event_session import EventSession
from amid.reader.lane_pool import Lanes
from amid.reader.publisher import TICK_S, Publisher
from amid.reader.replays import Replays
from amid.reader.tracer import Tracer

log = logging.getLogger("amid.reader")

IN_FLIGHT_S = 1.0
"""Seconds that actions in flight have when the reader is told to end."""

SOON_S = 0.05
"""Seconds between two ticks at the least, when new subscribers ask for one."""

LOGOFF_S = 0.5
"""Seconds that Asterisk then has to answer the Logoffs."""

RECONNECT_S = 0.05
"""Seconds between two tries to reach a broker, when there is none."""

FULL_S = 0.02
"""Seconds for which the counters that `status` shows may be behind."""


class Reader:
    """`step` is one pass of the loop."""

    def __init__(self, child: Child, settings: ReaderSettings, now: float) -> None:
        self._child = child
        self._name = settings.name
        self._server = server = settings.server
        self._origin = settings.epoch_origin
        self._started = self._epoch(now)
        self._context = zmq.Context()
        self._counters: Counter[str] = Counter()
        self._acceptor = Acceptor(settings.run_dir, self._counters, now)
        where = self._context, self._acceptor, settings.run_dir, settings.name, self._started
        self._publisher = Publisher(*where, server.replay_bytes)
        self._zap = ZapAuthenticator(self._context, settings.curve, settings.callers) if settings.curve.secret_key else None
        if self._zap is not None:
            self._publisher.events.bind_tcp(self._zap, server.events_listen)
            self._publisher.stream.bind_tcp(self._zap, server.stream_listen)
        self._broker_at = f"{settings.run_dir}/{wire.READERS_SOCKET}"
        self._broker: Pipe | None = None
        self._bulk: Pipe | None = None  # for large answers: what else there is to say goes past them
        tls = tls_context(server)
        patience = Patience(server.login_timeout, server.silence, server.pong)
        self._answers = Answers(settings.name, self._answer, lambda call_id, response: self._tell("until", call_id, response))
        self._replays = Replays(settings.name, self._publisher, self._answer)
        self._tracer = Tracer(*where, server.secret or "")
        self._tracer.open(settings.trace)
        tap = self._tracer.trace.session("events")
        self._events = EventSession(server, tls, patience, self._publisher, self._answers, self._epoch, tap, now)
        self._lanes = Lanes(server, tls, patience, self._tracer.trace)
        self._connect_at = self._full_at = now
        self._taken = 0  # calls of this broker
        self._told: tuple[Any, ...] = ()
        self._undeliverable = 0
        self._next_tick = self._ticked = now
        self._leaving = False
        self._dismissed = False

    def _epoch(self, now: float) -> int:
        return self._origin + int(now * 1000)

    # ── the loop ──

    def run(self) -> None:
        while not (self._child.stopping or self._child.orphaned):
            self.step()
        self._leave()

    def step(self) -> None:
        now = time.monotonic()
        ready = dict(zmq.zmq_poll(self._poll_items(), self._patience_ms(now)))
        now = time.monotonic()
        if self._child.beat(now):
            self._full_at = now
        self._acceptor.step(ready, now)
        if self._publisher.take_subscriptions(ready):  # before events: a tick of the last pass may have gone to these subscribers
            self._next_tick = min(self._next_tick, self._ticked + SOON_S)
        self._events.step(ready, now)
        self._lanes.connect_to(self._events.address, now)
        outcomes = self._lanes.step(ready, self._may_dial_lanes(), now, self._lane_lost)
        self._finish(outcomes, now)
        self._listen_to_broker(ready, now)
        self._lanes.flush(now, self._lane_lost)
        self._replays.step()
        self._answers.results.step()
        if self._zap is not None:
            self._zap.step()
        if now >= self._next_tick:
            self._next_tick, self._ticked = now + TICK_S, now
            self._publisher.tick(time.time())
            self._tracer.step()
        if not self._child.poll_fds().isdisjoint(ready):
            for configuration in self._child.drain():
                self._tracer.open(configuration["trace"])
        self._report(now)
        self._flush_broker()

    def _may_dial_lanes(self) -> bool:
        return self._events.state == "up" and not self._leaving

    def _poll_items(self) -> list[Any]:
        items: list[Any] = [(socket, zmq.POLLIN) for socket in self._publisher.sockets()]
        items += [pipe.poll_item() for pipe in self._pipes()]
        items += [(fd, zmq.POLLIN) for fd in self._child.poll_fds()]
        if self._zap is not None:
            items.append((self._zap.socket, zmq.POLLIN))
        items += [*self._events.poll_items(), *self._lanes.poll_items(), *self._acceptor.poll_items()]
        return items

    def _patience_ms(self, now: float) -> int:
        """Milliseconds until something is due, rounded up, so that no deadline is polled for in a spin."""
        if self._lanes.pending() or self._events.pending() or self._replays.pending or self._answers.results.pending:
            return 0
        due = [
            now + 0.5,
            self._full_at if self._broker is not None else self._connect_at,
            self._next_tick,
            self._events.next_deadline(),
            self._answers.next_deadline(),
            self._acceptor.next_check,
        ]
        due.append(self._lanes.next_deadline(self._may_dial_lanes()))
        return max(0, int((min(t for t in due if t is not None) - now) * 1000) + 1)

    # ── calls ──

    def _listen_to_broker(self, ready: dict[Any, int], now: float) -> None:
        if self._broker is None:
            if now >= self._connect_at:
                self._meet_broker(now)
            return
        try:
            for pipe in self._pipes():
                if ready.get(pipe.poll_item()[0], 0) & ~OUT:
                    for (kind, *rest), _ in pipe.receive():
                        self._obey(kind, rest, now)
        except (EOFError, OSError):
            self._lose_broker()

    def _meet_broker(self, now: float) -> None:
        self._bulk = connect(self._broker_at)  # the first one: when both end, the broker hears it out first
        self._broker = connect(self._broker_at)
        if self._broker is None or self._bulk is None:
            self._lose_broker()
        self._connect_at = now + RECONNECT_S
        self._taken, self._told = 0, ()

    def _pipes(self) -> list[Pipe]:
        return [pipe for pipe in (self._broker, self._bulk) if pipe is not None]

    def _flush_broker(self) -> None:
        try:
            for pipe in self._pipes():
                pipe.flush()
        except OSError:
            self._lose_broker()

    def _lose_broker(self) -> None:
        for pipe in self._pipes():
            pipe.close()
        self._broker = self._bulk = None

    def _obey(self, kind: str, rest: list[Any], now: float) -> None:
        if kind == "want":
            self._lanes.want(*rest)
        elif kind == "forget":
            self._answers.forget(*rest)
            self._replays.forget(*rest)
        elif kind == "bye":
            self._dismissed = True
        elif kind == "replay":
            self._replays.ask(*rest)
        else:
            self._take_call(*rest, now=now)

    def _take_call(self, call_id: int, deadline: float, body: dict[str, Any], *, now: float) -> None:
        self._taken += 1
        call = Call(call_id, body["action"], body["action_id"], body["packet"], deadline, body["max_bytes"])
        if now < deadline and not self._leaving and self._lanes.start(call, now):
            self._tracer.trace.name(call.action_id, body["own_id"])
            self._answers.expect(call, body)
        else:
            self._tell("unsent", call_id)

    def _finish(self, outcomes: list[Outcome], now: float) -> None:
        for call, answer in outcomes:
            self._answers.finish(call, answer)
        if self._lanes.free and not self._answers.asterisk and self._events.state == "up":
            self._lanes.start(self._answers.ask_version(now), now)

    def _lane_lost(self, lane: Lane, reason: str) -> None:
        for call, answer in lane.lost():
            if answer is not None:
                self._answers.finish(call, answer)
            else:
                self._answers.lost(call, f"the session was lost with the action in flight: {reason}")

    # ── the broker ──

    def _answer(self, call_id: int, result: bytes | None, error: dict[str, Any] | None) -> None:
        self._full_at = min(self._full_at, time.monotonic() + FULL_S)
        if self._broker is None or self._bulk is None:
            self._undeliverable += 1
        elif result is not None and len(result) >= LARGE:
            self._bulk.say(["large answer", call_id], result)
        else:
            self._told = self._standing()
            self._tell("answer", call_id, error, payload=result or b"")

    def _report(self, now: float) -> None:
        """Tell the broker how things stand: at every beat, soon after an answer, and at once when it changes what it may do."""
        standing = self._standing()
        if now >= self._full_at or standing != self._told:
            self._told = standing
            self._full_at = now + 1.0
            self._tell("state", self._info())

    def _standing(self) -> tuple[Any, ...]:
        """What the broker must know at once. That a call was taken, which leaves a lane less free, it can tell by itself."""
        return self._lanes.free + self._taken, self._lanes.ready, self._events.state

    def _info(self) -> dict[str, Any]:
        lanes, events, numbers = self._lanes, self._events, self._publisher.numbers
        counters = {
            "sessions": events.sessions,
            "events": numbers.seq,
            "published_messages": self._publisher.published,
            "disconnected_subscribers": self._publisher.events.disconnected + self._publisher.stream.disconnected,
            "event_sockets_reopened": self._publisher.events.reopened + self._publisher.stream.reopened,
            "undeliverable_answers": self._undeliverable,
            "unknown_on_event_session": events.unknown,
            **self._counters,
            **lanes.counters,
            **self._answers.counters,
        }
        return {
            "ready": lanes.ready and not self._leaving,
            "state": events.state,
            "detail": events.detail or lanes.trouble,
            "since": events.since,
            "epoch": numbers.epoch,
            "seq": numbers.seq,
            "asterisk": self._answers.asterisk,
            "lanes": {"free": lanes.free, "busy": lanes.busy, "limit": self._server.lanes, "calls": lanes.calls},
            "counters": counters,
        }

    def _tell(self, kind: str, *rest: Any, payload: bytes = b"") -> bool:
        """A word to the broker; False when there is none."""
        if self._broker is None:
            return False
        self._broker.say([kind, self._name, self._started, self._lanes.free, self._taken, *rest], payload)
        return True

    # ── the end ──

    def _leave(self) -> None:
        """Let what is in flight end, hand back what is not, log off everywhere; each for a moment at most."""
        self._leaving = True
        # What the broker sent before it hears this is handed back, until it says bye; there may be no broker any more.
        self._dismissed = not self._tell("leaving", self._info())
        self._until(lambda: self._dismissed and not self._lanes.busy and not self._answers.open, IN_FLIGHT_S)
        self._lanes.log_off(time.monotonic())
        self._events.log_off()
        self._until(lambda: not (self._events.open or self._lanes.open or any(pipe.waiting for pipe in self._pipes())), LOGOFF_S)
        self._events.close()
        self._lanes.close()
        self._publisher.close()
        self._tracer.close()
        self._acceptor.close()
        self._context.destroy(linger=200)

    def _until(self, done: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.step()


def main(config: Config | None = None, name: str = "") -> None:
    """`python -m amid reader NAME`: started by the supervisor, or by hand with a configuration, for debugging."""
    child = Child(reader_settings(config, name, epoch_origin_now()) if config else None)
    settings = msgspec.convert(child.configuration, ReaderSettings)
    child.set_up_log([settings.server.secret, settings.curve.secret_key], process="reader", server=settings.name)
    try:
        reader = Reader(child, settings, time.monotonic())
    except (OSError, zmq.ZMQError) as error:
        log.error("cannot start in %s: %s", settings.run_dir, why_not(settings.run_dir, error))
        sys.exit(1)
    reader.run()
