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

import asyncio
import contextlib
import logging
import os
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterable

from amid.process.unix_socket import SHARED, bind_unix

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
    """Controls the descriptors that were given to `add`, and those that listen after `bind`.

    The owner calls `remove` or `close` before it closes a libzmq socket, which has to find its own descriptors then.
    """

    def __init__(self, run_dir: str, counters: Counter[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._counters = counters
        self._listening: dict[int, socket.socket] = {}
        self._idle = _unreachable(f"{run_dir}/.idle-{os.getpid()}")
        self._paused = False
        self._limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = self._limit - min(MAX_RESERVE, self._limit // 2)
        self._check()

    def bind(self, bind: Callable[[], object]) -> list[int]:
        """Call `bind`, and control the sockets that it makes; their descriptors.

        They are told from others by their inodes: libzmq may be closing a socket, whose number may be given out again."""
        before = set(_listening_sockets().values())
        bind()
        descriptors = [descriptor for descriptor, inode in _listening_sockets().items() if inode not in before]
        self.add(descriptors)
        return descriptors

    def add(self, descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            listening = self._listening[descriptor] = socket.socket(fileno=os.dup(descriptor))
            listening.setblocking(False)
            if self._paused:
                self._refuse_newcomers(descriptor)

    def remove(self, descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            with self._listening[descriptor]:
                if self._paused:
                    self._accept_newcomers(descriptor)
                del self._listening[descriptor]

    def free_descriptors(self) -> int:
        """How many newcomers may have, until new connections are refused."""
        return self._most - _open_descriptors()

    def close(self) -> None:
        self._timer.cancel()
        self.remove(list(self._listening))
        self._idle.close()

    def _check(self) -> None:
        used = _open_descriptors()
        if used >= self._most:
            self._pause(used)
        elif used < self._most * RESUME_SHARE:
            self._resume()
        self._timer = self._loop.call_later(max(0.001, abs(self._most - used) / ACCEPTS_PER_S), self._check)

    def _pause(self, used: int) -> None:
        if self._paused:
            return
        log.warning("refusing new connections: %d of %d descriptors are open (LimitNOFILE in amid.service)", used, self._limit)
        for descriptor in self._listening:
            self._refuse_newcomers(descriptor)
        self._paused = True

    def _resume(self) -> None:
        if not self._paused:
            return
        for descriptor in self._listening:
            self._accept_newcomers(descriptor)
        self._paused = False
        log.warning("accepting new connections again")

    def _refuse_newcomers(self, descriptor: int) -> None:
        os.dup2(self._idle.fileno(), descriptor)
        listening = self._listening[descriptor]
        self._loop.add_reader(listening.fileno(), self._refuse, listening)

    def _accept_newcomers(self, descriptor: int) -> None:
        listening = self._listening[descriptor]
        self._loop.remove_reader(listening.fileno())
        os.dup2(listening.fileno(), descriptor)

    def _refuse(self, listening: socket.socket) -> None:
        """Close the connections that wait."""
        with contextlib.suppress(OSError):
            for _ in range(BACKLOG):
                listening.accept()[0].close()
                self._counters["refused_connections"] += 1


def listen_locally(path: str, mode: int = SHARED) -> socket.socket:
    """A socket that listens at `path`. Raises `OSError`."""
    listener = bind_unix(path, mode)
    listener.listen(BACKLOG)
    return listener


def _unreachable(path: str) -> socket.socket:
    """A listening socket without a name. It has one until it listens: the kernel wants that."""
    idle = bind_unix(path)
    os.unlink(path)
    idle.listen(1)
    return idle


def _listening_sockets() -> dict[int, str]:
    """The sockets of this process that listen, by descriptor; the kernel's name of each has its inode."""
    found = {}
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # closed meanwhile, by another thread, or as the descriptor that listed the directory
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if name.startswith("socket:") and _listens(descriptor):
                found[descriptor] = name
    return found


def _listens(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _open_descriptors() -> int:
    """proc(5): the size of the directory is their number since Linux 6.2, and 0 before."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
