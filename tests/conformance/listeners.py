"""Subscribers of amid's events: a SUB socket and MessagePack, and no code of amid."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgpack
import zmq

from tests.conformance.pbx import SERVER
from tests.daemon import BOUND_S, Daemon

Event = dict[str, Any]


class Listener:
    """`kind` is `events` or `stream`; `topics` are prefixes. It is subscribed when the constructor returns.

    `messages` counts what came, ticks apart; `events` and `ticks` are in the order they came.
    """

    def __init__(self, daemon: Daemon, kind: str, *topics: str, kept: int = 1_000_000) -> None:
        self._socket = daemon.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, kept)
        self.events: list[Event] = []
        self.ticks: list[Event] = []
        self.topics: set[str] = set()
        self.messages = 0
        for topic in (*topics, f"tick.{SERVER}."):  # the tick last: when it comes, the others are in force
            self._socket.subscribe(topic)
        self._socket.connect(daemon.server(SERVER)[kind])
        self.until(lambda listener: bool(listener.ticks), "a tick")
        self.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def clear(self) -> None:
        self.events, self.ticks, self.messages = [], [], 0
        self.topics.clear()

    def until(self, fact: Callable[[Listener], object], what: str, bound: float = BOUND_S) -> None:
        """Take messages until `fact` is true of what has come."""
        end = time.monotonic() + bound
        while not fact(self):
            left = int((end - time.monotonic()) * 1000)
            assert left > 0 and self._socket.poll(left), f"not within {bound:g} s: {what}; {self._seen()}"
            self._take()

    def until_event(self, name: str, **fields: Any) -> Event:
        """The first event of this name with these headers, among those that came and those to come."""
        found: list[Event] = []
        seen = 0

        def come(_: Listener) -> bool:
            nonlocal seen
            new, seen = self.events[seen:], len(self.events)
            found.extend(event for event in new if event["event"] == name and fields.items() <= event["fields"].items())
            return bool(found)

        self.until(come, f"{name} {fields}")
        return found[0]

    def _seen(self) -> str:
        """The received events and the reader's last number, to tell lost events from missing ones."""
        numbers = [(event["epoch"], event["seq"], event["event"]) for event in self.events]
        ticked = [(tick["epoch"], tick["seq"], tick["last"]) for tick in self.ticks[-1:]]
        return f"{sorted(self.topics)}: {len(numbers)} events, from {numbers[:1]} to {numbers[-5:]}; the last tick says {ticked}"

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    def _take(self) -> None:
        topic, body = self._socket.recv_multipart()
        events = msgpack.unpackb(body)
        if topic == f"tick.{SERVER}.".encode():
            self.ticks += events
            return
        self.messages += 1
        self.topics.add(topic.decode())
        self.events += events
