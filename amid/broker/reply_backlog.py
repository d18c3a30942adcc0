"""How many bytes of its answers each principal has not read, over all its connections.

libzmq limits what waits for a connection by number, but 10,000 answers on each of many connections
do not fit into memory. An answer can be sent with a tracker, which reports when libzmq is done with
it, but that costs more than the answer. A connection's answers leave in order, so one tracker
covers the answers before it too: the next answer of a connection has one once about 16 KiB have
none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import zmq

from amid.process.loop import clock
from amid.process.sending import send

UNTRACKED_BYTES = 16 * 1024
"""From this many untracked bytes on, a connection's next answer is sent with a tracker."""
SMALL_BYTES = 16 * 1024
"""An answer up to this size, such as an error, may exceed the limit by an eighth."""
CONNECTION_BYTES = 32 * 1024
"""Answers that may always wait on a connection, whatever its principal has not read elsewhere."""
OVERHEAD_BYTES = 256
"""Memory of a waiting answer besides its bytes."""
REVIEW_S = 0.1
"""Interval at which all connections of a principal over its limit are reviewed."""


def may_wait(size: int, limit: int, of_principal: int, of_connection: int) -> bool:
    """Whether an answer of `size` bytes may wait for a principal that has `of_principal` unread bytes,
    of which `of_connection` wait on its connection. A single answer may exceed the limit. The rule of
    both sockets."""
    limit = limit if size > SMALL_BYTES else limit * 9 // 8
    return of_principal + size <= limit or of_connection + size <= CONNECTION_BYTES or not of_principal


@dataclass(slots=True)
class _Backlog:
    """The answers of one connection."""

    untracked: int = 0
    tracked: deque[tuple[zmq.MessageTracker, int]] = field(default_factory=deque)
    bytes: int = 0
    """Of unread answers that trackers cover."""

    def add(self, tracker: zmq.MessageTracker, size: int) -> int:
        """Note an answer with a tracker. Returns the number of bytes that the tracker covers."""
        covered, self.untracked = self.untracked + size, 0
        self.tracked.append((tracker, covered))
        self.bytes += covered
        return covered

    def review(self) -> int:
        """Forget the answers that were read. Returns their number of bytes."""
        before = self.bytes
        while self.tracked and self.tracked[0][0].done:
            self.bytes -= self.tracked.popleft()[1]
        return before - self.bytes


@dataclass(slots=True)
class _Principal:
    connections: dict[bytes, _Backlog] = field(default_factory=dict)
    bytes: int = 0
    reviewed: float = 0.0

    def review(self, now: float) -> None:
        if now >= self.reviewed + REVIEW_S:
            self.reviewed = now
            self.bytes -= sum(backlog.review() for backlog in self.connections.values())


class ReplyBacklog:
    """Counts bytes by principal and connection, which is named by its routing id.

    limit: bytes that may wait for one principal, in addition to 16 KiB for each of its connections,
    and to an eighth of the limit for answers under 16 KiB. A single answer may be larger.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._principals: dict[str, _Principal] = {}

    def send(self, socket: zmq.Socket[bytes], name: str, frames: list[bytes]) -> bool:
        """Send to the connection that the first frame names; False if its principal, `name`, has too
        much unread. Raises `zmq.ZMQError`."""
        connection = frames[0]
        principal = self._principals.get(name) or _Principal()
        backlog = principal.connections.get(connection) or _Backlog()
        size = sum(map(len, frames)) + OVERHEAD_BYTES
        if principal.bytes + size > self.limit:
            principal.review(clock.monotonic())
        if not may_wait(size, self.limit, principal.bytes, backlog.bytes + backlog.untracked):
            return False
        if backlog.untracked + size < UNTRACKED_BYTES:
            send(socket, *frames)
            backlog.untracked += size
        else:
            tracker = socket.send_multipart(frames, zmq.DONTWAIT, copy=False, track=True)
            assert tracker is not None
            principal.bytes += backlog.add(tracker, size) - backlog.review()
        principal.connections[connection] = backlog
        self._principals[name] = principal
        return True

    def forget(self, connection: bytes) -> None:
        """Forget a connection that has ended."""
        for name, principal in list(self._principals.items()):
            backlog = principal.connections.pop(connection, None)
            if backlog is not None:
                principal.bytes -= backlog.bytes
                if not principal.connections:
                    del self._principals[name]
