"""One connection to Asterisk's manager: resolve, connect, log in, keep alive, log off, and end
once.

The event stream and the lanes subclass `ManagerConnection`. Common to both are the loop's transport
below, `amid.ami.session` above, one timer for the next deadline, and one way to end, with the
reason. The owner decides when to reconnect.

Neither a slow name lookup nor a peer that does not answer blocks anything: both are tasks of the
loop with a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from amid.ami.packet import ProtocolError
from amid.ami.session import Login, Session, SessionTimeouts
from amid.ami.trace import Tap
from amid.config.tables import Server
from amid.process.loop import Alarm, Soon, clock, start_task
from amid.process.name_lookup import Address, look_up
from amid.reader.read_pauses import ReadPauses
from amid.reader.tls import explained

CONNECT_S = 5.0
"""Timeout of a connection to each address, TLS included."""

READ_BYTES = 65536
"""Limit of one read, and so of the events in one message of the stream."""

READS_PER_PASS = 4
"""Reads in one pass of the loop, so that a storm does not delay calls; libuv itself makes 32."""

LOGOFF_S = 1.0
"""Time for Asterisk to answer a Logoff before the connection is closed."""


class Endpoint:
    """Where a server is, how to log in, and its timeouts. events: the mask of the Login action."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None, events: str, max_packet_bytes: int) -> None:
        self.server = server
        self.tls = tls
        self.login = Login(server.username, server.secret or "", server.auth, events)
        self.timeouts = SessionTimeouts(server.login_timeout, server.silence, server.pong)
        self.max_packet_bytes = max_packet_bytes


