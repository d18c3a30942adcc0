"""The event session of one server. It receives events and reconnects with back-off for ever.

Each session is an epoch. Its events are published, and given to calls that wait for one. A rejected
login is retried slowly and logged as an error: a wrong secret stays wrong, and Asterisk logs each
try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from amid.ami.boot import Boot, BootCheck
from amid.ami.event_batch import EventBatch
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Oversized
from amid.ami.session import LoginRejected
from amid.ami.trace import Tap
from amid.process.loop import clock
from amid.process.name_lookup import Address
from amid.reader.answers import Answers
from amid.reader.lane_pool import describe
from amid.reader.manager_connection import Endpoint, ManagerConnection
from amid.reader.publisher import Publisher, own_event
from amid.reader.read_pauses import ReadPauses
from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.reader")

MAX_EVENT_BYTES = 1024 * 1024
"""Asterisk's events are far smaller. A larger one ends the session and so begins a new epoch."""

ENDING = "amid's reader is ending"

UNKNOWN = "unknown"
"""Asterisk's version, until it has reported it."""

REJECTED_MIN_S = 2.0
REJECTED_MAX_S = 30.0
"""Seconds before a rejected login is retried, at first and at most."""


class EventConnection(ManagerConnection):
    """One session, from its login to its end.

    boot: whether Asterisk has loaded its modules; None before the login. version_id: the ActionID of
    the question for its version.
    """

    def __init__(self, stream: EventStream, endpoint: Endpoint, tap: Tap) -> None:
        self._stream = stream
        self.pauses = ReadPauses()
        self.boot: BootCheck | None = None
        self.version_id = ""
        super().__init__(endpoint, tap, stream.lost)

    def feed(self, data: bytes, now: float) -> None:
        items = self.session.receive(data, now)
        if self.up and self.boot is None:
            self.boot = BootCheck(self.session, self._stream.sees_boot, now)
            self._stream.connected(self)
        self._stream.take(items, self)

    def check(self, now: float) -> None:
        self.session.check(now)
        if self.boot is not None:
            self._stream.check_boot(self.boot, now)
            if self.boot.over and not self.version_id:
                self.version_id = self.session.ask("CoreSettings")
            if not self.boot.blocked:
                self.session.keep_alive(now)

    def feed_answer(self, packet: Packet) -> bool:
        """Whether the packet answers a question of the reader's own."""
        if self.version_id and packet.action_id == self.version_id:
            self._stream.take_version(packet.get("AsteriskVersion"))
            return True
        return self.boot is not None and self.boot.feed_answer(packet)

    def next_deadline(self) -> float:
        if self.boot is None or self.boot.over:
            return self.session.next_deadline()
        return self.boot.deadline if self.boot.blocked else min(self.boot.deadline, self.session.next_deadline())


