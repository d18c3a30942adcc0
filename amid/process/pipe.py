"""What joins the broker and a reader: a stream socket in run_dir that carries whole messages, in order.

It is not ZeroMQ's, for two reasons. A ZeroMQ socket hands every message through a thread of its own,
and a call would pay for that four times. And the end of a stream comes behind all that was sent on it:
when a reader dies, whatever it reported before is received first, and then its end, without waiting
for silence.

A message is a MessagePack value of `amid.rpc.messages` and a payload, bytes that the pipe does not
look into; the lengths of both stand before them. What is sent in one pass of the loop leaves in one
write at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from amid.process.loop import Soon
from amid.process.unix_socket import PRIVATE, bind_unix
from amid.rpc import messages

T = TypeVar("T")

_LENGTHS = struct.Struct(">II")

READ_SIZE = 256 * 1024

LARGE = 64 * 1024
"""Bytes of a payload from which on it is written as it is, and a reader's answer goes on a pipe of its own."""

MAX_VALUE_BYTES = 2**28
"""Bytes of a value. What another program says in here, text or ZeroMQ's greeting, reads as a larger number."""

Message = tuple[T, bytes]


class Pipe(asyncio.Protocol, Generic[T]):
    """One end. `on_messages` takes what one read brought, `on_lost` the reason when the other end is gone.

    `unwritten` are the values that were not handed to the kernel: when the pipe is lost, the other end has not received them.
    on_messages may raise `ValueError`, as decoding does, for what is no message; the pipe is then closed.
    """

    def __init__(
        self,
        decode: Callable[[bytes | memoryview], T],
        on_messages: Callable[[Pipe[T], list[Message[T]]], None],
        on_lost: Callable[[Pipe[T], Exception | None], None],
    ) -> None:
        self._decode = decode
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._in = bytearray()
        self._out: list[bytes] = []
        self.unwritten: list[Any] = []
        self._paused = False
        self._resumed = asyncio.Event()
        self._flush_soon = Soon(asyncio.get_running_loop(), self._flush)
        self._transport: asyncio.Transport | None = None

    # ── asyncio's side ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)  # so that what is not written yet is still here
        self._duplicate: socket.socket = transport.get_extra_info("socket").dup()
        self._duplicate.setblocking(False)
        self._flush_soon()

    def data_received(self, data: bytes) -> None:
        self._in += data
        try:
            received = list(self._messages())
            if received:
                self._on_messages(self, received)
        except Exception as error:  # one peer with a fault, or a stranger in here, must not end everybody's calls
            self._fail(error)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()
        self._resumed.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._resumed.set()
        with contextlib.suppress(OSError, ValueError), self._duplicate:
            while data := self._duplicate.recv(READ_SIZE):  # what came before a write failed
                self._in += data
        received = []
        with contextlib.suppress(ValueError):
            received = list(self._messages())
        if received:
            self._on_messages(self, received)
        self._on_lost(self, error)

    # ── the owner's side ──

    @property
    def writing(self) -> bool:
        """Whether anything that was sent has not left yet."""
        return bool(self._out) or self._paused

    def send(self, value: Any, payload: bytes = b"") -> None:
        packed = messages.encode(value)
        self._out.append(_LENGTHS.pack(len(packed), len(payload)) + packed)
        if payload:
            self._out.append(payload)
        self.unwritten.append(value)
        self._flush_soon()

    async def finish(self) -> None:
        """Write what waits, and close."""
        while self.writing and self._transport is not None:
            self._resumed.clear()
            await self._resumed.wait()
        if self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """No more is sent or received, and `on_lost` is not called."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
            self._resumed.set()
            self._duplicate.close()

    def _fail(self, error: Exception) -> None:
        self.close()
        self._on_lost(self, error)

    def _flush(self) -> None:
        if self._paused or self._transport is None or not self._out:
            return
        out, self._out = self._out, []
        small: list[bytes] = []
        for part in out:
            if len(part) < LARGE:
                small.append(part)
                continue
            self._write(b"".join(small))
            self._write(part)  # as it is: to copy it would hold up everybody
            small = []
        self._write(b"".join(small))
        self._resumed.set()

    def _write(self, data: bytes) -> None:
        """To the kernel at once, since the transport does not tell whether anything has left when the other end is gone."""
        assert self._transport is not None
        sent = 0
        if not self._transport.get_write_buffer_size():
            try:
                sent = self._duplicate.send(data)
            except BlockingIOError:
                pass
            except OSError:  # the other end is gone, which the transport finds when it reads
                return
        self.unwritten.clear()
        if sent < len(data):
            self._transport.write(memoryview(data)[sent:])

    def _messages(self) -> Iterator[Message[T]]:
        """Take the messages that are whole. Raises `ValueError` when what came is no message."""
        start, end = 0, len(self._in)
        with memoryview(self._in) as view:
            while end - start >= _LENGTHS.size:
                value_size, payload_size = _LENGTHS.unpack_from(view, start)
                if value_size > MAX_VALUE_BYTES:
                    raise ValueError("what came is no message of a pipe")
                at = start + _LENGTHS.size
                if end - at < value_size + payload_size:
                    break
                start = at + value_size + payload_size
                yield self._decode(view[at : at + value_size]), bytes(view[at + value_size : start])
        del self._in[:start]


def listen(path: str) -> socket.socket:
    """Where pipes are connected to: for the daemon's own user alone, since what a peer sends there is trusted."""
    return bind_unix(path, PRIVATE)
