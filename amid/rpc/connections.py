"""Which connection each message came on, and which connections have gone: what libzmq tells about the two, joined.

A ROUTER's messages carry the routing id and the descriptor of their connection; its monitor reports descriptors that were opened
and closed. The two come on different ways, and descriptors are used again. These hold:

* libzmq queues a connection's events in order, and a descriptor's next connection is accepted after the last one was closed. So
  when a message is at hand, the events up to its connection's opening are in the monitor: whoever reads all events before it
  registers a new connection never takes the end of an earlier one for the end of this one.
* A message may be at hand later than the end of its connection. If the descriptor is not open then, its caller has gone. If it is
  open again, the message may be of either connection, and counts as one of the later connection.

Routing ids are libzmq's own, which no two connections share; a connection that sets its own can make no call.

So a connection that lives is never reported as gone; one that was closed before its first message was read may be reported late.
"""

from __future__ import annotations

REMEMBERED = 10_000
"""Connections that have gone and whose last messages may still come."""


class Connections:
    """The owner feeds every event of the monitor that has come, then registers the connection of a message."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._by_descriptor: dict[int, set[bytes]] = {}
        self._open: set[int] = set()
        self._gone: dict[bytes, None] = {}

    def __contains__(self, routing_id: bytes) -> bool:
        """Whether its messages can be taken without a look at the monitor."""
        return routing_id in self._known

    def opened(self, descriptor: int) -> None:
        self._open.add(descriptor)

    def closed(self, descriptor: int) -> set[bytes]:
        """The routing ids of the connections that have gone."""
        self._open.discard(descriptor)
        gone = self._by_descriptor.pop(descriptor, set())
        for routing_id in gone:
            self._known.discard(routing_id)
            self._gone[routing_id] = None
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        return gone

    def register(self, routing_id: bytes, descriptor: int) -> bool:
        """A message has come; False when its connection has gone."""
        if descriptor not in self._open or routing_id in self._gone:
            return False
        self._known.add(routing_id)
        self._by_descriptor.setdefault(descriptor, set()).add(routing_id)
        return True
