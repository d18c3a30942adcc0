"""The two sockets that callers connect to, and who is at the other end of each connection.

There is one ROUTER for ipc and one for TCP, because libzmq takes properties of a message from the
peer's handshake where nothing else sets them. On ipc nothing sets `User-Id`, so any peer can state
one there; it is read on the TCP socket only, where CURVE and ZAP set it. On ipc the peer is its
Unix user: libzmq asks the kernel (SO_PEERCRED) and sets `Peer-Address` itself, before it looks at
the properties of the handshake (libzmq, stream_engine_base.cpp: `init_properties`).

Messages are received frame by frame. A message may have millions of frames, so what is over the
limit is skipped, in portions.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import zmq
from zmq.backend import Socket

from amid import wire
from amid.broker.connection_monitor import ConnectionMonitor
from amid.broker.reply_backlog import Connection, ReplyBacklog
from amid.process.acceptor import BACKLOG, Acceptor
from amid.process.sending import disconnect
from amid.process.settings import BrokerSettings
from amid.process.zap import ZapAuthenticator

log = logging.getLogger("amid.broker")

LOCAL = "local"
"""The caller on ipc, unless the configuration names another for its Unix user."""

NOBODY = ""
"""The caller of a connection that no table of the configuration is for."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Bytes of one frame; libzmq disconnects a peer that sends more before it is in memory. Below this
and over `max_request_bytes` the caller gets an error that says so."""
MAX_TCP_MESSAGE_BYTES = 1024 * 1024 + 4096
"""The same over TCP, unless `max_request_bytes` is more. It bounds the handshake too, in which a peer is a stranger: the daemon's
clients send no request over 1 MiB."""
MAX_FRAMES = 16
"""Frames of one message: the request, the delimiter, and a frame for each proxy in between."""
FRAMES_AT_ONCE = 1000
"""Frames that are skipped between two looks at the clock."""
MAX_ENVELOPE_BYTES = 1024
"""Bytes of the frames that lead an answer back; they are held until it is sent."""
REQUESTS_KEPT = 64
"""Messages of one connection that wait in memory; the others wait at the caller's end."""
PASS_S = 0.02
"""Seconds given to requests of one socket in one pass of the loop, so that a flood delays neither
the readers nor the beat."""
HANDSHAKE_MS = 2000
"""Milliseconds that a peer has for its handshake."""
MAX_IDENTITIES = 4096
"""Peers remembered between messages."""

_DONTWAIT = int(zmq.DONTWAIT)
_UNDELIVERABLE = (zmq.EAGAIN, zmq.EHOSTUNREACH)
"""How libzmq reports a peer that does not read what it is sent, or has gone."""


class Identity(NamedTuple):
    """Who is at the other end of a connection.

    caller: the NAME of the [callers.NAME] whose rights apply. principal: what quotas, fairness and
    audit go by, `uid:1000` on ipc and `key:crm` over TCP. local: on this machine, over ipc. own:
    its process runs as amid's own user.
    """

    caller: str
    principal: str
    local: bool = False
    own: bool = False


class Sender(NamedTuple):
    """Who sent a message, and the way back.

    envelope: the frames that lead an answer back, the routing id first.
    """

    socket: zmq.Socket[bytes]
    envelope: list[bytes]
    identity: Identity

    @property
    def connection(self) -> Connection:
        return self.socket, self.envelope[0]


class Message(NamedTuple):
    """fault: what is wrong with the frames; "" when `payload` is a request."""

    sender: Sender
    payload: bytes
    fault: str = ""