class ManagerConnection(asyncio.BufferedProtocol):
    """Connects at once. Subclasses handle the session: `feed`, `check` and `next_deadline`.

    on_end: called once with the error that ended the connection, unless the owner called `close`.
    only: the address to connect to, without a name lookup. address: the current or last one.
    pauses: decides on pauses between reads without TLS; None for none.
    """

    pauses: ReadPauses | None = None

    def __init__(
        self, endpoint: Endpoint, tap: Tap, on_end: Callable[[Any, OSError | ProtocolError], object], only: Address | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._on_end = on_end
        self._buffer = bytearray(READ_BYTES)
        self._reads = self._read_bytes = 0
        self._end_pass_soon = Soon(self._loop, self._end_pass)
        self.send_soon = Soon(self._loop, self._flush)
        """At the end of this pass, sends the session's data and sets the timer."""
        self._alarm = Alarm(self._loop, self._check_deadlines)
        self._transport: asyncio.Transport | None = None
        self._over = False
        self.began = clock.monotonic()
        self.address = only
        self.session = Session(endpoint.login, endpoint.timeouts, endpoint.max_packet_bytes, tap)
        self._logoff_by: float | None = None
        self._dialing = start_task(self._dial())

    # ── for subclasses ──

    def feed(self, data: bytes, now: float) -> None:
        """Take received bytes; b"" is the end of the stream. Raises `ProtocolError`."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """Act on deadlines. Raises `ProtocolError`."""
        raise NotImplementedError

    def next_deadline(self) -> float:
        """When `check` is due, in monotonic seconds."""
        raise NotImplementedError

    # ── for the owner ──

    @property
    def up(self) -> bool:
        """Whether it is logged in."""
        return self.session.up and not self._over

    @property
    def leaving(self) -> bool:
        """Whether it is logging off."""
        return self._logoff_by is not None

    def log_off(self) -> None:
        """Log off, and Asterisk closes the connection. One that is not logged in yet is closed at once."""
        self._logoff_by = clock.monotonic() + LOGOFF_S
        if self.up:
            self.session.log_off()
            self.send_soon()
        else:
            self._end(ProtocolError("logged off"))

    def close(self) -> None:
        """Close at once, without `on_end`."""
        self._over = True
        self._dialing.cancel()
        self._alarm.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # ── connecting ──

    async def _dial(self) -> None:
        server = self._endpoint.server
        try:
            await self._connect_to_any([self.address] if self.address is not None else await look_up(server.host, server.tcp_port))
        except socket.gaierror as error:
            self._end(OSError(error.errno, f"{error.strerror}; check host of the server in amid's configuration"))
        except OSError as error:
            self._end(error)

    async def _connect_to_any(self, addresses: list[Address]) -> None:
        failure: OSError = OSError(errno.EHOSTUNREACH, f"{self._endpoint.server.host} has no address")
        for address in addresses:
            self.address = address
            try:
                await asyncio.wait_for(self._connect(address), CONNECT_S)
                return
            except TimeoutError:
                failure = OSError(errno.ETIMEDOUT, f"no connection within {CONNECT_S:g} s")
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = OSError(error.errno, self._describe(error.errno)) if error.errno else error
        raise failure

    def _describe(self, number: int) -> str:
        """Why Asterisk cannot be connected to, and the keys to check. number: the errno."""
        keys = "tlsenable and tlsbindaddr" if self._endpoint.server.tls else "enabled and port"
        advice = f"; check {keys} in manager.conf, and host and port of the server in amid's configuration"
        return os.strerror(number) + (advice if number == errno.ECONNREFUSED else "")

    async def _connect(self, address: Address) -> None:
        family, _, protocol, _, (host, port, *_) = address
        tls: dict[str, Any] = {}
        if self._endpoint.tls is not None:
            tls = {"ssl": self._endpoint.tls, "server_hostname": self._endpoint.server.host}
        await self._loop.create_connection(lambda: self, host, port, family=family, proto=protocol, **tls)

    # ── the transport's side ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()
            return
        connected = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the connection was reset, which the transport reports
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.session.begin(clock.monotonic())
        self.send_soon()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self._reads += 1
        self._read_bytes += size
        if self._reads == READS_PER_PASS and self._transport is not None:
            self._transport.pause_reading()
        self._receive(bytes(memoryview(self._buffer)[:size]))
        self._end_pass_soon()  # after what the data makes due, which it would delay

    def eof_received(self) -> None:
        self._receive(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, OSError):  # TLS 1.3 refuses a client's certificate only after the handshake (RFC 8446, 4.4.2.4)
            self._end(error)
        else:
            self._receive(b"")

    # ── one pass ──

    def _receive(self, data: bytes) -> None:
        if self._over:
            return
        now = clock.monotonic()
        try:
            self.feed(data, now)
            self.check(now)
        except ProtocolError as error:
            self._end(error)
        else:
            self.send_soon()

    def _end_pass(self) -> None:
        """Continue to read, now or after a pause. Called once after each pass with reads."""
        pause = 0.0
        if self.pauses is not None and self._endpoint.tls is None:  # uvloop's TLS drops what came during a pause before the end
            pause = self.pauses.after(self._read_bytes, clock.monotonic())
        self._reads = self._read_bytes = 0
        if pause and self._transport is not None:
            self._transport.pause_reading()
            self._loop.call_later(pause, self._resume_reading)
        else:
            self._resume_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def _flush(self) -> None:
        if self._over or self._transport is None:
            return
        data = self.session.data_to_send()
        if data:
            self._transport.write(data)
        self._alarm.set(min(self.next_deadline(), self._logoff_by or float("inf")))

    def _check_deadlines(self) -> None:
        now = clock.monotonic()
        try:
            if self._logoff_by is not None and now >= self._logoff_by:
                raise ProtocolError("logged off")
            self.check(now)
        except ProtocolError as error:
            self._end(error)
        else:
            self._flush()

    def _end(self, error: OSError | ProtocolError) -> None:
        if self._over:
            return
        self.close()
        if isinstance(error, ssl.SSLError):
            error = explained(error, self._endpoint.server.host)
        self._on_end(self, error)
