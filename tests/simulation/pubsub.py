"""The event sockets without libzmq: `amid.reader.event_socket` as a reader and its subscribers see
it.

As with libzmq, a subscription is in effect before the reader has read it, a slow subscriber loses
events over its queue, and waiting messages are lost with the reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from amid.process.unix_socket import SHARED
from tests.simulation.loop import ProcessLoop, Scheduler

RECONNECT_S = 0.1
KEPT = (10, 100, 10_000)


class Link:
    """One subscriber's connection to one socket. `on_message` takes what comes while it reads."""

    def __init__(self, scheduler: Scheduler, name: str, topics: list[bytes], on_message: Callable[[list[bytes]], object]) -> None:
        self._scheduler = scheduler
        self._random = scheduler.generator(f"link {name}")
        self._name = name
        self._topics = topics
        self._on_message = on_message
        self._queue: deque[list[bytes]] = deque()
        self._last = 0.0
        self._epoch = 0
        self.is_reading = True
        self.in_effect: list[bytes] = []

    def connect(self, hub: Hub, path: str) -> None:
        """Connect when the socket exists, and subscribe."""
        socket = hub.sockets.get(path)
        if socket is None:
            self._scheduler.after(RECONNECT_S * self._random.uniform(1, 2), self.connect, hub, path)
            return
        self._epoch += 1
        self.in_effect = []
        self._queue.clear()
        socket.links.append(self)
        socket.on_lost[self] = lambda: self._scheduler.after(RECONNECT_S * self._random.uniform(1, 2), self.connect, hub, path)
        for number, topic in enumerate(self._topics):
            self._scheduler.after(0.001 * self._random.random() + 0.001 * number, self._subscribe, socket, topic, self._epoch)

    def _subscribe(self, socket: EventSocket, topic: bytes, epoch: int) -> None:
        if epoch == self._epoch and not socket.is_closed:
            self.in_effect.append(topic)
            socket.asked(topic)

    def wants(self, topic: bytes) -> bool:
        return any(map(topic.startswith, self.in_effect))

    def put(self, frames: list[bytes], kept: int) -> None:
        if len(self._queue) >= kept:
            self._scheduler.decide(f"{self._name} loses a message")
            return
        self._queue.append(frames)
        self._last = max(self._last, self._scheduler.now + self._random.random() * 0.001)
        self._scheduler.at(self._last, self._deliver, self._epoch)

    def read(self, is_reading: bool) -> None:
        """Go on reading, or stop."""
        self.is_reading = is_reading
        while self.is_reading and self._queue:
            self._on_message(self._queue.popleft())

    def lose(self) -> None:
        """The reader has ended: some of what waits has left already."""
        self._epoch += 1
        kept = self._random.randint(0, len(self._queue))
        while len(self._queue) > kept:
            self._queue.pop()
        if self.is_reading:
            self.read(True)

    def _deliver(self, epoch: int) -> None:
        if epoch == self._epoch and self.is_reading and self._queue:
            self._on_message(self._queue.popleft())


class EventSocket:
    """In the place of `amid.reader.event_socket.EventSocket`."""

    def __init__(self, hub: Hub, process: ProcessLoop, path: str, kept: int, on_subscribe: Callable[[list[bytes]], object]) -> None:
        self._hub = hub
        self._process = process
        self._path = path
        self._kept = kept
        self._on_subscribe = on_subscribe
        self._prefixes: set[bytes] = set()
        self._unread: list[bytes] = []
        self.links: list[Link] = []
        self.on_lost: dict[Link, Callable[[], object]] = {}
        self.is_closed = False
        self.disconnected = self.reopened = 0
        hub.sockets[path] = self
        process.on_exit[self.close] = None

    def asked(self, topic: bytes) -> None:
        """A subscription has arrived."""
        self._unread.append(topic)
        self._process.wake(self)

    def on_pass(self) -> None:
        self.receive()

    def receive(self) -> bool:
        asked, self._unread = self._unread, []
        self._prefixes.update(asked)
        if asked:
            self._on_subscribe(asked)
        return False

    @property
    def has_subscribers(self) -> bool:
        return bool(self._prefixes)

    def want(self, topic: bytes) -> bool:
        return any(map(topic.startswith, self._prefixes))

    def send(self, topic: bytes, body: bytes) -> None:
        for link in self.links:
            if link.wants(topic):
                link.put([topic, body], self._kept)

    def halve_counts(self) -> None:
        pass

    def listen(self, *arguments: Any) -> None:
        pass

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._process.on_exit.pop(self.close, None)
        if self._hub.sockets.get(self._path) is self:
            del self._hub.sockets[self._path]
        for link in self.links:
            link.lose()
            self.on_lost[link]()


class Hub:
    """The event sockets of all readers, by path. `kept`: messages that wait for a slow subscriber."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.sockets: dict[str, EventSocket] = {}
        self.kept = scheduler.generator("hub").choice(KEPT)


class EventSockets:
    """In the place of `amid.reader.event_socket.EventSockets`."""

    def __init__(self, hub: Hub, process: ProcessLoop, run_dir: str) -> None:
        self._hub = hub
        self._process = process
        self._run_dir = run_dir

    def open(self, name: str, kept: int, on_subscribe: Callable[[list[bytes]], object], mode: int = SHARED) -> EventSocket:
        return EventSocket(self._hub, self._process, f"{self._run_dir}/{name}", self._hub.kept, on_subscribe)

    def close(self) -> None:
        pass
