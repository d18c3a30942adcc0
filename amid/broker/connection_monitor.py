"""Reports when TCP callers connect and disconnect, from libzmq's monitor
of a ROUTER (zmq_socket_monitor(3))."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Callable

import zmq

from amid.process.socket_reader import SocketReader
from amid.rpc.connections import Connections

_EVENT = struct.Struct("=HI")
_HANDSHAKE_FAILED = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_names = itertools.count()


class ConnectionMonitor:
    """Made before the socket is bound; `start` attaches it to the running loop.

    libzmq does not report why a connection ended. One that ended after its handshake and before a
    whole message was closed by its client, or by libzmq for a message over ZMQ_MAXMSGSIZE; these
    are counted.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], router: zmq.Socket[bytes]) -> None:
        endpoint = f"inproc://connections-{next(_names)}"
        router.monitor(endpoint, sum(_HANDSHAKE_FAILED, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED))
        self._socket = context.socket(zmq.PAIR)
        self._socket.set(zmq.RCVHWM, 0)  # a full queue would block libzmq's thread
        self._socket.set(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._connections = Connections()
        self._ended: list[bytes] = []
        self._without_message = 0
        self._handshake_failed = False  # for the connection that the next event closes

    def start(self, on_ended: Callable[[list[bytes], int], object]) -> None:
        """on_ended: takes the routing ids of connections that have ended, and the number of those
        that ended after their handshake and before a whole message."""
        self._on_ended = on_ended
        self._reader = SocketReader(asyncio.get_running_loop(), self._socket, self._report_ended)

    def _report_ended(self) -> bool:
        self.receive()
        ended, self._ended = self._ended, []
        count, self._without_message = self._without_message, 0
        if ended or count:
            self._on_ended(ended, count)
        return False

    def is_alive(self, routing_id: bytes, frame: zmq.Frame) -> bool:
        """Whether the connection of a message is open. frame: the first one of the message."""
        if routing_id in self._connections:
            return True
        self.receive()
        self._reader.check_soon()  # another connection may have ended
        return self._connections.register(routing_id, int(frame.get(zmq.SRCFD)))

    def receive(self) -> None:
        """Take all pending events."""
        while True:
            try:
                event, _ = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            kind, descriptor = _EVENT.unpack(event)
            if kind == zmq.EVENT_ACCEPTED:
                self._connections.opened(descriptor)
            elif kind == zmq.EVENT_DISCONNECTED:
                ended = self._connections.closed(descriptor)
                self._ended += ended
                self._without_message += not (ended or self._handshake_failed)
            self._handshake_failed = kind in _HANDSHAKE_FAILED
