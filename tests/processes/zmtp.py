"""A ZeroMQ peer on the byte level (ZMTP 3.0, RFC 23, mechanism NULL), for messages that libzmq
would not send."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from types import TracebackType

from tests.daemon import BOUND_S

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
GREETING_2 = b"\xff" + bytes(8) + b"\x7f" + b"\x01\x05" + b"\0\0"
"""ZMTP 2.0 (RFC 15), as a DEALER with an empty identity."""
MORE, LONG, COMMAND = 1, 2, 4


class RawPeer:
    """A DEALER at the ipc socket `path`. `properties` are stated in its handshake beside the socket type."""

    def __init__(self, path: Path, properties: dict[str, bytes] | None = None, greeting: bytes = GREETING) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(BOUND_S)
        try:
            self.socket.connect(str(path))
            self._shake_hands(greeting, {"Socket-Type": b"DEALER", "Identity": b"", **(properties or {})})
        except OSError:
            self.socket.close()
            raise

    def _shake_hands(self, greeting: bytes, properties: dict[str, bytes]) -> None:
        self.socket.sendall(greeting)
        self._receive_exactly(len(GREETING))
        self.socket.sendall(ready(properties))
        self.receive_frame()  # the daemon's READY

    @classmethod
    def of_user(
        cls, uid: int, run_dir: Path, gid: int = 0, name: str = "rpc", properties: dict[str, bytes] | None = None
    ) -> RawPeer:
        """A peer whose process has this uid and gid; only root can make one. The path to `run_dir` need not be open to it."""
        before = os.getcwd()
        os.chdir(run_dir)
        os.setegid(gid)
        os.seteuid(uid)
        try:
            return cls(Path(name), properties)
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.chdir(before)

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frame(data, MORE) for data in frames[:-1]) + frame(frames[-1]))

    def receive(self) -> list[bytes]:
        """The frames of one message."""
        frames, more = [], True
        while more:
            flags, data = self.receive_frame()
            frames.append(data)
            more = bool(flags & MORE)
        return frames

    def receive_frame(self) -> tuple[int, bytes]:
        (flags,) = self._receive_exactly(1)
        size = struct.unpack(">Q", self._receive_exactly(8))[0] if flags & LONG else self._receive_exactly(1)[0]
        return flags, self._receive_exactly(size)

    def _receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the daemon closed the connection")
            data += piece
        return data


def ready(properties: dict[str, bytes]) -> bytes:
    """The command that ends a handshake."""
    pairs = (bytes([len(name)]) + name.encode() + struct.pack(">I", len(value)) + value for name, value in properties.items())
    return frame(b"\x05READY" + b"".join(pairs), COMMAND)


def frame(data: bytes, flags: int = 0) -> bytes:
    if len(data) > 255:
        return bytes([flags | LONG]) + struct.pack(">Q", len(data)) + data
    return bytes([flags, len(data)]) + data
