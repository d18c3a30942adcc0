"""Matches messages to connections, from what libzmq reports about the two.

A ROUTER's messages carry the routing id and the descriptor of their connection; its monitor reports
descriptors that were opened and closed. The two arrive separately, and descriptors are reused. Two
facts hold:

* libzmq queues a connection's events in order, and accepts the next connection of a descriptor
  after it has closed the last one. So when a message is available, the monitor has the events up to
  the opening of its connection. An owner that reads all events before it registers a connection
  never mistakes the end of an earlier connection for the end of this one.
* A message may be read after its connection has ended. If the descriptor is closed, the caller has
  disconnected. If it is open again, the message may belong to either connection, and counts as the
  later one's.

libzmq assigns routing ids, and no two connections share one; a connection that sets its own cannot
make calls.

So a live connection is never reported as closed. One that was closed before its first message was
read may be reported late.
"""

from __future__ import annotations

MAX_CLOSED = 10_000
"""Remembered connections that have closed, and whose last messages may still arrive."""


class Connections:
    """The owner feeds all events of the monitor, then registers the connection of a message."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._open: dict[int, set[bytes]] = {}
        """By descriptor."""
        self._ended: dict[bytes, None] = {}

    def __contains__(self, routing_id: bytes) -> bool:
        """Whether messages with this routing id can be accepted without reading the monitor."""
        return routing_id in self._known

    def opened(self, descriptor: int) -> None:
        self._open.setdefault(descriptor, set())

    def closed(self, descriptor: int) -> set[bytes]:
        """The routing ids of the connections that have ended with this descriptor."""
        ended = self._open.pop(descriptor, set())
        for routing_id in ended:
            self._known.discard(routing_id)
            self._ended[routing_id] = None
        while len(self._ended) > MAX_CLOSED:
            del self._ended[next(iter(self._ended))]
        return ended

    def register(self, routing_id: bytes, descriptor: int) -> bool:
        """Note the connection of a message; False if it has ended."""
        if descriptor not in self._open or routing_id in self._ended:
            return False
        self._known.add(routing_id)
        self._open[descriptor].add(routing_id)
        return True
