"""Accepts connections for libzmq sockets only while descriptors are free.

libzmq aborts its process if it cannot accept on ipc for lack of a descriptor (ipc_listener.cpp:
`accept` expects other errors than EMFILE). It accepts in its own thread and has no limit, and
unbinding would close the endpoint's connections. So when descriptors run short, an unreachable
listening socket is put in place of the descriptor that libzmq accepts from (dup2(2)). New
connections on the real socket are accepted here and closed at once. libzmq's epoll still has the
real socket, and accepts from it again when the descriptor is restored.

Open descriptors are counted often enough to see the limit before it is reached, at the highest rate
at which libzmq accepts: once a second under the unit's limit with few connections. Half of the
descriptors are kept free, because libzmq's thread goes on while this one waits for a CPU: it has
accepted 50,000 connections a second. 4,096 free ones were used up in 0.1 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import stat
from collections import Counter
from collections.abc import Iterable

from amid.process.unix_socket import SHARED, bind_unix

log = logging.getLogger("amid.acceptor")

ACCEPTS_PER_S = 100_000.0
"""More than libzmq can accept."""
RESUME_SHARE = 0.95
"""Accepting resumes at this share of the descriptors at which it stops."""
BACKLOG = 1024
"""Connections that the kernel queues until they are accepted. A peer without a place
in the queue tries again only after 100 ms."""


class Acceptor:
    """Controls the descriptors given to `add`, and those at endpoints given to `add_at`.

    The owner calls `remove` or `close` before it closes a libzmq socket, to restore the socket's
    own descriptors.
    """

    def __init__(self, run_dir: str, counters: Counter[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._counters = counters
        self._listening: dict[int, socket.socket] = {}
        self._idle = _unreachable(f"{run_dir}/.idle-{os.getpid()}")
        self._paused = False
        self._limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = self._limit // 2
        self._check()

    def add_at(self, endpoint: str) -> list[int]:
        """Control and return the descriptor that listens at this TCP endpoint. libzmq does not tell it.

        With 10,000 connections the search takes 0.2 s.
        """
        descriptors = _listening_at(endpoint)
        self.add(descriptors)
        return descriptors

    def add(self, descriptors: Iterable[int]) -> None:
        """Control these listening descriptors too."""
        for descriptor in descriptors:
            listening = self._listening[descriptor] = socket.socket(fileno=os.dup(descriptor))
            listening.setblocking(False)
            if self._paused:
                self._refuse_newcomers(descriptor)

    def remove(self, descriptors: Iterable[int]) -> None:
        """Restore these descriptors and stop controlling them."""
        for descriptor in descriptors:
            with self._listening[descriptor]:
                if self._paused:
                    self._accept_newcomers(descriptor)
                del self._listening[descriptor]

    def free_descriptors(self) -> int:
        """New descriptors until new connections are refused."""
        return self._most - _open_descriptors()

    def close(self) -> None:
        self._timer.cancel()
        self.remove(list(self._listening))
        self._idle.close()

    def _check(self) -> None:
        used = _open_descriptors()
        if used >= self._most and not self._paused:
            self._pause(used)
        elif used < self._most * RESUME_SHARE and self._paused:
            self._resume()
        self._timer = self._loop.call_later(max(0.001, abs(self._most - used) / ACCEPTS_PER_S), self._check)

    def _pause(self, used: int) -> None:
        log.warning("refusing new connections: %d of %d descriptors are open (LimitNOFILE in amid.service)", used, self._limit)
        for descriptor in self._listening:
            self._refuse_newcomers(descriptor)
        self._paused = True

    def _resume(self) -> None:
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
        """Close the waiting connections."""
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
    """A listening socket that accepts no connection.

    The kernel requires a path for it, which is removed before it listens.
    """
    idle = bind_unix(path)
    os.unlink(path)
    idle.listen(1)
    return idle


def _listening_at(endpoint: str) -> list[int]:
    """The descriptors of this process that listen at `tcp://ADDRESS:PORT`: one, as any other has been
    closed."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    address = host.strip("[]"), int(port)
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # closed by another thread, or the descriptor that listed the directory
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.fromfd(descriptor, socket.AF_INET6, socket.SOCK_STREAM) as one:  # the largest addresses: any fits
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and one.getsockname()[:2] == address:
                    found.append(descriptor)
    return found


def _open_descriptors() -> int:
    """The size of the directory is their number since Linux 6.2, and 0 before (proc(5))."""
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
