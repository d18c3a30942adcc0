"""One connection of a client: bytes between a socket and its session
(`amid.manager.client_session`)."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from typing import Any, Protocol

from amid.manager.client_session import ClientSession, Close, Send
from amid.manager.event_block import EventBlock
from amid.manager.failures import Failure
from amid.manager.forwarding import Forward, Refused
from amid.manager.login import LoggedIn, LoginFailed
from amid.manager.manager import Manager
from amid.manager.request_parser import Request
from amid.manager.user import User
from amid.process.loop import Alarm, clock
from amid.rpc.guesses import plain_address

log = logging.getLogger("amid.listener")

READ_AHEAD_BYTES = 64 * 1024
"""Unprocessed bytes of requests at which the connection stops reading."""
WRITTEN_AHEAD_BYTES = 64 * 1024
"""Unread bytes of a client at which none of its actions begins."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Limit of the unread bytes of answers of a client; one answer may have 16 MiB."""
CLOSE_S = 5.0
"""Time that a client has to read the last bytes before its connection is aborted."""
GREETING_S = 3.0
"""Time that a client waits for its greeting while Asterisk is unknown."""
MAX_LOGGED_NAME = 64
"""Characters of a user name that are logged when a login fails."""


class Owner(Protocol):
    """The listener as a connection needs it. counters: for its report."""

    manager: Manager
    max_unread_bytes_per_client: int
    counters: Counter[str]

    @property
    def is_ready(self) -> bool: ...
    def forward(self, client: ClientConnection, forward: Forward, user: User) -> None: ...
    def record_refusal(self, request: Request, user: User) -> None: ...
    def logged_in(self, client: ClientConnection, user: User) -> None: ...
    def disconnected(self, client: ClientConnection) -> None: ...


