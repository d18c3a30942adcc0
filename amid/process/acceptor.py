"""Accepting connections for libzmq sockets only while there are descriptors for them.

libzmq aborts its process when it cannot accept on ipc for want of a descriptor (ipc_listener.cpp:
EMFILE is none of the errors that `accept` expects). It accepts in a thread of its own, cannot be told
a limit, and unbinding would close the connections that an endpoint has. So when descriptors run short,
the descriptor that it accepts from is made to stand for another listening socket, which nobody can
reach (dup2(2)); newcomers on the real one are accepted here, and closed at once. libzmq's epoll still
has the real one, and accepts from it again when the descriptor stands for it again.

How many descriptors are open is counted as often as is needed to see the limit before it is reached,
at the highest rate at which libzmq accepts: once a second under the unit's limit, with few
connections.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import zmq

log = logging.getLogger("amid.acceptor")

ACCEPTS_PER_S = 100_000.0
"""More than libzmq accepts in a second."""
MAX_RESERVE = 4096
"""Descriptors kept free, or half of the limit if that is less: for what libzmq accepts before it is stopped, and for amid's own."""
RESUME_SHARE = 0.95
"""Of the connections at which accepting pauses, those at which it goes on."""
BACKLOG = 1024
"""Connections that the kernel holds until they are accepted; a peer that finds no room tries again only 100 ms later."""


class Acceptor:
    """Made when the process has bound its libzmq sockets, and no other socket of it listens yet.

    The owner polls `poll_items`, calls `step` in each pass of its loop, at `next_check` at the latest,
    and `resume` before it closes the libzmq sockets.
    """

    def __init__(self, run_dir: str, counters: Counter[str], now: float) -> None:
        self._counters = counters
        self._listening = {number: socket.socket(fileno=os.dup(number)) for number in _listening_descriptors()}
        for listening in self._listening.values():
            listening.setblocking(False)
        self._idle = _unreachable(f"{run_dir}/.idle-{os.getpid()}")
        self._paused = False
        self._limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = self._limit - min(MAX_RESERVE, self._limit // 2)
        self.next_check = now

    def poll_items(self) -> Iterator[tuple[int, int]]:
        for listening in self._listening.values() if self._paused else ():
            yield listening.fileno(), int(zmq.POLLIN)

    def step(self, ready: Mapping[Any, int], now: float) -> None:
        for listening in self._listening.values() if self._paused else ():
            if listening.fileno() in ready:
                self._counters["refused_connections"] += _refuse(listening)
        if now < self.next_check:
            return
        used = _open_descriptors()
        if used >= self._most:
            self._pause(used)
        elif used < self._most * RESUME_SHARE:
            self.resume()
        self.next_check = now + max(0.001, abs(self._most - used) / ACCEPTS_PER_S)

    def _pause(self, used: int) -> None:
        if self._paused:
            return
        log.warning("refusing new connections: %d of %d descriptors are open (LimitNOFILE in amid.service)", used, self._limit)
        for descriptor in self._listening:
            os.dup2(self._idle.fileno(), descriptor)
        self._paused = True

    def resume(self) -> None:
        if not self._paused:
            return
        for descriptor, listening in self._listening.items():
            os.dup2(listening.fileno(), descriptor)
        self._paused = False
        log.warning("accepting new connections again")


def _refuse(listening: socket.socket) -> int:
    """Close the connections that wait; how many."""
    refused = 0
    with contextlib.suppress(OSError):
        while refused < BACKLOG:
            listening.accept()[0].close()
            refused += 1
    return refused


def _unreachable(path: str) -> socket.socket:
    """A listening socket without a name. It has one until it listens: the kernel wants that."""
    idle = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    idle.bind(path)
    os.unlink(path)
    idle.listen(1)
    return idle


def _listening_descriptors() -> list[int]:
    return [number for number in map(int, os.listdir("/proc/self/fd")) if _listens(number)]


def _listens(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # not a socket, or the descriptor that listed the directory
        return False


def _open_descriptors() -> int:
    """proc(5): the size of the directory is their number since Linux 6.2, and 0 before."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