class CallerSockets:
    """Receives requests and sends replies. Raises `zmq.ZMQError` when the ipc endpoint cannot be bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], settings: BrokerSettings, counters: Counter[str]) -> None:
        self._counters = counters
        self._backlog = ReplyBacklog(settings.rpc.max_unread_bytes)
        self._identities: dict[str, Identity] = {}
        self._monitors: dict[zmq.Socket[bytes], ConnectionMonitor] = {}
        self.acceptor = Acceptor(settings.run_dir, counters, time.monotonic())
        self.ipc = self._router(context, settings.rpc.max_calls)
        self.acceptor.bind(lambda: self.ipc.bind(wire.ipc(settings.run_dir, wire.RPC_SOCKET)))
        self.tcp: zmq.Socket[bytes] | None = None
        self._zap: ZapAuthenticator | None = None
        if settings.curve.secret_key is not None:
            self._zap = ZapAuthenticator(context, settings.curve, settings.callers)
            self.tcp = self._router(context, settings.rpc.max_calls)
            self.tcp.set(zmq.MAXMSGSIZE, max(settings.rpc.max_request_bytes, MAX_TCP_MESSAGE_BYTES))
            self.acceptor.bind(partial(self._zap.bind_tcp, self.tcp, settings.rpc.listen))
        self._skipping: set[zmq.Socket[bytes]] = set()
        self.configure(settings)

    def _router(self, context: zmq.Context[zmq.Socket[bytes]], max_calls: int) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.ROUTER)
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set(zmq.LINGER, 500)
        socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        socket.set(zmq.ZAP_DOMAIN, b"amid")  # libzmq then refuses peers of ZMTP 1 and 2, whose messages have no Peer-Address
        socket.set(zmq.SNDHWM, max_calls)  # all that one caller may have open can be answered at once
        socket.set(zmq.RCVHWM, REQUESTS_KEPT)
        socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.copy_threshold = 0  # a large answer is sent with a tracker, which a copy would have done with at once
        socket.set(zmq.BACKLOG, BACKLOG)
        self._monitors[socket] = ConnectionMonitor(context, socket)
        return socket

    def configure(self, settings: BrokerSettings) -> None:
        """Accept the callers of a new configuration. A connection whose key is no longer among theirs
        is nobody's from now on."""
        self._names = {caller.key: name for name, caller in settings.callers.items() if caller.key}
        self._local_callers = settings.local_callers
        self._backlog.limit = settings.rpc.max_unread_bytes
        self._identities.clear()
        if self._zap is not None:
            self._zap.set_keys(settings.callers)

    # ── receiving ──

    def poll_items(self) -> Iterator[tuple[zmq.Socket[bytes] | int, int]]:
        zap = self._zap.socket if self._zap is not None else None
        for socket in (self.ipc, self.tcp, zap):
            if socket is not None:
                yield socket, int(zmq.POLLIN)
        for monitor in self._monitors.values():
            yield monitor.fd, int(zmq.POLLIN)
        yield from self.acceptor.poll_items()

    def receive(self, ready: Mapping[Any, int]) -> Iterator[Message]:
        """What has come on the sockets that are `ready`, as much of it as fits into one pass of the loop."""
        if self._zap is not None and self._zap.socket in ready:
            self._zap.step()
        for socket, identify in ((self.ipc, self._unix_user), (self.tcp, self._key_holder)):
            if socket is None or socket not in ready:
                continue
            end = time.monotonic() + PASS_S
            if socket in self._skipping:
                self._skip(socket, end)
            while time.monotonic() < end:
                try:
                    first, frames = self._receive_frames(socket, end)
                except zmq.Again:
                    break
                if not self._monitors[socket].is_alive(frames[0], first):
                    self._counters["requests_of_gone_callers"] += 1
                    continue
                try:
                    identity = identify(first)
                except zmq.ZMQError:  # a peer that speaks ZMTP 1 or 2, whose messages have no properties
                    identity = Identity(NOBODY, "unknown")
                if len(frames) > MAX_FRAMES:
                    disconnect(first)  # each frame takes longer to skip than to send
                yield parse_message(socket, frames, identity)

    def gone(self, ready: Mapping[Any, int]) -> Iterator[Connection]:
        """The connections that have gone since the last time."""
        for socket, monitor in self._monitors.items():
            if monitor.fd in ready:
                monitor.receive()
            if count := monitor.take_without_message():
                self._report_cut(socket, count)
            for routing_id in monitor.take_gone():
                self._backlog.forget((socket, routing_id))
                yield socket, routing_id

    def _report_cut(self, socket: zmq.Socket[bytes], count: int) -> None:
        self._counters["connections_without_request"] += count
        bound = int(socket.get(zmq.MAXMSGSIZE))
        said = "%d connections ended without a request: their clients left, or sent a message over %s bytes, which libzmq refuses"
        log.info(said, count, f"{bound:,}")

    def _receive_frames(self, socket: zmq.Socket[bytes], end: float) -> tuple[zmq.Frame, list[bytes]]:
        """The first frame of a message as libzmq has it, and the bytes of all, MAX_FRAMES + 1 at most."""
        first = frame = Socket.recv(socket, _DONTWAIT, False)
        frames = [first.bytes]
        while frame.more and len(frames) <= MAX_FRAMES:
            frame = Socket.recv(socket, _DONTWAIT, False)
            frames.append(frame.bytes)
        if frame.more:
            self._skip(socket, end)
        return first, frames

    def _skip(self, socket: zmq.Socket[bytes], end: float) -> None:
        """Receive what is left of a message and drop it, as much of it as fits into this pass."""
        self._skipping.add(socket)
        while time.monotonic() < end:
            for _ in range(FRAMES_AT_ONCE):
                if not Socket.recv(socket, _DONTWAIT, False).more:
                    self._skipping.discard(socket)
                    return

    def _unix_user(self, frame: zmq.Frame) -> Identity:
        address = str(frame.get("Peer-Address"))  # localhost:UID:GID:PID
        identity = self._identities.get(address)
        if identity is None:
            if len(self._identities) >= MAX_IDENTITIES:
                self._identities.clear()
            _, uid, gid, _ = address.split(":")
            name = self._local_caller(int(uid), int(gid))
            own = int(uid) == os.geteuid()
            identity = self._identities[address] = Identity(name, f"uid:{uid}", local=True, own=own)
        return identity

    def _local_caller(self, uid: int, gid: int) -> str:
        return next((one.name for one in self._local_callers if uid in one.uids or gid == one.gid), LOCAL)

    def _key_holder(self, frame: zmq.Frame) -> Identity:
        key = str(frame.get("User-Id"))
        name = self._names.get(key)
        return Identity(name, f"key:{name}") if name else Identity(NOBODY, f"key:{key}")

    # ── sending ──

    def has_room(self, sender: Sender, size: int) -> bool:
        """Whether an answer of `size` bytes may wait for this sender."""
        return self._backlog.has_room(sender.identity.principal, sender.connection, size)

    def send(self, sender: Sender, body: bytes) -> None:
        """An answer; counted as undeliverable when its caller has gone, or does not read."""
        try:
            self._backlog.send(sender.identity.principal, sender.connection, [*sender.envelope, body])
        except zmq.ZMQError as error:
            if error.errno not in _UNDELIVERABLE:
                raise
            self._counters["undeliverable_answers"] += 1