class ClientConnection(asyncio.Protocol):
    """address: of the peer, without its port. unauthenticated: the connections without a login, to
    which this one is added. session: None until the greeting is sent."""

    def __init__(self, owner: Owner, address: str, unauthenticated: set[ClientConnection]) -> None:
        self._owner = owner
        self._unauthenticated = unauthenticated
        self._address = plain_address(address)
        self.session: ClientSession | None = None
        self.user: User | None = None
        self._alarm = Alarm(asyncio.get_running_loop(), self._on_alarm)
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._early = b""
        """Received before the greeting."""
        self._unread_answers = 0
        self._ended = False

    # ── asyncio.Protocol ──

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._unauthenticated.add(self)
        transport.set_write_buffer_limits(high=WRITTEN_AHEAD_BYTES, low=0)
        self._alarm.set(clock.monotonic() + GREETING_S)
        self.greet()

    def greet(self) -> None:
        """Send the greeting if Asterisk is known."""
        if self.session is None and self._transport is not None and self._owner.is_ready:
            self.session = ClientSession(self._owner.manager, self._address, clock.monotonic())
            self.session.receive(self._early, clock.monotonic())
            self._run()

    def data_received(self, data: bytes) -> None:
        if self.session is not None:
            self.session.receive(data, clock.monotonic())
            self._run()
        else:  # many programs do not wait for the greeting
            self._early += data
            self._set_reading(False)

    def eof_received(self) -> bool:
        """Requests that were sent before are processed and answered, as by Asterisk."""
        if self.session is None:
            return False
        self.session.receive_end(clock.monotonic())
        self._run()
        return not self._ended

    def pause_writing(self) -> None:
        if self.session is not None:
            self.session.pause()

    def resume_writing(self) -> None:
        self._unread_answers = 0
        if self.session is not None:
            self.session.resume(clock.monotonic())
            self._run()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._transport = None
        self._alarm.cancel()
        self._owner.disconnected(self)

    # ── calls of the listener ──

    @property
    def unread_bytes(self) -> int:
        """Bytes that the client has not read yet, or that wait for an answer."""
        written = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return written + (self.session.held_bytes if self.session is not None else 0)

    def answer(self, number: int, packets: list[bytes] | None, failure: Failure | None) -> None:
        """Process the outcome of a `Forward`."""
        if self.session is None:
            return
        if failure is not None:
            self.session.fail(number, failure, clock.monotonic(), clock.wall())
        else:
            self.session.answer(number, packets or [], clock.monotonic())
        self._run()

    def send_events(self, block: EventBlock, now: float) -> None:
        if self.session is not None and not self._ended:
            self.session.receive_events(block, now)
            self._run()

    @property
    def refusal_due(self) -> float | None:
        """When its failed login is answered; None if it has none."""
        return self.session.refusal_due if self.session is not None else None

    @property
    def is_closing(self) -> bool:
        return self._ended

    def refuse(self) -> None:
        """Answer its failed login now, and close."""
        if self.session is not None and self.session.refusal_due is not None:
            self.session.tick(self.session.refusal_due)
            self._run()

    def change_user(self, user: User) -> None:
        """Apply a changed user."""
        if self.session is not None:
            self.session.change_user(user)
            self.user = user

    def close(self) -> None:
        """Close after everything was sent; a client that does not read it is disconnected."""
        if self._transport is not None and not self._ended:
            self._end()
            self._transport.close()
            asyncio.get_running_loop().call_later(CLOSE_S, self._abort)

    def close_slow(self, limit: str) -> None:
        """Close at once, because the client reads too slowly. limit: the key that it exceeds."""
        self._owner.counters["slow_clients_closed"] += 1
        message = "closed the connection of %s from %s: it left %d bytes unread (%s in [listener])"
        log.warning(message, self._name, self._address, self.unread_bytes, limit)
        self._abort()

    # ── effects ──

    def _on_alarm(self) -> None:
        if self.session is None:
            self.close()
            return
        self.session.tick(clock.monotonic())
        self._run()

    def _run(self) -> None:
        """Carry out the effects of the session, with one write for all data."""
        session = self.session
        assert session is not None
        while effects := session.take_effects():
            self._carry_out(effects)
        if self._ended:
            return
        self._set_reading(session.buffered < READ_AHEAD_BYTES)
        if (deadline := session.next_deadline()) < math.inf:
            self._alarm.set(deadline)

    def _carry_out(self, effects: list[Any]) -> None:
        pieces: list[bytes] = []
        for effect in effects:
            match effect:
                case Send(data, events):
                    pieces.append(data)
                    self._owner.counters["events_sent"] += events
                    self._unread_answers += 0 if events else len(data)
                case Forward() if self.user is not None:
                    self._owner.forward(self, effect, self.user)
                case Refused(reason, request):
                    log.warning("refused an action of %s from %s: %s", self._name, self._address, reason)
                    if request is not None and self.user is not None:
                        self._owner.record_refusal(request, self.user)
                case LoggedIn(user):
                    self._note_login(user)
                case LoginFailed(name, reason):
                    self._owner.counters["failed_logins"] += 1
                    log.warning("refused the login of %r from %s: %s", name[:MAX_LOGGED_NAME], self._address, reason)
                case Close():
                    self._write(b"".join(pieces))
                    pieces = []
                    self.close()
        if pieces:
            self._write(b"".join(pieces))

    def _write(self, data: bytes) -> None:
        if self._ended or self._transport is None or self.session is None or not data:
            return
        self._transport.write(data)
        if not self._transport.get_write_buffer_size():
            self._unread_answers = 0
        elif self.unread_bytes > self._owner.max_unread_bytes_per_client + min(self._unread_answers, MAX_ANSWER_BYTES):
            self.close_slow("max_unread_bytes_per_client")

    @property
    def _name(self) -> str:
        return self.user.name if self.user is not None else "a client that has not logged in"

    def _note_login(self, user: User) -> None:
        self.user = user
        self._owner.counters["logins"] += 1
        log.info("%s logged in from %s", user.name, self._address)
        self._owner.logged_in(self, user)

    def _set_reading(self, reading: bool) -> None:
        if self._transport is None or reading == self._reading:
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _end(self) -> None:
        """Also the session, in which requests may wait for an answer."""
        self._ended = True
        if self.session is not None:
            self.session.ended = True

    def _abort(self) -> None:
        self._end()
        if self._transport is not None:
            self._transport.abort()
