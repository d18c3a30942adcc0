"""One end of a ZeroMQ connection without encryption: bytes in, messages out.

ZMTP 3.1 (RFC 37) with the mechanism NULL. Not libzmq, because libzmq shows no frame of a message
before the last one has arrived, limits neither their number nor their sum, and cannot abandon a
message. A caller could fill the memory with an endless message, or delay all others behind millions
of frames. Banning callers by the growth of the process failed, since nothing shows which connection
it grew for. Here each limit applies as the bytes arrive, and a peer that exceeds it is
disconnected. For a caller of amid's own, libzmq's thread costs as much as everything else that the
caller does for a call.
"""

from __future__ import annotations

import struct

MAX_COMMAND_BYTES = 1024
MAX_TO_SEND_BYTES = 64 * 1024
"""Replies to heartbeats that wait for a peer that does not read."""

_MORE, _LONG, _COMMAND = 1, 2, 4
_SIGNATURE_BYTES, _GREETING_BYTES = 10, 64
_LENGTH = struct.Struct(">Q")
_SHORT, _LONG_HEAD = struct.Struct("BB"), struct.Struct(">BQ")
"""Flags and size of a frame."""
_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY = b"\x05READY" + b"\x0bSocket-Type\0\0\0\x06%b" + b"\x08Identity\0\0\0\0"
_PEERS = {b"ROUTER": (b"DEALER", b"REQ", b"ROUTER"), b"DEALER": (b"ROUTER",)}
"""A type of socket -> the types that may connect to it."""


class Refused(Exception):
    """The peer breaks the protocol or a limit; the message says which. Close its connection."""


class ZmtpProtocol:
    """The owner sends `to_send`, feeds what it receives, and takes messages until there is none.

    socket_type: ROUTER or DEALER. identity: the routing id that the peer states; None before its
    handshake has ended.
    """

    def __init__(self, max_bytes: int, max_frames: int, socket_type: bytes = b"ROUTER") -> None:
        self._socket_type = socket_type
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._input = bytearray()
        self._position = 0
        self._greeted = False
        self._frames: list[bytes] = []
        self._frames_bytes = 0
        self.to_send = bytearray(_GREETING)
        self.identity: bytes | None = None

    @property
    def has_input(self) -> bool:
        """Whether bytes after the last message are buffered."""
        return len(self._input) > self._position

    @property
    def held_bytes(self) -> int:
        """Bytes of messages that are incomplete, or not taken yet."""
        return len(self._input) - self._position + self._frames_bytes

    def feed(self, data: bytes) -> None:
        """Take received bytes; `next_message` returns what they completed."""
        self._input += data

    def next_message(self) -> list[bytes] | None:
        """The frames of the next complete message, or None; [] after one command, so that many of
        them do not delay other connections. Raises `Refused`."""
        if not self._greeted and not self._take_greeting():
            return None
        while (frame := self._next_frame()) is not None:
            flags, body = frame
            if flags & _COMMAND:
                self._handle_command(body)
                return []
            self._frames.append(body)
            self._frames_bytes += len(body)
            if not flags & _MORE:
                message, self._frames, self._frames_bytes = self._frames, [], 0
                return message
            if len(self._frames) == self._max_frames:
                raise Refused(f"it sent a message of over {self._max_frames} frames")
        self._drop_taken()
        return None

    def _take_greeting(self) -> bool:
        if (self._input and self._input[0] != 0xFF) or (len(self._input) >= _SIGNATURE_BYTES and not self._input[9] & 1):
            raise Refused("it speaks ZMTP 1, or no ZMTP at all")
        if len(self._input) > _SIGNATURE_BYTES and self._input[10] < 3:
            raise Refused("it speaks ZMTP 2; 3 is needed (libzmq 4)")
        if len(self._input) < _GREETING_BYTES:
            return False
        if self._input[12:32].rstrip(b"\0") != b"NULL":
            raise Refused("a local socket has no encryption: connect without keys")
        del self._input[:_GREETING_BYTES]
        self._greeted = True
        self.to_send += encode_frames([_READY % self._socket_type], _COMMAND)
        return True

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Flags and body of the next complete frame, or None."""
        data, start = self._input, self._position
        if len(data) < start + 2:
            return None
        flags = data[start]
        if flags & ~(_MORE | _LONG | _COMMAND):
            raise Refused("it sent a frame with unknown flags")
        if self.identity is None and not flags & _COMMAND:
            raise Refused("it sent a message before its handshake had ended")
        begin, size = start + 2, data[start + 1]
        if flags & _LONG:
            begin = start + 1 + _LENGTH.size
            if len(data) < begin:
                return None
            (size,) = _LENGTH.unpack_from(data, start + 1)
        limit = MAX_COMMAND_BYTES if flags & _COMMAND else self._max_bytes - self._frames_bytes
        if size > limit:
            what = f"command of over {MAX_COMMAND_BYTES}" if flags & _COMMAND else f"message of over {self._max_bytes:,}"
            raise Refused(f"it sent a {what} bytes")
        if len(data) < begin + size:
            return None
        self._position = begin + size
        body = bytes(memoryview(data)[begin : begin + size])
        if self._position == len(data):
            self._drop_taken()  # else a large message would stay until the peer sends again
        return flags, body

    def _drop_taken(self) -> None:
        del self._input[: self._position]
        self._position = 0

    def _handle_command(self, body: bytes) -> None:
        name, rest = body[1 : 1 + body[0]] if body else b"", body[1 + body[0] :] if body else b""
        if self.identity is None:
            properties = _properties(rest) if name == b"READY" else {}
            if properties.get(b"socket-type") not in _PEERS[self._socket_type]:
                raise Refused(f"its socket is none of {', '.join(one.decode() for one in _PEERS[self._socket_type])}")
            self.identity = properties.get(b"identity", b"")
        elif name == b"PING" and len(self.to_send) < MAX_TO_SEND_BYTES:
            self.to_send += encode_frames([b"\x04PONG" + rest[2:18]], _COMMAND)
        elif name == b"ERROR":
            raise Refused("it reported an error")


def _properties(data: bytes) -> dict[bytes, bytes]:
    """The metadata of a READY command, by name in lower case. Raises `Refused`."""
    found, position = {}, 0
    while position < len(data):
        begin = position + 1 + data[position]
        if len(data) < begin + 4:
            raise Refused("its handshake has a property without a value")
        (size,) = struct.unpack_from(">I", data, begin)
        found[data[position + 1 : begin].lower()] = data[begin + 4 : begin + 4 + size]
        position = begin + 4 + size
    return found


def encode_frames(frames: list[bytes], flags: int = 0) -> bytes:
    """The bytes of one message, or of one command."""
    parts: list[bytes] = []
    for body in frames[:-1]:
        parts += (_head(flags | _MORE, len(body)), body)
    return b"".join((*parts, _head(flags, len(frames[-1])), frames[-1]))


def _head(flags: int, size: int) -> bytes:
    return _SHORT.pack(flags, size) if size < 256 else _LONG_HEAD.pack(flags | _LONG, size)
