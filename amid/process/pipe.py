"""The connection between the broker and a reader: a stream socket in run_dir that carries whole
messages, in order.

Not ZeroMQ, for two reasons. A ZeroMQ socket passes every message through its own thread, and a call
would pay for that four times. And on a stream, the end of the connection arrives after all data:
when a reader dies, everything that it reported is received first, and its end right after, without
waiting for silence.

A message is a MessagePack value of `amid.rpc.messages` and a payload of bytes that the pipe does
not decode; the lengths of both come first. A few messages of one pass of the loop leave in one write
at its end. A large payload leaves in pieces, a few in each pass, and other messages overtake it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from amid.process.loop import Soon
from amid.process.unix_socket import peer_credentials
from amid.rpc import messages

T = TypeVar("T")

_LENGTHS = struct.Struct(">II")

PIECE_BYTES = 64 * 1024
"""A larger payload leaves in pieces of this size."""

PIECES_PER_PASS = 4
"""With one, a reader that parses long lists, at 1 MiB in a pass, would receive more than it sends."""

MAX_BACKLOG_BYTES = 32 * 1024 * 1024
"""Large payloads that wait. Beyond it, an owner that makes them on request should pause: one caller
may request thousands, and the broker limits only what it has received."""

_LAST = 2**31
"""Added to the length of a value: the pieces before are the beginning of its payload. A piece has no
value. Pieces of two payloads are never mixed."""

MESSAGES_PER_WRITE = 8
"""With more, the other end would have nothing to do while this one still makes them."""

MAX_VALUE_BYTES = 2**28
"""Limit of a value. Text or ZeroMQ's greeting, sent here by mistake, reads as a larger number."""

Message = tuple[T, bytes]


class Pipe(asyncio.Protocol, Generic[T]):
    """One end of a pipe. on_messages: takes the messages of one read. on_lost: takes the reason
    when the other end has closed. on_room: called when a large payload has left and there is no
    backlog.

    backlog_bytes: the size of the large payloads that wait. unwritten: the values that were not
    handed to the kernel. When the pipe is lost, the other end has not received them. Both decoding
    and on_messages may raise `ValueError` for invalid data; the pipe is then closed.
    """

    def __init__(
        self,
        decode: Callable[[bytes | memoryview], T],
        on_messages: Callable[[Pipe[T], list[Message[T]]], None],
        on_lost: Callable[[Pipe[T], Exception | None], None],
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self._decode = decode
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._on_room = on_room
        self._in = bytearray()
        self._pieces: list[bytes] = []
        self._out: list[bytes] = []
        self._large: deque[tuple[Any, memoryview]] = deque()
        self.backlog_bytes = 0
        self.unwritten: list[Any] = []
        self._rest = memoryview(b"")
        """Of what was written last, without room in the kernel."""
        self._resumed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._flush_soon = Soon(self._loop, self._flush)
        self._transport: asyncio.Transport | None = None

    # ── asyncio's side ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport only reads. It would not tell which data has left, and when a write fails, it
        would drop the data that has arrived."""
        self._transport = cast(asyncio.Transport, transport)
        self._socket: socket.socket = transport.get_extra_info("socket").dup()
        self._socket.setblocking(False)
        self._flush_soon()

    def data_received(self, data: bytes) -> None:
        self._in += data
        try:
            received = list(self._messages())
            if received:
                self._on_messages(self, received)
        except Exception as error:  # a faulty or foreign peer must not end the calls of others
            self._lose(error)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self.close()
        self._on_lost(self, error)

    # ── the owner's side ──

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self._transport is not None

    @property
    def peer_pid(self) -> int:
        """Of the process at the other end."""
        return peer_credentials(self._socket)[0]

    @property
    def writing(self) -> bool:
        """Whether sent data has not left yet."""
        return bool(self._out or self._large or self._rest)

    @property
    def is_backlogged(self) -> bool:
        """Whether too many large payloads wait."""
        return self.backlog_bytes > MAX_BACKLOG_BYTES

    def send(self, value: Any, payload: bytes = b"") -> None:
        """Send a message, at the latest at the end of this pass of the loop, or in pieces from then on."""
        if len(payload) > PIECE_BYTES:
            self._large.append((value, memoryview(payload)))
            self.backlog_bytes += len(payload)
            self._flush_soon()
            return
        packed = messages.encode(value)
        self._out.append(_LENGTHS.pack(len(packed), len(payload)) + packed)
        if payload:
            self._out.append(payload)
        self.unwritten.append(value)
        if len(self.unwritten) < MESSAGES_PER_WRITE:
            self._flush_soon()
        else:
            self._flush()

    async def finish(self) -> None:
        """Write the remaining data, and close."""
        while self.writing and self._transport is not None:
            self._resumed.clear()
            await self._resumed.wait()
        self.close()

    def close(self) -> None:
        """Close at once, without `on_lost`."""
        if self._transport is not None:
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._transport.abort()
            self._transport = None
            self._resumed.set()

    def _flush(self) -> None:
        if self._rest or self._transport is None:
            return
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            if self._write(data):
                self.unwritten.clear()
        for _ in range(PIECES_PER_PASS):
            if self._large and not self._rest:
                self._write(self._next_piece())
        if self._large:
            self._flush_soon()
        self._resumed.set()

    def _next_piece(self) -> bytes:
        value, payload = self._large.popleft()
        self.backlog_bytes -= min(len(payload), PIECE_BYTES)
        if len(payload) > PIECE_BYTES:
            self._large.appendleft((value, payload[PIECE_BYTES:]))
            return _LENGTHS.pack(0, PIECE_BYTES) + payload[:PIECE_BYTES]
        packed = messages.encode(value)
        if not self.is_backlogged:
            self._on_room()
        return _LENGTHS.pack(len(packed) + _LAST, len(payload)) + packed + payload

    def _write(self, data: bytes | memoryview) -> bool:
        """Write to the kernel, the rest when it has room; False if the other end has closed."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the other end has closed, which the transport detects when it reads
            return False
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            self._loop.add_writer(self._socket, self._write_rest)
        return True

    def _write_rest(self) -> None:
        rest, self._rest = self._rest, memoryview(b"")
        self._loop.remove_writer(self._socket)
        self._write(rest)
        self._flush()

    def _messages(self) -> Iterator[Message[T]]:
        """Take the complete messages. Raises `ValueError` for invalid data."""
        start, end = 0, len(self._in)
        with memoryview(self._in) as view:
            while end - start >= _LENGTHS.size:
                value_size, payload_size = _LENGTHS.unpack_from(view, start)
                is_last, value_size = divmod(value_size, _LAST)
                if value_size > MAX_VALUE_BYTES or (not value_size and payload_size != PIECE_BYTES):
                    raise ValueError("the data is not a message of this pipe")
                at = start + _LENGTHS.size
                if end - at < value_size + payload_size:
                    break
                start = at + value_size + payload_size
                payload = bytes(view[at + value_size : start])
                if not value_size:
                    self._pieces.append(payload)
                    continue
                if is_last:
                    payload = b"".join((*self._pieces, payload))
                    self._pieces.clear()
                yield self._decode(view[at : at + value_size]), payload
        del self._in[:start]
