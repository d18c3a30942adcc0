"""The sockets and the epoll(7) that `amid.broker.local_callers` works with, over `net.Endpoint`."""

from __future__ import annotations

import errno
import select
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import ProcessLoop
from tests.simulation.net import Address, Endpoint, Network


class Socket:
    """A connection that was accepted."""

    def __init__(self, network: Network, endpoint: Endpoint) -> None:
        self._network = network
        self.endpoint = endpoint
        self._descriptor = network.new_descriptor(self)

    def fileno(self) -> int:
        return self._descriptor

    def setblocking(self, flag: bool) -> None:
        pass

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return struct.pack("iII", 1, *self.endpoint.credentials)

    def recv(self, size: int) -> bytes:
        return self.endpoint.recv(size)

    def sendmsg(self, chunks: list[Any]) -> int:
        return self.endpoint.send(b"".join(chunks))

    def close(self) -> None:
        del self._network.descriptors[self._descriptor]
        self.endpoint.close()

    def watch_with(self, on_event: Callable[[], object]) -> None:
        self.endpoint.watch(on_event)

    def events(self, mask: int) -> int:
        is_writable = self.endpoint.outgoing.room or self.endpoint.peer.is_closed
        return mask & ((select.EPOLLIN if self.endpoint.is_readable else 0) | (select.EPOLLOUT if is_writable else 0))


class ListeningSocket:
    """Listens for the process until it ends."""

    def __init__(self, network: Network, process: ProcessLoop, address: Address) -> None:
        self._network = network
        self._process = process
        self._waiting: deque[Endpoint] = deque()
        self._on_event: Callable[[], object] = lambda: None
        self._descriptor = network.new_descriptor(self)
        network.listen(address, self._enqueue)
        self._address = address
        process.on_exit[self.close] = None

    def _enqueue(self, endpoint: Endpoint) -> None:
        endpoint.owned_by(self._process)
        self._waiting.append(endpoint)
        self._on_event()

    def fileno(self) -> int:
        return self._descriptor

    def accept(self) -> tuple[Socket, None]:
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, "no connection waits")
        return Socket(self._network, self._waiting.popleft()), None

    def close(self) -> None:
        self._network.unlisten(self._address, self._enqueue)

    def watch_with(self, on_event: Callable[[], object]) -> None:
        self._on_event = on_event

    def events(self, mask: int) -> int:
        return mask & select.EPOLLIN if self._waiting else 0


class Epoll:
    """Level-triggered."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._masks: dict[int, int] = {}
        self._descriptor = network.new_descriptor(self)
        self._loop: ProcessLoop | None = None
        self._callback: Callable[[], object] = lambda: None
        self.closed = False

    def fileno(self) -> int:
        return self._descriptor

    def register(self, descriptor: int, mask: int) -> None:
        self._masks[descriptor] = mask
        self._network.descriptors[descriptor].watch_with(self._notify)
        self._notify()

    def modify(self, descriptor: int, mask: int) -> None:
        self._masks[descriptor] = mask
        self._notify()

    def unregister(self, descriptor: int) -> None:
        del self._masks[descriptor]

    def close(self) -> None:
        self.closed = True

    def poll(self, timeout: float, maxevents: int = -1) -> list[tuple[int, int]]:
        """Those that are returned have their next turn after all others."""
        if self.closed:
            raise ValueError("I/O operation on closed epoll object")
        if timeout:
            self._network.scheduler.wait(timeout)
        things = self._network.descriptors
        ready = [(one, events) for one, mask in self._masks.items() if (events := things[one].events(mask))]
        if 0 <= maxevents < len(ready):
            del ready[maxevents:]
            for one, _ in ready:
                self._masks[one] = self._masks.pop(one)
        return ready

    def watch(self, loop: ProcessLoop, callback: Callable[[], object]) -> None:
        """For `loop.add_reader`."""
        self._loop, self._callback = loop, callback
        self._notify()

    def _notify(self) -> None:
        if self._loop is not None and self._loop.alive:
            self._loop.wake(self)

    def on_pass(self) -> None:
        if not self.closed and self.poll(0.0):
            self._callback()
        if self._loop is not None and not self.closed and self.poll(0.0):
            self._loop.wake(self)
