"""The event session of one server: it listens, and when it is lost it connects again, with back-off, for ever.

Each session is an epoch. What it hears is published; a call that waits for an event hears it too. A login that was rejected is
tried again slowly and loudly: a wrong secret does not mend itself, and Asterisk logs each try.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable

from amid.ami.boot import Boot, BootCheck
from amid.ami.burst import Burst
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Oversized
from amid.ami.session import Login, LoginRejected, Patience, Session
from amid.ami.trace import Tap
from amid.config import Server
from amid.reader.answers import Answers
from amid.reader.connection import READ_SIZE, Address
from amid.reader.link import Link
from amid.reader.publisher import Publisher, own_event
from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.reader")

MAX_EVENT = 1024 * 1024
"""Bytes of one event; no event of Asterisk's comes near, so a larger one ends the session and is seen as a new epoch."""

READS = 4
"""Reads in one pass of the reader's loop, while each brings all that one can: a storm then costs fewer passes."""

REJECTED_MIN_S = 2.0
REJECTED_MAX_S = 30.0
"""Seconds before a login that was rejected is tried again, at first and in the end."""


class EventSession:
    """`state` is "up", "booting", "connecting" or "rejected", `detail` why it is not up, `since` when that began (Unix time).

    `epoch` gives the epoch that begins at a time of the monotonic clock.
    """

    def __init__(
        self,
        server: Server,
        tls: ssl.SSLContext | None,
        patience: Patience,
        publisher: Publisher,
        answers: Answers,
        epoch: Callable[[float], int],
        tap: Tap,
        now: float,
    ) -> None:
        self._server = server
        self._tls = tls
        self._login = Login(server.username, server.secret or "", server.auth, server.events)
        self._patience = patience
        self._publisher = publisher
        self._answers = answers
        self._epoch = epoch
        self._tap = tap
        self._backoff = Backoff(server.reconnect_min, server.reconnect_max)
        self._rejections = Backoff(REJECTED_MIN_S, REJECTED_MAX_S)
        self._dial_at = now
        self._leaving = False
        self._link: Link | None = None
        self._boot = BootCheck(False, now)
        self.address: Address | None = None
        """The one that the session is or was connected to; actions must go to the same."""
        self.state = "connecting"
        self.detail = "not connected yet"
        self.since = time.time()
        self.sessions = 0
        self.unknown = 0

    @property
    def open(self) -> bool:
        return self._link is not None

    def poll_items(self) -> list[tuple[int, int]]:
        return [self._link.poll_item()] if self._link is not None else []

    def pending(self) -> bool:
        return self._link is not None and self._link.pending()

    def next_deadline(self) -> float | None:
        if self._link is not None and self._link.up and not self._boot.over:
            return self._boot.deadline if self._boot.blocked else min(self._boot.deadline, self._link.next_deadline())
        if self._link is not None:
            return self._link.next_deadline()
        return None if self._leaving else self._dial_at

    def step(self, ready: dict[int, int], now: float) -> None:
        """One pass: connect, read, publish what came."""
        if self._link is None:
            if self._leaving or now < self._dial_at:
                return
            try:
                self._link = Link(self._server, self._tls, self._make_session, now)
            except OSError as error:  # no descriptor is left for it
                self._disconnected(False, 0.0, error, now)
                return
        link = self._link
        try:
            for _ in range(READS):
                if not self._step_link(link, ready.get(link.poll_item()[0], 0), now):
                    break
        except (OSError, ProtocolError) as error:
            self._disconnected(link.up, now - link.began, error, now)

    def log_off(self) -> None:
        """Say goodbye, and dial no more."""
        self._leaving = True
        if self._link is None or self._link.session is None or not self._link.up:
            self.close()
            return
        self._publish(own_event("amid:disconnected", Reason="amid's reader is ending"))
        self._link.session.log_off()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _step_link(self, link: Link, ready: int, now: float) -> bool:
        """Whether there was as much to read as one read brings, so that more is there."""
        was_up = link.up
        data = link.step(ready, now)
        session = link.session
        if session is None:
            return False
        items = session.receive(data, now) if data is not None else []
        if link.up and not was_up:
            self._connected(link, session.version, now)
        self._take(items)
        session.check(now)
        if link.up:
            self._check_boot(session, now)
        if not self._boot.blocked:
            session.keep_alive(now)
        link.flush()
        return data is not None and len(data) == READ_SIZE

    def _make_session(self, now: float) -> Session:
        return Session(self._login, self._patience, now, MAX_EVENT, self._tap)

    def _take(self, items: list[Packet | Burst | Oversized]) -> None:
        events = [item for item in items if isinstance(item, Burst) or (isinstance(item, Packet) and item.event)]
        packets = [item for item in items if isinstance(item, Packet) and not item.event]
        own = sum(map(self._boot.feed_answer, packets))
        self.unknown += len(items) - len(events) - own
        if events:
            burst = Burst.of(events)
            self._boot.feed_events(burst.names)
            self._publisher.publish(burst, time.time())
            self._answers.events(burst)
        if any(isinstance(item, Oversized) for item in items):
            raise ProtocolError(f"an event of over {MAX_EVENT} bytes came")

    def _connected(self, link: Link, version: str, now: float) -> None:
        if self.sessions:
            self._publisher.numbers.new_epoch(self._epoch(now))
        self.sessions += 1
        self._rejections = Backoff(REJECTED_MIN_S, REJECTED_MAX_S)
        self._answers.asterisk = ""  # it may have been upgraded meanwhile
        self.address = link.address
        self._boot = BootCheck(self._boot.sees_event, now)
        self._enter("booting", "Asterisk is booting: not all of its modules are loaded")
        log.info("connected to %s:%d, interface %s", self._server.host, self._server.tcp_port, version)
        self._publish(own_event("amid:connected", Interface=version))

    def _check_boot(self, session: Session, now: float) -> None:
        boot = self._boot
        if self.state != "booting":
            return
        boot.check(now)
        session.send(boot.data_to_send())
        if not boot.over:
            return
        self._enter("up", "")
        if boot.state is Boot.UNKNOWN and self.sessions == 1:
            said = "whether Asterisk has booted is not shown to user %s; read = system in manager.conf shows it"
            log.warning(said, self._server.username)
        if not boot.at_login:
            log.info("Asterisk has booted")
            self._publish(own_event("amid:booted"))

    def _disconnected(self, was_up: bool, lasted: float, error: OSError | ProtocolError, now: float) -> None:
        self.close()
        if self._leaving:
            return
        rejected = isinstance(error, LoginRejected)
        said = f"login rejected: {error}" if rejected else (getattr(error, "strerror", None) or str(error))
        reason = f"{self._server.host}:{self._server.tcp_port}: {said}"
        self._backoff.settled(lasted)
        delay = (self._rejections if rejected else self._backoff).next()
        self._dial_at = now + delay
        level = logging.ERROR if rejected else logging.WARNING if reason != self.detail else logging.DEBUG
        log.log(level, "%s; next try in %.1f s", reason, delay)
        self._enter("rejected" if rejected else "connecting", reason)
        if was_up:
            self._publish(own_event("amid:disconnected", Reason=reason))
            self._answers.event_session_lost()
        elif rejected:
            self._publish(own_event("amid:rejected", Reason=reason))

    def _enter(self, state: str, detail: str) -> None:
        if state != self.state:
            self.since = time.time()
        self.state, self.detail = state, detail

    def _publish(self, event: Burst) -> None:
        self._publisher.publish(event, time.time())
