"""Connections in memory: Unix sockets, which deliver at once, and TCP, whose bytes are split and
delayed but never reordered.

A connection has two `Endpoint`s. amid's processes use theirs through an asyncio `Transport` or, in
the broker's socket for callers, `sockets.Socket`; the PBX and the callers use theirs directly.
Bytes written before a process died are still delivered.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import ProcessLoop, Scheduler
from tests.simulation.transport import Transport

Address = tuple[Any, ...]


class Stream:
    """Bytes in one direction. `capacity` is that of the kernel's buffers; TCP has a `delay`."""

    def __init__(self, scheduler: Scheduler, name: str, rng: random.Random, capacity: int, delay: float | None) -> None:
        self._scheduler = scheduler
        self._name = name
        self._random = rng
        self._delay = delay
        self.capacity = capacity
        self.inbox = bytearray()
        self._flying = 0
        self._last_arrival = 0.0
        self.held_until = 0.0
        self.unread = False
        self.is_ended = self.is_reset = False
        self.on_readable: Callable[[], object] = _nothing
        self.on_room: Callable[[], object] = _nothing

    @property
    def room(self) -> int:
        return max(0, self.capacity - self._flying - len(self.inbox))

    def write(self, data: bytes) -> int:
        data = data[: self.room]
        if not data:
            raise BlockingIOError(errno.EAGAIN, "full")
        if self._delay is None:
            self._arrive(data)
            return len(data)
        self._flying += len(data)
        for piece in self._split(data):
            self._scheduler.at(self._arrival(), self._fly, piece)
        return len(data)

    def read(self, size: int) -> bytes:
        if self._delay is not None and self._random.random() < 0.1:
            size = self._random.randint(1, size)
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        self.on_room()
        return data

    def end(self, is_reset: bool) -> None:
        """The writer has closed: that is known behind all that it wrote; a reset may overtake it."""
        if self._delay is None:
            self._end(is_reset)
        else:
            self._scheduler.at(self._arrival(), self._end, is_reset)

    def _split(self, data: bytes) -> list[bytes]:
        cuts = sorted(self._random.randrange(len(data)) for _ in range(self._random.choice((0, 0, 0, 1, 2))))
        return [piece for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if (piece := data[begin:end])]

    def _arrival(self) -> float:
        assert self._delay is not None
        delay = self._delay * self._random.uniform(0.5, 1.5) + (0.2 if self._random.random() < 0.002 else 0.0)
        self._last_arrival = max(self._last_arrival, self.held_until, self._scheduler.now + delay)
        return self._last_arrival

    def _fly(self, piece: bytes) -> None:
        self._flying -= len(piece)
        if not self.is_reset:
            self._arrive(piece)

    def _arrive(self, data: bytes) -> None:
        if self.unread:
            return
        self._scheduler.decide(f"{self._name} +{len(data)}")
        self.inbox += data
        self.on_readable()

    def _end(self, is_reset: bool) -> None:
        self.is_ended, self.is_reset = True, is_reset
        self._scheduler.decide(f"{self._name} {'reset' if is_reset else 'end'}")
        self.on_readable()


class Endpoint:
    """One end. It is closed when every descriptor of it is: `dup` makes another. credentials: (uid, gid) of the peer's process."""

    def __init__(self, incoming: Stream, outgoing: Stream, is_tcp: bool, credentials: tuple[int, int]) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.credentials = credentials
        self.peer: Endpoint = self
        self._is_tcp = is_tcp
        self._descriptors = 1
        self._owner: ProcessLoop | None = None

    @property
    def is_closed(self) -> bool:
        return self._descriptors == 0

    @property
    def is_readable(self) -> bool:
        return bool(self.incoming.inbox) or self.incoming.is_ended

    def watch(self, on_event: Callable[[], object]) -> None:
        """on_event: it may be readable, or there may be room again."""
        self.incoming.on_readable = on_event
        self.outgoing.on_room = on_event

    def owned_by(self, process: ProcessLoop) -> None:
        """It is closed when the process ends."""
        self._owner = process
        process.on_exit[self.destroy] = None

    def recv(self, size: int) -> bytes:
        stream = self.incoming
        if stream.inbox:
            return stream.read(size)
        if stream.is_reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if stream.is_ended:
            return b""
        raise BlockingIOError(errno.EAGAIN, "empty")

    def send(self, data: bytes) -> int:
        if self.is_closed:
            raise OSError(errno.EBADF, "closed")
        if self.peer.is_closed and not self._is_tcp:
            raise BrokenPipeError(errno.EPIPE, "broken")
        if self.incoming.is_reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        if self.peer.is_closed and not self.incoming.is_reset:  # TCP: the peer's kernel answers with a reset
            self.peer.outgoing.end(True)
        return self.outgoing.write(data)

    def dup(self) -> None:
        self._descriptors += 1

    def close(self) -> None:
        if self._descriptors:
            self._descriptors -= 1
            if not self._descriptors:
                self._close(bool(self.incoming.inbox))

    def destroy(self, is_reset: bool = False) -> None:
        """Close every descriptor."""
        if self._descriptors:
            self._descriptors = 0
            self._close(is_reset or bool(self.incoming.inbox))

    def _close(self, is_reset: bool) -> None:
        if self._owner is not None:
            self._owner.on_exit.pop(self.destroy, None)
        self.incoming.unread = True
        self.incoming.on_readable = self.outgoing.on_room = _nothing
        self.outgoing.end(is_reset)
        self.incoming.on_room()  # a writer that waits finds that it is closed


