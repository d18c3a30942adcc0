"""The two sockets that callers connect to, and the identity of each connection.

On the Unix socket (`local_callers`), the caller is a Unix user, as reported by the kernel. On TCP,
a ROUTER of libzmq, the caller is a key: CURVE and ZAP set `User-Id`, which is read only there. What
a peer states in its handshake is not trusted.

Messages over TCP are received frame by frame. A message may have millions of frames, so frames over
the limit are skipped, in portions.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import select
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial

import zmq
from zmq.backend import Socket

from amid import wire
from amid.broker.connection_monitor import ConnectionMonitor
from amid.broker.local_callers import MAX_FRAMES, LocalCallers, LocalConnection
from amid.broker.origin import Connection, Identity, Origin, parse_message
from amid.broker.reply_backlog import ReplyBacklog
from amid.config.unix_users import LocalCaller, find_caller
from amid.process.acceptor import Acceptor, listen_locally
from amid.process.bindings import Bindings, Report
from amid.process.loop import Alarm, Soon, clock
from amid.process.sending import disconnect
from amid.process.settings import BrokerSettings
from amid.process.socket_reader import SocketReader
from amid.process.zap import ZapAuthenticator

log = logging.getLogger("amid.broker")

NO_CALLER = ""
"""The caller of a connection without a table in the configuration."""

MAX_TCP_MESSAGE_BYTES = 1024 * 1024 + 4096
"""Limit of one frame, unless `max_request_bytes` is more; libzmq disconnects a peer that exceeds
it. It applies during the handshake too, when the peer is unknown. amid's clients send no request
over 1 MiB."""
FRAMES_AT_ONCE = 1000
"""Frames that are skipped between two checks of the clock."""
REQUESTS_KEPT = 64
"""Messages of one connection that wait in memory; the others wait at the caller."""
PASS_S = 0.02
"""Time for the requests of one socket in one pass of the loop, so that a flood
delays neither the readers nor the beat."""
REST_S = 0.2
"""Time for the requests that have arrived on one socket when the broker ends."""
SILENCE_MS = 10
"""Over TCP, the rest has arrived when libzmq's thread has brought nothing for this time."""
REQUESTS_PER_PASS = 8
"""Requests of local callers in one pass, and of TCP callers. The reader, Asterisk and the callers work
on these while the broker is at the next ones; if all went on together, each process would wait for
the one before it."""
MAX_IDENTITIES = 4096
"""Remembered Unix users and groups."""

_DONTWAIT = int(zmq.DONTWAIT)
_UNDELIVERABLE = (zmq.EAGAIN, zmq.EHOSTUNREACH)
"""libzmq's errors for a peer that does not read, or has disconnected."""


