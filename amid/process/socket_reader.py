"""Attaches a ZeroMQ socket to the event loop.

The descriptor of a ZeroMQ socket (ZMQ_FD, zmq_getsockopt(3)) becomes readable once for each change,
and both receiving and sending reset it. So after a message was received or sent, another may wait
although the descriptor is not readable. Call `check_soon` after each sent message; `receive` must
read until nothing is left, or return True to be called again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from amid.process.loop import Soon


class SocketReader:
    """Calls `receive` when a message may wait. `receive` returns whether it has left some."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: zmq.Socket[bytes], receive: Callable[[], bool]) -> None:
        self._loop = loop
        self._socket = socket
        self._receive = receive
        self._descriptor = int(socket.get(zmq.FD))
        self.check_soon = Soon(loop, self._run)
        loop.add_reader(self._descriptor, self._run)
        self.check_soon()

    def close(self) -> None:
        """Call this before the socket is closed."""
        self._loop.remove_reader(self._descriptor)

    def _run(self) -> None:
        if not self._socket.closed and self._receive():  # the pass may have been planned before the socket was closed
            self.check_soon()
