"""What joins the broker and the readers: a stream socket in run_dir that carries whole messages, at once and in order.

It is not ZeroMQ's, for two reasons. A ZeroMQ socket hands every message through a thread of its own, and a call would pay for
that four times. And the end of a stream comes behind all that was said on it: when a reader dies, whatever it told before is heard
first, and then its end, without waiting for silence.

A message is a MessagePack value and a payload, bytes that the pipe does not look into; the lengths of both stand before them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

from amid import wire

_LENGTHS = struct.Struct(">II")

READ_SIZE = 256 * 1024
"""Bytes taken in one read, which bounds one pass of a loop: a large answer comes in many, and others between them."""

LARGE = 64 * 1024
"""Bytes of a payload from which on it is sent as it is, and a reader's answer on a pipe of its own."""

MOST = 2**28
"""Bytes of a value. What somebody else says in here, text or ZeroMQ's greeting, reads as a larger number."""

IN, OUT = int(zmq.POLLIN), int(zmq.POLLOUT)

Message = tuple[Any, bytes]


class Pipe:
    """One end. The owner polls `poll_item`, calls `receive` when it is readable, and `flush` once in each pass; when one of them
    raises, it calls `close`. `unheard` are the values of which no byte has left: when a flush fails, nobody heard them."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._in = bytearray()
        self._out: deque[memoryview] = deque()
        self.unheard: list[Any] = []

    def poll_item(self) -> tuple[int, int]:
        return self._socket.fileno(), IN | OUT if self.waiting else IN

    @property
    def waiting(self) -> bool:
        """Whether anything that was said has not left yet."""
        return bool(self._out)

    def say(self, value: Any, payload: bytes = b"") -> None:
        """Send a message, at once if the other end takes it; what it does not take, or what cannot be sent, is left for `flush`."""
        packed = wire.pack(value)
        head = b"".join((_LENGTHS.pack(len(packed), len(payload)), packed, payload if len(payload) < LARGE else b""))
        sent = 0
        if not self._out:
            with contextlib.suppress(OSError):
                sent = self._socket.send(head)
        if not sent:
            self.unheard.append(value)
        if sent < len(head):
            self._out.append(memoryview(head)[sent:])
        if len(payload) >= LARGE:  # as it is: to copy it would hold up everybody
            self._out.append(memoryview(payload))

    def flush(self) -> None:
        """Write what the other end takes now. Raises `OSError` when it has gone."""
        while self._out:
            try:
                sent = self._socket.send(self._out[0])
            except BlockingIOError:
                return
            self.unheard.clear()
            if sent < len(self._out[0]):
                self._out[0] = self._out[0][sent:]
                return
            self._out.popleft()

    def receive(self) -> list[Message]:
        """Read once: the messages that are whole now. Raises `OSError`, `EOFError` at the end of the stream, and `ValueError` when
        what comes is no message."""
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError("the other end was closed")
        self._in += data
        return list(self._messages())

    def close(self) -> None:
        self._socket.close()

    def _messages(self) -> Iterator[Message]:
        start, end = 0, len(self._in)
        with memoryview(self._in) as view:
            while end - start >= _LENGTHS.size:
                value_size, payload_size = _LENGTHS.unpack_from(view, start)
                if value_size > MOST:
                    raise ValueError("what came is no message of a pipe")
                at = start + _LENGTHS.size
                if end - at < value_size + payload_size:
                    break
                start = at + value_size + payload_size
                yield wire.unpack(bytes(view[at : at + value_size])), bytes(view[at + value_size : start])
        del self._in[:start]


def connect(path: str) -> Pipe | None:
    """The pipe to whoever listens at `path`; None when nobody does."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        end.connect(path)
    except OSError:
        end.close()
        return None
    return Pipe(end)


def listen(path: str) -> socket.socket:
    """Where pipes are connected to: a socket file for the daemon's own user alone, since whoever speaks there is believed."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listening.bind(path)
    os.chmod(path, 0o600)  # nobody can connect before `listen`
    listening.listen()
    return listening
