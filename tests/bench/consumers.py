"""The event consumers of the benchmarks, each in a process: `python -m tests.bench.consumers NAME
WHERE COUNT`.

Each prints `ready` when it is subscribed, receives COUNT events as maps, and prints figures as
JSON: seconds from the first to the last event, CPU seconds of the process, and for some the
percentiles of the time from amid's read to the map. WHERE is the generator's port, or an endpoint
of amid.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import msgspec
import zmq

from tests.bench.setting import percentile

Event = dict[str, Any]


class Count:
    """Counts events, and the time from the first portion to the last."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.seen = 0
        self.began = self.cpu = 0.0
        self.latencies: list[float] = []

    def take(self, events: int) -> bool:
        """Whether that is all of them."""
        if not self.seen:
            self.began, self.cpu = time.monotonic(), time.process_time()
        self.seen += events
        return self.seen >= self.wanted

    def take_timed(self, events: list[Event]) -> bool:
        """The same, and how old they are."""
        now = time.time()
        self.latencies += [now - event["time"] for event in events]
        return self.take(len(events))

    def report(self) -> None:
        figures = {"seconds": time.monotonic() - self.began, "cpu": time.process_time() - self.cpu, "events": self.seen}
        if self.latencies:
            figures |= {f"p{share}": percentile(self.latencies, share / 100) for share in (50, 99)}
        print(json.dumps(figures), flush=True)


@contextmanager
def login(port: str, events: bytes) -> Iterator[socket.socket]:
    """A session, with events or without; BENCH_USER is the user and the secret, with a colon between."""
    user, secret = os.environ.get("BENCH_USER", "amid:x").encode().split(b":")
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"Action: Login\r\nUsername: %s\r\nSecret: %s\r\nEvents: %s\r\n\r\n" % (user, secret, events))
        data = b""
        while not data.endswith(b"accepted\r\n\r\n" if events == b"off" else b"Fully Booted\r\n\r\n"):
            data += connection.recv(65536)
        yield connection


def portions(port: str) -> Iterator[bytes]:
    """What a socket that has logged in brings, from the first event on."""
    with login(port, b"on") as connection:
        print("ready", flush=True)
        while data := connection.recv(65536):
            yield data


def raw(port: str, count: Count) -> None:
    """Counts packets and parses nothing: the limit."""
    tail = b""
    for data in portions(port):
        data, tail = tail + data, data[-3:]  # an end may come in two pieces
        if count.take(data.count(b"\r\n\r\n")):
            return


def minimal(port: str, count: Count) -> None:
    """The least that gives each event as a map: one process, one loop."""
    buffer = b""
    for data in portions(port):
        *packets, buffer = (buffer + data).split(b"\r\n\r\n")
        events = []
        for packet in packets:
            event = {}
            for line in packet.decode().split("\r\n"):
                name, _, value = line.partition(": ")
                event[name] = value
            events.append(event)
        if count.take(len(events)):
            return


def panoramisk(port: str, count: Count) -> None:
    """https://pypi.org/project/panoramisk/, with one callback for all events."""
    from panoramisk import Manager

    async def listen() -> None:
        done = asyncio.Event()
        manager = Manager(host="127.0.0.1", port=int(port), username="amid", secret="x", ping_delay=3600)

        def take(manager: Any, event: Any) -> None:
            if event.event != "FullyBooted" and count.take(1):
                done.set()

        manager.register_event("*", take)
        await manager.connect()
        print("ready", flush=True)
        await done.wait()

    asyncio.run(listen())


def amid(
    endpoint: str, count: Count, topic: bytes, decode: Callable[[bytes], Any] = msgpack.unpackb, is_timed: bool = False
) -> None:
    """A SUB socket; `topic` is that of the stream, or of all events by name."""
    take = count.take_timed if is_timed else lambda events: count.take(len(events))
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.set(zmq.RCVHWM, 0)
        subscriber.subscribe(topic)
        subscriber.subscribe(b"tick.")
        subscriber.connect(endpoint)
        subscriber.recv_multipart()
        print("ready", flush=True)
        while True:
            topic, body = subscriber.recv_multipart()
            events = decode(body)
            if not topic.startswith(b"tick.") and take(events):
                return


def pull(endpoint: str, count: Count, limit: int = 1000, is_timed: bool = False) -> None:
    """A REQ socket and the method `events`: ask, take, pass the cursor back."""
    take = count.take_timed if is_timed else lambda events: count.take(len(events))
    with zmq.Context() as context, context.socket(zmq.REQ) as requester:
        requester.connect(endpoint)

        def page(after: dict[str, int] | None, timeout: float) -> Any:
            params = {"server": "pbx1", "after": after, "limit": limit, "timeout": timeout}
            requester.send(msgpack.packb({"id": 1, "method": "events", "params": params}))
            return msgpack.unpackb(requester.recv())["result"]

        got = page(None, 0)
        print("ready", flush=True)
        while True:
            got = page({"epoch": got["epoch"], "seq": got["seq"]}, 25)
            assert got["missed"] == 0, f"{got['missed']} events are missing: replay_bytes is too small for this"
            if take(got["events"]):
                return


def many(endpoint: str, count: Count) -> None:
    """BENCH_SUBSCRIBERS subscribers of the stream, which do no more than read; for ever. COUNT is nothing to them."""
    subscribers = int(os.environ["BENCH_SUBSCRIBERS"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, subscribers + 10)
        poller = zmq.Poller()
        for _ in range(subscribers):
            subscriber = context.socket(zmq.SUB)
            subscriber.subscribe(b"stream.")
            subscriber.subscribe(b"tick.")
            subscriber.connect(endpoint)
            subscriber.recv_multipart()
            poller.register(subscriber, zmq.POLLIN)
        print("ready", flush=True)
        while True:
            for subscriber, _ in poller.poll():
                subscriber.recv_multipart()


CONSUMERS: dict[str, Callable[[str, Count], None]] = {
    "raw": raw,
    "many": many,
    "minimal": minimal,
    "panoramisk": panoramisk,
    "stream": lambda where, count: amid(where, count, b"stream."),
    "stream-msgspec": lambda where, count: amid(where, count, b"stream.", msgspec.msgpack.decode),
    "events": lambda where, count: amid(where, count, b"event."),
    "stream-timed": lambda where, count: amid(where, count, b"stream.", is_timed=True),
    "pull": pull,
    "pull-single": lambda where, count: pull(where, count, limit=1),
    "pull-timed": lambda where, count: pull(where, count, is_timed=True),
}

if __name__ == "__main__":
    name, where, wanted = sys.argv[1:]
    counted = Count(int(wanted))
    CONSUMERS[name](where, counted)
    counted.report()
