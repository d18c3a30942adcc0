"""Callers on the Unix socket `rpc`, with turns for each Unix user (not libzmq: see
`amid.rpc.zmtp`).

A pass of the loop receives one message from each user in turn, so a user with many connections or
expensive requests gets no more than its share. What is not received stays in the kernel. A user's
unfinished messages and unread answers are bounded over all its connections, and one user cannot
take all connections.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from amid.broker.reply_backlog import OVERHEAD_BYTES, may_wait
from amid.config.tables import Rpc
from amid.process.loop import clock
from amid.process.unix_socket import peer_credentials
from amid.rpc.zmtp import Refused, ZmtpProtocol, encode_frames

log = logging.getLogger("amid.broker")

ACCEPTED_AT_ONCE = 50
RESERVED_CONNECTIONS = 32
"""Connections that only root and amid's own user can take."""
EVENTS_AT_ONCE = 64
"""Ready connections that a pass looks at, since it takes few requests. epoll shows all in turn."""
READ_BYTES = 64 * 1024
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Limit of one message. Below it and over `max_request_bytes`, the caller receives an error."""
MAX_FRAMES = 16
"""Frames of one message: the request, the delimiter, and one for each proxy in between."""
MAX_HELD_BYTES = 64 * 1024 * 1024
"""Unfinished messages of one user."""
HANDSHAKE_S = 2.0
LINGER_S = 0.5
"""Time to send the last answers when the broker ends."""
CHUNKS_AT_ONCE = 64
REPLY_CHUNKS = 4
"""Replies to heartbeats wait while this many chunks are unsent. The first two are greeting and READY."""
ANSWERS_PER_FLUSH = 8
"""With more, their callers would have nothing to do while the broker works on the next ones."""


class LocalConnection:
    """pid, uid, gid: of the peer's process when it connected. sent_of_first: bytes of the first unsent chunk."""

    def __init__(self, sock: socket.socket) -> None:
        self.pid, self.uid, self.gid = peer_credentials(sock)
        self.user = _User()
        self.socket = sock
        self.protocol = ZmtpProtocol(MAX_MESSAGE_BYTES, MAX_FRAMES)
        self.unsent: deque[bytes] = deque()
        self.sent_of_first = 0
        self.unsent_bytes = self.held_bytes = 0
        self.is_queued = self.is_closed = self.awaits_room = False

    def receive(self) -> list[bytes] | None:
        """The next message, after at most one read, as `next_message` returns it.

        Raises `Refused`, and `EOFError` or `OSError` if the peer has disconnected.
        """
        message = self.protocol.next_message()
        if message is None:
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise EOFError
            self.protocol.feed(data)
            message = self.protocol.next_message()
        return message


@dataclass
class _User:
    """All connections of one Unix user. ready: those that may have a message."""

    connections: int = 0
    held_bytes: int = 0
    unsent_bytes: int = 0
    ready: deque[LocalConnection] = field(default_factory=deque)