class EventStream:
    """The event sessions of a server, one after another.

    state: "up", "booting", "connecting" or "rejected". detail: why it is not up. since: start of
    the state, seconds since 1970. asterisk: its version, UNKNOWN until it has told it, "" while there
    is no session. epoch: returns the epoch that begins at a monotonic time.
    on_change: called when the state has changed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        publisher: Publisher,
        answers: Answers,
        epoch: Callable[[float], int],
        tap: Tap,
        on_change: Callable[[], object],
    ) -> None:
        self._server = server = endpoint.server
        self._endpoint = endpoint
        self._publisher = publisher
        self._answers = answers
        self._epoch = epoch
        self._tap = tap
        self._on_change = on_change
        self._backoff = Backoff(server.reconnect_min, server.reconnect_max)
        self._rejections = Backoff(REJECTED_MIN_S, REJECTED_MAX_S)
        self._redial: asyncio.TimerHandle | None = None
        self._leaving = False
        self._connection: EventConnection | None = None
        self.sees_boot = False
        self.address: Address | None = None
        """Of the current or last session. Actions must go to the same address."""
        self.state = "connecting"
        self.detail = f"connecting to {server.host}:{server.tcp_port}"
        self.since = clock.wall()
        self.asterisk = ""
        self.sessions = 0
        self.unknown = 0

    @property
    def open(self) -> bool:
        """Whether a session exists, connected or not."""
        return self._connection is not None

    def dial(self) -> None:
        """Start a session."""
        self._connection = EventConnection(self, self._endpoint, self._tap)

    def log_off(self) -> None:
        """End the session and do not reconnect."""
        self._leaving = True
        if self._connection is None:
            self.close()
        else:
            self._connection.log_off()

    def close(self) -> None:
        """Close the session at once."""
        if self._redial is not None:
            self._redial.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            self._publish_end(connection, ENDING)

    def _publish_end(self, connection: EventConnection, reason: str) -> None:
        """Publish the end of a session, after all its events, if it was logged in."""
        if connection.boot is not None:
            self._publish(own_event("amid:disconnected", Reason=reason))

    # ── called by the connection ──

    def connected(self, connection: EventConnection) -> None:
        """The session is logged in: begin an epoch."""
        version = connection.session.version
        if self.sessions:
            self._publisher.numbers.new_epoch(self._epoch(clock.monotonic()))
        self.sessions += 1
        self._rejections = Backoff(REJECTED_MIN_S, REJECTED_MAX_S)
        self.address = connection.address
        self._enter("booting", "Asterisk is booting: not all of its modules are loaded")
        log.info("connected to %s:%d, AMI %s", self._server.host, self._server.tcp_port, version)
        self._publish(own_event("amid:connected", Interface=version))

    def take(self, items: list[Packet | EventBatch | Oversized], connection: EventConnection) -> None:
        """Publish received events, and check the packets for answers."""
        events = [item for item in items if isinstance(item, EventBatch) or (isinstance(item, Packet) and item.event)]
        packets = [item for item in items if isinstance(item, Packet) and not item.event]
        if events:
            batch = EventBatch.join(events)
            if connection.boot is not None:
                connection.boot.feed_events(batch.names)  # before the answers: events that came with the login decide
            self._publisher.publish(batch, clock.wall())
            self._answers.events(batch)
        own = sum(map(connection.feed_answer, packets))
        self.unknown += len(items) - len(events) - own
        if any(isinstance(item, Oversized) for item in items):
            raise ProtocolError(f"Asterisk sent an event of over {MAX_EVENT_BYTES} bytes")

    def check_boot(self, boot: BootCheck, now: float) -> None:
        """Ask whether Asterisk has booted, until that is known."""
        if self.state != "booting":
            return
        boot.check(now)
        if not boot.over:
            return
        self.sees_boot = boot.sees_event
        if boot.state is Boot.UNKNOWN and self.sessions == 1:
            message = "user %s cannot see whether Asterisk has booted; add read = system in manager.conf"
            log.warning(message, self._server.username)
        if not boot.at_login:
            log.info("Asterisk has booted")
            self._publish(own_event("amid:booted"))
        self.asterisk = UNKNOWN
        self._enter("up", "")

    def take_version(self, version: str) -> None:
        """Asterisk has reported its version, or "" if its answer has none."""
        self.asterisk = version or UNKNOWN
        self._on_change()

    def lost(self, connection: EventConnection, error: OSError | ProtocolError) -> None:
        """The session has ended: publish that, and plan the next one."""
        self._connection = None
        if self._leaving:
            self._publish_end(connection, ENDING)
            self._on_change()
            return
        rejected = isinstance(error, LoginRejected)
        reason = f"{self._server.host}:{self._server.tcp_port}: {'login rejected: ' if rejected else ''}{describe(error)}"
        self._backoff.settled(clock.monotonic() - connection.began)
        delay = (self._rejections if rejected else self._backoff).next()
        self._redial = asyncio.get_running_loop().call_later(delay, self.dial)
        level = logging.ERROR if rejected else logging.WARNING if reason != self.detail else logging.DEBUG
        log.log(level, "%s; next try in %.1f s, the following ones at growing intervals", reason, delay)
        self._enter("rejected" if rejected else "connecting", reason)
        self._publish_end(connection, reason)
        if connection.boot is not None:
            self._answers.event_session_lost()
        elif rejected:
            self._publish(own_event("amid:rejected", Reason=reason))

    def _enter(self, state: str, detail: str) -> None:
        if state != self.state:
            self.since = clock.wall()
        if state != "up":
            self.asterisk = ""  # it may return with another version
        self.state, self.detail = state, detail
        self._on_change()

    def _publish(self, event: EventBatch) -> None:
        self._publisher.publish(event, clock.wall())
