"""The transports of asyncio over `net.Endpoint`: what `loop.create_connection` and its like give to a protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import ProcessLoop
    from tests.simulation.net import Endpoint

READS_PER_PASS = 4
READ_SIZE = 65536
HIGH_WATER = 65536


class SocketOfTransport:
    """What `get_extra_info("socket")` gives, and a duplicate of it."""

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self.send, self.recv = endpoint.send, endpoint.recv
        self._is_closed = False

    def dup(self) -> SocketOfTransport:
        self._endpoint.dup()
        return SocketOfTransport(self._endpoint, self._transport)

    def watch_room(self, callback: Callable[[], object] | None) -> None:
        """For `loop.add_writer` and `remove_writer`."""
        self._transport.watch_room(callback)

    def setsockopt(self, *options: Any) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        pass

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._endpoint.close()

    def __enter__(self) -> SocketOfTransport:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Transport(asyncio.Transport):
    """Reads in the passes of its loop, and writes at once what there is room for."""

    def __init__(self, loop: ProcessLoop, endpoint: Endpoint, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._endpoint = endpoint
        self._protocol = protocol
        self._buffer = bytearray()
        self._high = HIGH_WATER
        self._is_writing_paused = False
        self._on_room: Callable[[], object] | None = None
        self._is_reading = True
        self._is_closing = self._is_lost = False
        endpoint.owned_by(loop)
        endpoint.watch(lambda: loop.wake(self))
        protocol.connection_made(self)
        loop.wake(self)

    # ── what protocols call ──

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return SocketOfTransport(self._endpoint, self) if name == "socket" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._loop.wake(self)

    def write(self, data: Any) -> None:
        if self._is_closing:
            return
        self._buffer += data
        self._write()
        if len(self._buffer) > self._high and not self._is_writing_paused:
            self._is_writing_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        self._is_closing = True
        self._is_reading = False
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        self._is_closing = True
        self._lose(None)

    def watch_room(self, callback: Callable[[], object] | None) -> None:
        self._on_room = callback
        self._loop.wake(self)

    # ── what the loop calls ──

    def on_pass(self) -> None:
        if self._is_lost:
            return
        if self._buffer:
            self._write()
            if self._is_writing_paused and not self._buffer and not self._is_lost:
                self._is_writing_paused = False
                self._protocol.resume_writing()
        if self._on_room is not None and (self._endpoint.outgoing.room or self._endpoint.peer.is_closed):
            self._on_room()
        for _ in range(READS_PER_PASS):
            if self._is_reading and not self._is_lost and self._endpoint.is_readable:
                self._read()
        if self._is_reading and not self._is_lost and self._endpoint.is_readable:
            self._loop.wake(self)

    def _read(self) -> None:
        buffered = isinstance(self._protocol, asyncio.BufferedProtocol)
        buffer: bytearray = self._protocol.get_buffer(-1) if buffered else bytearray()
        try:
            data = self._endpoint.recv(len(buffer) or READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._is_reading = False
            self._protocol.eof_received()
            self.close()
        elif buffered:
            buffer[: len(data)] = data
            self._protocol.buffer_updated(len(data))
        else:
            self._protocol.data_received(data)

    def _write(self) -> None:
        try:
            while self._buffer:
                del self._buffer[: self._endpoint.send(bytes(self._buffer))]
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if self._is_closing:
            self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_closing = self._is_lost = True
            self._buffer.clear()
            self._loop.call_soon(self._lost, error)

    def _lost(self, error: Exception | None) -> None:
        self._protocol.connection_lost(error)
        self._endpoint.close()
