"""When callers connect and disconnect, from libzmq's monitor of a ROUTER (zmq_socket_monitor(3))."""

from __future__ import annotations

import itertools
import struct

import zmq

from amid.rpc.connections import Connections

_EVENT = struct.Struct("=HI")
_HANDSHAKE_FAILED = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_names = itertools.count()


class ConnectionMonitor:
    """Made before the socket is bound. The owner polls `fd`, and calls `receive` when it is readable.

    Why a connection ended libzmq does not report. One that made its handshake and then brought no whole message was left by its
    client, or cut by libzmq for a message over ZMQ_MAXMSGSIZE; these are counted.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], router: zmq.Socket[bytes]) -> None:
        endpoint = f"inproc://connections-{next(_names)}"
        router.monitor(endpoint, sum(_HANDSHAKE_FAILED, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED))
        self._socket = context.socket(zmq.PAIR)
        self._socket.set(zmq.RCVHWM, 0)  # a full queue would block libzmq's own thread
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._connections = Connections()
        self._gone: list[bytes] = []
        self._without_message = 0
        self._handshake_failed = False  # of the connection that the next event ends
        self.fd = int(self._socket.get(zmq.FD))
        self.receive()  # `fd` becomes readable for what comes after the queue was found empty

    def is_alive(self, routing_id: bytes, frame: zmq.Frame) -> bool:
        """Whether the connection of a message is still there, by the message's first frame."""
        if routing_id in self._connections:
            return True
        self.receive()
        return self._connections.register(routing_id, int(frame.get(zmq.SRCFD)))

    def receive(self) -> None:
        """Take all events that have come."""
        while True:
            try:
                event, _ = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            kind, descriptor = _EVENT.unpack(event)
            if kind == zmq.EVENT_ACCEPTED:
                self._connections.opened(descriptor)
            elif kind == zmq.EVENT_DISCONNECTED:
                gone = self._connections.closed(descriptor)
                self._gone += gone
                self._without_message += not (gone or self._handshake_failed)
            self._handshake_failed = kind in _HANDSHAKE_FAILED

    def take_without_message(self) -> int:
        """How many connections have ended after their handshake, and before a whole message came, since the last time."""
        count, self._without_message = self._without_message, 0
        return count

    def take_gone(self) -> list[bytes]:
        """The routing ids of the connections that have gone since the last time."""
        gone, self._gone = self._gone, []
        return gone