class CallerSockets:
    """Receives requests and sends replies. `open_caller_sockets` makes one."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        acceptor: Acceptor,
        local: LocalCallers,
        settings: BrokerSettings,
        counters: Counter[str],
    ) -> None:
        self._context = context
        self._acceptor = acceptor
        self._local = local
        self._counters = counters
        self._backlog = ReplyBacklog(settings.rpc.max_unread_bytes)
        self._tcp: zmq.Socket[bytes] | None = None
        self._zap: ZapAuthenticator | None = None
        if settings.curve.secret_key is not None:
            self._zap = ZapAuthenticator(context, settings.curve, settings.callers)
            self._tcp = _router(context)
            self._tcp.set(zmq.MAXMSGSIZE, max(settings.rpc.max_request_bytes, MAX_TCP_MESSAGE_BYTES))
            self._monitor = ConnectionMonitor(context, self._tcp)
        self._bindings: Bindings | None = None
        self._skipping = False
        self.configure(settings)

    def configure(self, settings: BrokerSettings) -> None:
        """Apply the callers of a new configuration.

        A connection whose key was removed has no rights from now on.
        """
        self._names = {caller.key: name for name, caller in settings.callers.items() if caller.key}
        self._unix_user = lru_cache(MAX_IDENTITIES)(partial(_identify_user, settings.local_callers))
        self._backlog.limit = settings.rpc.max_unread_bytes
        self._local.limits = settings.rpc
        if self._zap is not None and self._tcp is not None:
            self._zap.set_keys(settings.callers)
            self._tcp.set(zmq.SNDHWM, settings.rpc.max_unread_answers)

    # ── receiving ──

    def start(self, on_message: Callable[[Origin, bytes, str], object], on_disconnect: Callable[[Connection], object]) -> None:
        """Start receiving on the running loop.

        on_message: takes each message, as `parse_message` returns it. on_disconnect: takes each
        connection that has ended.
        """
        self._on_message = on_message
        self._on_disconnect = on_disconnect
        loop = asyncio.get_running_loop()
        self._receive_soon = Soon(loop, self._receive_few)
        self._flush_soon = Soon(loop, self.flush_local)
        self._handshake_alarm = Alarm(loop, self._receive_few)
        loop.add_reader(self._local.fileno(), self._receive_few)
        if self._tcp is not None:
            self._tcp_reader = SocketReader(loop, self._tcp, partial(self._receive_tcp, self._tcp))
            self._monitor.start(partial(self._forget, self._tcp))

    def listen(self, endpoints: list[str], report: Report) -> None:
        """Listen on TCP endpoints too, if there is a key. report: see `Bindings`."""
        if self._zap is not None and self._tcp is not None:
            self._bindings = Bindings(partial(self._bind_tcp, self._zap, self._tcp), "listen in [rpc]", report)
            self._bindings.listen(endpoints)

    async def _bind_tcp(self, zap: ZapAuthenticator, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self._acceptor.add_at(zap.bind_tcp(socket, endpoint))

    def _receive_few(self) -> None:
        """Receive what one pass of the loop permits from local callers."""
        self._receive_local(clock.monotonic() + PASS_S, REQUESTS_PER_PASS)
        if self._local.has_turns:
            self._receive_soon()
        self._handshake_alarm.set(self._local.next_deadline())

    def receive_rest(self) -> None:
        """Receive what has arrived, before the end."""
        end = clock.monotonic() + REST_S
        while self._receive_local(end, None):
            pass
        end = clock.monotonic() + REST_S
        while self._tcp is not None and clock.monotonic() < end and self._tcp.poll(SILENCE_MS):
            self._receive_tcp(self._tcp)

    def _receive_local(self, end: float, most: int | None) -> bool:
        """Receive from local callers until `end`, at most `most` requests. False if there were none."""
        connection = None
        for connection, frames in itertools.islice(self._local.receive(end), most):
            identity = self._unix_user(connection.uid, connection.gid)
            self._on_message(*parse_message(connection, frames, identity, bool(connection.protocol.identity)))
        self.flush_local()
        return connection is not None

    def flush_local(self) -> None:
        """Send local callers their answers so far, and report the connections that have closed."""
        self._local.flush()
        for connection in self._local.take_closed():
            self._on_disconnect(connection)

    def _receive_tcp(self, socket: zmq.Socket[bytes]) -> bool:
        """Receive what one pass of the loop permits from TCP callers; True if more may be waiting."""
        end = clock.monotonic() + PASS_S
        if self._skipping:
            self._skip(socket, end)
        for _ in range(REQUESTS_PER_PASS):
            if clock.monotonic() >= end:
                break
            try:
                first, frames = self._receive_frames(socket, end)
            except zmq.Again:
                return False
            routing_id = first.bytes
            if not self._monitor.is_alive(routing_id, first):
                self._counters["requests_of_gone_callers"] += 1
                continue
            if len(frames) == MAX_FRAMES:
                disconnect(first)  # skipping a frame takes longer than sending one
            # libzmq's ids begin with a zero byte
            self._on_message(*parse_message(routing_id, frames, self._key_holder(first), sets_id=routing_id[0] != 0))
        return True

    def _forget(self, socket: zmq.Socket[bytes], ended: list[bytes], cut: int) -> None:
        if cut:
            self._counters["connections_without_request"] += cut
            bound = int(socket.get(zmq.MAXMSGSIZE))
            message = "%d connections ended without a request: their clients disconnected, or sent a message over %s bytes"
            log.info(message, cut, f"{bound:,}")
        for routing_id in ended:
            self._backlog.forget(routing_id)
            self._on_disconnect(routing_id)

    def _receive_frames(self, socket: zmq.Socket[bytes], end: float) -> tuple[zmq.Frame, list[bytes]]:
        """The routing id of a message as libzmq's object, and the bytes
        of the frames after it, at most MAX_FRAMES."""
        first = frame = Socket.recv(socket, _DONTWAIT, False)
        frames: list[bytes] = []
        while frame.more and len(frames) < MAX_FRAMES:
            frame = Socket.recv(socket, _DONTWAIT, False)
            frames.append(frame.bytes)
        if frame.more:
            self._skip(socket, end)
        return first, frames

    def _skip(self, socket: zmq.Socket[bytes], end: float) -> None:
        """Drop the rest of a message, as much of it as one pass permits."""
        self._skipping = True
        while clock.monotonic() < end:
            for _ in range(FRAMES_AT_ONCE):
                if not Socket.recv(socket, _DONTWAIT, False).more:
                    self._skipping = False
                    return

    def _key_holder(self, frame: zmq.Frame) -> Identity:
        key = str(frame.get("User-Id"))
        name = self._names.get(key)
        return Identity(name, f"key:{name}") if name else Identity(NO_CALLER, f"key:{key}")

    # ── sending ──

    def send(self, origin: Origin, body: bytes) -> bool:
        """Send an answer; False if its caller has too many unread.

        It is counted as undeliverable if the caller has disconnected or does not read.
        """
        connection = origin.connection
        if isinstance(connection, LocalConnection):
            self._flush_soon()
            return self._local.send(connection, [*origin.envelope, body])
        assert self._tcp is not None
        self._tcp_reader.check_soon()
        try:
            return self._backlog.send(self._tcp, origin.identity.principal, [connection, *origin.envelope, body])
        except zmq.ZMQError as error:
            if error.errno not in _UNDELIVERABLE:
                raise
            self._counters["undeliverable_answers"] += 1
            return True

    def close(self) -> None:
        """Send the last answers to local callers, and close their connections."""
        if self._bindings is not None:
            self._bindings.close()
        self._acceptor.close()
        self._local.close()
        self._context.destroy(linger=500)


def open_caller_sockets(settings: BrokerSettings, counters: Counter[str]) -> CallerSockets:
    """Listen as the settings say. The simulation of the tests replaces this.

    Raises `OSError` if it cannot listen.
    """
    acceptor = Acceptor(settings.run_dir, counters)
    listener = listen_locally(f"{settings.run_dir}/{wire.RPC_SOCKET}")
    acceptor.add([listener.fileno()])
    local = LocalCallers(listener, select.epoll(), counters, acceptor.free_descriptors, settings.rpc)
    return CallerSockets(zmq.Context(), acceptor, local, settings, counters)


def _identify_user(callers: list[LocalCaller], uid: int, gid: int) -> Identity:
    return Identity(find_caller(callers, uid, gid), f"uid:{uid}", local=True, own=uid == os.geteuid())


def _router(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.ROUTER)
    socket.set(zmq.ROUTER_MANDATORY, 1)
    socket.set(zmq.LINGER, 500)
    socket.set(zmq.RCVHWM, REQUESTS_KEPT)
    socket.copy_threshold = 0  # a large answer is sent with a tracker, which a copy would complete at once
    return socket