def parse_message(socket: zmq.Socket[bytes], frames: list[bytes], identity: Identity) -> Message:
    """The message in `frames`, the routing id first."""
    end = frames.index(b"", 1) if b"" in frames[1:] else 0
    envelope, payload = frames[: end + 1], frames[end + 1 :]
    fault = _fault(envelope, payload)
    if sum(map(len, envelope)) > MAX_ENVELOPE_BYTES:
        envelope = [frames[0], b""]
    return Message(Sender(socket, envelope, identity), payload[0] if payload else b"", fault)


def _fault(envelope: list[bytes], payload: list[bytes]) -> str:
    """What is wrong with the frames of a message, or ""."""
    if envelope[0][0] != 0:  # libzmq's own are a zero byte and a number; another could be a second client's, and get its answers
        return "the socket sets a routing id (ZMQ_ROUTING_ID, ZMQ_IDENTITY); leave it unset"
    if len(envelope) == 1:
        return "no empty delimiter frame: a DEALER sends one before its request, a REQ socket does so by itself"
    if sum(map(len, envelope)) > MAX_ENVELOPE_BYTES:
        return f"the frames before the empty delimiter have more than {MAX_ENVELOPE_BYTES} bytes"
    if len(payload) != 1:
        over = len(envelope) + len(payload) > MAX_FRAMES
        count = f"over {MAX_FRAMES - len(envelope)}" if over else len(payload)
        return f"a request is one frame behind an empty delimiter frame; there were {count}"
    return ""