class Network:
    """All connections. `no_route_until`: TCP connections are not made before."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.random = scheduler.generator("network")
        self.descriptors: dict[int, Any] = {}
        self.unix_capacity = self.random.choice((1024, 8192, 212_992))
        self.tcp_capacity = self.random.choice((8192, 262_144))
        self._delay = self.random.choice((0.00005, 0.0005, 0.02))
        self._listeners: dict[Address, Callable[[Endpoint], object]] = {}
        self._tcp: list[tuple[Endpoint, Endpoint]] = []
        self._count = 0
        self.no_route_until = 0.0

    def listen(self, address: Address, on_accept: Callable[[Endpoint], object]) -> None:
        self._listeners[address] = on_accept

    def unlisten(self, address: Address, on_accept: Callable[[Endpoint], object]) -> None:
        if self._listeners.get(address) == on_accept:
            del self._listeners[address]

    def connect(self, address: Address, name: str, credentials: tuple[int, int] = (0, 0)) -> Endpoint:
        """Raises `ConnectionRefusedError`."""
        on_accept = self._listeners.get(address)
        if on_accept is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no listener")
        self._count += 1
        name = f"{name}#{self._count}"
        is_tcp = address[0] == "tcp"
        there, back = self._stream(f"{name}>", is_tcp), self._stream(f"{name}<", is_tcp)
        client, server = Endpoint(back, there, is_tcp, (0, 0)), Endpoint(there, back, is_tcp, credentials)
        client.peer, server.peer = server, client
        if is_tcp:
            self._tcp = [pair for pair in self._tcp if not (pair[0].is_closed and pair[1].is_closed)] + [(client, server)]
        on_accept(server)
        return client

    def _stream(self, name: str, is_tcp: bool) -> Stream:
        capacity = self.tcp_capacity if is_tcp else self.unix_capacity
        rng = self.scheduler.generator(name)
        return Stream(self.scheduler, name, rng, capacity, self._delay if is_tcp else None)

    def stall(self, seconds: float) -> None:
        """Hold back what goes over one TCP connection, in both directions."""
        if self._tcp:
            for endpoint in self.random.choice(self._tcp):
                endpoint.outgoing.held_until = self.scheduler.now + seconds

    def new_descriptor(self, thing: Any) -> int:
        self._count += 1
        self.descriptors[self._count] = thing
        return self._count

    # ── for the loops ──

    async def connect_transport(self, loop: ProcessLoop, factory: Callable[[], Any], address: Address) -> tuple[Any, Any]:
        if address[0] == "tcp":
            arrived = loop.create_future()
            at = max(self.no_route_until, self.scheduler.now + self._delay * self.random.uniform(1, 3))
            self.scheduler.at(at, _finish, loop, arrived)
            await arrived
        endpoint = self.connect(address, loop.name)
        protocol = factory()
        return Transport(loop, endpoint, protocol), protocol

    def serve_transports(self, loop: ProcessLoop, factory: Callable[[], Any], address: Address) -> Callable[[], None]:
        """What ends it; so does the end of the process."""

        def accept(endpoint: Endpoint) -> None:
            endpoint.owned_by(loop)
            loop.call_soon(lambda: Transport(loop, endpoint, factory()))

        def close() -> None:
            self.unlisten(address, accept)

        self.listen(address, accept)
        loop.on_exit[close] = None
        return close


def _finish(loop: ProcessLoop, future: Any) -> None:
    if loop.alive and not future.done():
        future.set_result(None)


def _nothing() -> None:
    pass
