"""Floods of frames on the ipc socket, each from a process of another Unix user that reconnects when
disconnected."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes.zmtp import MORE, RawPeer, frame

UID = 65533

SOCKET = Path("rpc")
"""In the working directory: the way to it is not open to the user."""
MEGABYTE = 1024 * 1024
EMPTY_FRAMES = bytes([MORE, 0]) * 10_000

Flood = Callable[[], None]


def endless_message() -> None:
    """Frames of 8 MB of a message that never ends."""
    with RawPeer(SOCKET) as peer:
        while True:
            peer.socket.sendall(frame(bytes(8 * MEGABYTE), MORE))


def empty_frames() -> None:
    """A message of a million frames, received within 0.1 s."""
    with RawPeer(SOCKET) as peer:
        peer.socket.sendall(EMPTY_FRAMES * 100 + frame(b""))


def endless_empty_frames() -> None:
    """Connections in turn, each with a message of empty frames that never ends."""
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(SOCKET)) for _ in range(30)]
        while True:
            for peer in peers:
                peer.socket.sendall(EMPTY_FRAMES)


def messages_of_many_frames_at_once() -> None:
    """Many connections whose messages of many frames complete at the same moment, before any can be
    detected."""
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(SOCKET)) for _ in range(20)]
        for peer in peers:
            peer.socket.sendall(EMPTY_FRAMES * 5)
        for peer in peers:
            peer.socket.sendall(frame(b""))


def large_messages() -> None:
    """Complete messages of 15 MB on many connections, faster than they are refused."""
    data = frame(b"", MORE) + frame(bytes(15 * MEGABYTE))
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(SOCKET)) for _ in range(20)]
        while True:
            for peer in peers:
                peer.socket.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    peer.socket.sendall(data)


def requests_of_a_megabyte() -> None:
    """The largest requests that are decoded, on many connections, with the answers unread."""
    data = frame(b"", MORE) + frame(b'{"id": 1, "method": "ping", "x": "' + bytes([120]) * (MEGABYTE - 100) + b'"}')
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(SOCKET)) for _ in range(40)]
        while True:
            for peer in peers:
                peer.socket.sendall(data)


def slow_frames() -> None:
    """Many connections that each send a small part of an endless message at a time, so that none is
    caught sending."""
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(SOCKET)) for _ in range(100)]
        while True:
            for peer in peers:
                peer.socket.sendall(frame(bytes(100_000), MORE))
                time.sleep(0.001)


FLOODS: tuple[Flood, ...] = (
    endless_message, empty_frames, endless_empty_frames, messages_of_many_frames_at_once, large_messages, requests_of_a_megabyte,
    slow_frames,
)  # fmt: skip


@contextmanager
def flooding(run_dir: Path, *floods: Flood, uid: int = UID) -> Iterator[None]:
    """The floods at once, the first as `uid`, the next as `uid` + 1, and so on."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_repeat, args=(flood, run_dir, uid + n), daemon=True) for n, flood in enumerate(floods)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join(20)


def _repeat(flood: Flood, run_dir: Path, uid: int) -> None:
    os.chdir(run_dir)
    os.setgroups([])
    os.setgid(os.stat("rpc").st_gid)
    os.setuid(uid)
    os.nice(5)
    while True:
        with contextlib.suppress(OSError):
            flood()
        time.sleep(0.05)  # what takes a whole processor is an attack on the machine