class LocalCallers:
    """listener: the socket that callers connect to. free_descriptors: how many more connections
    there may be. limits: may be replaced at any time."""

    def __init__(
        self,
        listener: socket.socket,
        epoll: select.epoll,
        counters: Counter[str],
        free_descriptors: Callable[[], int],
        limits: Rpc,
    ) -> None:
        self._counters = counters
        self._free_descriptors = free_descriptors
        self.limits = limits
        self._connections: dict[int, LocalConnection] = {}
        self._users: dict[int, _User] = {}
        self._turns: deque[_User] = deque()
        self._handshakes: dict[LocalConnection, float] = {}
        self._dirty: dict[LocalConnection, None] = {}
        self._unflushed = 0
        self._closed: list[LocalConnection] = []
        self.listener = listener
        self._epoll = epoll
        self._epoll.register(self.listener.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when `receive` has something to do."""
        return self._epoll.fileno()

    @property
    def has_turns(self) -> bool:
        """Whether messages were left for the next pass."""
        return bool(self._turns)

    def next_deadline(self) -> float | None:
        """When `receive` is due without input: a handshake has timed out."""
        return next(iter(self._handshakes.values()), None)

    # ── receiving ──

    def receive(self, end: float) -> Iterator[tuple[LocalConnection, list[bytes]]]:
        """Messages, until there are none or until `end` (monotonic seconds)."""
        if self._epoll.closed:
            return  # the loop had planned this pass before the end
        self._poll()
        while self._turns and clock.monotonic() < end:
            user = self._turns.popleft()
            connection = user.ready.popleft()
            message = None if connection.is_closed else self._receive_from(connection)
            if connection.is_queued:
                user.ready.append(connection)
            if user.ready:
                self._turns.append(user)
            if message:
                yield connection, message

    def _poll(self) -> None:
        now = clock.monotonic()
        for descriptor, events in self._epoll.poll(0, EVENTS_AT_ONCE):
            connection = self._connections.get(descriptor)
            if connection is None:
                self._accept(now)
                continue
            if events & select.EPOLLOUT:
                self._dirty[connection] = None
            if events & ~select.EPOLLOUT and not connection.is_queued:
                connection.is_queued = True
                connection.user.ready.append(connection)
                if len(connection.user.ready) == 1:
                    self._turns.append(connection.user)
        while (end := self.next_deadline()) is not None and now >= end:
            self._close(next(iter(self._handshakes)))

    def _accept(self, now: float) -> None:
        free = self._free_descriptors()
        with contextlib.suppress(OSError):  # none is waiting, or it has disconnected already
            for _ in range(ACCEPTED_AT_ONCE):
                accepted, _ = self.listener.accept()
                connection = LocalConnection(accepted)
                if self._has_share(connection.uid, free):
                    self._add_connection(connection, now)
                    free -= 1
                else:
                    accepted.close()

    def _has_share(self, uid: int, free: int) -> bool:
        """Whether a user may have one more connection. If not, that is counted and logged.

        There is a limit because each connection can occupy 200 KiB of the kernel's memory with
        answers. In addition no user may have more connections than remain for others: the first
        user can have half of all, a second one half of the rest. Root and amid's own user are
        exempt from both.
        """
        count = self._users[uid].connections if uid in self._users else 0
        limit = self.limits.max_connections_per_user
        if uid in (0, os.geteuid()) or count < min(limit, free - RESERVED_CONNECTIONS):
            return True
        self._counters["refused_connections"] += 1
        message = (
            "refused a connection of uid:%d: it has %d of %d (max_connections_per_user); %d descriptors are free (LimitNOFILE)"
        )
        log.warning(message, uid, count, limit, free)
        return False

    def _add_connection(self, connection: LocalConnection, now: float) -> None:
        descriptor = connection.socket.fileno()
        connection.socket.setblocking(False)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._connections[descriptor] = connection
        connection.user = self._users.setdefault(connection.uid, connection.user)
        connection.user.connections += 1
        self._handshakes[connection] = now + HANDSHAKE_S
        self._dirty[connection] = None  # to send the greeting

    def _receive_from(self, connection: LocalConnection) -> list[bytes] | None:
        message, user = None, connection.user
        connection.is_queued = False
        try:
            message = connection.receive()
            connection.is_queued = connection.protocol.has_input
        except BlockingIOError:
            pass
        except Refused as refused:
            self._refuse(connection, str(refused))
        except (EOFError, OSError):
            self._close(connection)
        if connection.is_closed:
            return None
        if connection.protocol.identity is not None:
            self._handshakes.pop(connection, None)
        if connection.protocol.to_send:
            self._dirty[connection] = None
        held = connection.protocol.held_bytes
        user.held_bytes += held - connection.held_bytes
        connection.held_bytes = held
        if user.held_bytes > MAX_HELD_BYTES:
            self._refuse(connection, f"its user has sent over {MAX_HELD_BYTES} bytes of unfinished messages")
        return message

    def _refuse(self, connection: LocalConnection, reason: str) -> None:
        self._counters["closed_connections"] += 1
        log.warning("closed a connection of uid:%d: %s", connection.uid, reason)
        self._close(connection)

    def _close(self, connection: LocalConnection) -> None:
        if connection.is_closed:
            return
        connection.is_closed, connection.is_queued = True, False
        del self._connections[connection.socket.fileno()]
        self._epoll.unregister(connection.socket.fileno())
        connection.socket.close()
        self._handshakes.pop(connection, None)
        self._dirty.pop(connection, None)
        user = connection.user
        user.connections -= 1
        user.held_bytes -= connection.held_bytes
        user.unsent_bytes -= connection.unsent_bytes
        if not user.connections:
            del self._users[connection.uid]
        self._closed.append(connection)

    def take_closed(self) -> list[LocalConnection]:
        """The connections that have closed since the last call."""
        closed, self._closed = self._closed, []
        return closed

    # ── sending ──

    def has_room(self, connection: LocalConnection, size: int) -> bool:
        """Whether an answer of `size` bytes may be queued."""
        limit = self.limits.max_unread_bytes
        return may_wait(size + OVERHEAD_BYTES, limit, connection.user.unsent_bytes, connection.unsent_bytes)

    def send(self, connection: LocalConnection, frames: list[bytes]) -> bool:
        """Queue an answer, or count it if its caller has disconnected. False if its user has too many unread."""
        if connection.is_closed or len(connection.unsent) >= self.limits.max_unread_answers:
            self._counters["undeliverable_answers"] += 1
            return True
        if not self.has_room(connection, len(frames[-1])):
            return False
        self._take_replies(connection)  # READY precedes the first answer
        self._add(connection, encode_frames(frames))
        self._unflushed += 1
        if self._unflushed == ANSWERS_PER_FLUSH:
            self.flush()
        return True

    def _add(self, connection: LocalConnection, data: bytes) -> None:
        connection.unsent.append(data)
        connection.unsent_bytes += len(data) + OVERHEAD_BYTES
        connection.user.unsent_bytes += len(data) + OVERHEAD_BYTES
        self._dirty[connection] = None

    def flush(self) -> None:
        """Send the answers of this pass, as far as their callers' sockets take them."""
        self._unflushed = 0
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            if not connection.is_closed:
                self._flush(connection)

    def _flush(self, connection: LocalConnection) -> None:
        self._take_replies(connection)
        try:
            while connection.unsent:
                chunks: list[bytes | memoryview] = list(itertools.islice(connection.unsent, CHUNKS_AT_ONCE))
                chunks[0] = memoryview(chunks[0])[connection.sent_of_first :]
                self._count_sent(connection, connection.socket.sendmsg(chunks))
                self._take_replies(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return
        self._dirty.pop(connection, None)
        if connection.awaits_room != bool(connection.unsent):
            connection.awaits_room = bool(connection.unsent)
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0))

    def _take_replies(self, connection: LocalConnection) -> None:
        """Queue the protocol's replies. While much is unsent, they stay in the protocol."""
        if connection.protocol.to_send and len(connection.unsent) < REPLY_CHUNKS:
            self._add(connection, bytes(connection.protocol.to_send))
            connection.protocol.to_send.clear()

    def _count_sent(self, connection: LocalConnection, sent: int) -> None:
        """A chunk counts with all its bytes until it is sent completely and leaves memory."""
        freed = 0
        sent += connection.sent_of_first
        while connection.unsent and sent >= len(connection.unsent[0]):
            size = len(connection.unsent.popleft())
            sent -= size
            freed += size + OVERHEAD_BYTES
        connection.sent_of_first = sent
        connection.unsent_bytes -= freed
        connection.user.unsent_bytes -= freed

    def close(self) -> None:
        """Send the last answers, and close all connections."""
        end = clock.monotonic() + LINGER_S
        self.flush()
        while any(one.unsent for one in self._connections.values()) and clock.monotonic() < end:
            self._epoll.poll(0.01)
            self._dirty.update((one, None) for one in self._connections.values() if one.unsent)
            self.flush()
        for connection in list(self._connections.values()):
            self._close(connection)
        self._epoll.close()
        self.listener.close()
