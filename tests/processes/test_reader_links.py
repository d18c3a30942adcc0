"""The broker's ends of the pipes: a reader is identified by its hello, and strangers affect no reader."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amid.broker.reader_links import AnyHello, ReaderLinks, ReaderPipe
from amid.process.pipe import Message
from amid.rpc import messages
from amid.rpc.messages import Capacity, Done, FromReader, Hello, Returned, WantLanes
from tests.processes.on_loop import Loop


class Broker:
    """What hears of the readers."""

    def __init__(self, loop: Loop, path: str) -> None:
        self.received: list[tuple[ReaderPipe, AnyHello, FromReader]] = []
        self.lost: list[ReaderPipe] = []
        self.counters: Counter[str] = Counter()
        self._path = path

        async def listen() -> ReaderLinks:
            links = ReaderLinks(self.receive, lambda pipe, _: self.lost.append(pipe), self.counters)
            await links.listen(path)
            return links

        self.links = loop.run(listen())

    def receive(self, pipe: ReaderPipe, hello: AnyHello, received: list[Message[FromReader]]) -> None:
        self.received += [(pipe, hello, message) for message, _ in received if not isinstance(message, Hello)]

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.setblocking(False)
        return connection


@pytest.fixture
def broker(loop: Loop, tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(loop, str(tmp_path / "readers"))
    yield broker
    broker.links.close()
    for task in asyncio.all_tasks(loop.loop):
        task.cancel()


def encoded(value: Any, payload: bytes = b"") -> bytes:
    packed = messages.encode(value)
    return len(packed).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + packed + payload


HELLO = Hello("pbx1", 1)


def test_messages_after_a_hello_belong_to_its_reader(loop: Loop, broker: Broker) -> None:
    with broker.connect() as reader:
        reader.send(encoded(HELLO) + encoded(Capacity(1, 0, 0, 0)))
        loop.eventually(lambda: broker.received, "it is received")
        [(pipe, hello, message)] = broker.received
        assert hello == HELLO and message == Capacity(1, 0, 0, 0)
        pipe.send(WantLanes(1, False))
        loop.turn()
        assert reader.recv(1000) == encoded(WantLanes(1, False))
    loop.eventually(lambda: broker.lost == [pipe], "its end is seen")


def test_a_hello_may_arrive_byte_by_byte(loop: Loop, broker: Broker) -> None:
    with broker.connect() as reader:
        for byte in encoded(HELLO) + encoded(Returned(7)):
            reader.send(bytes([byte]))
            loop.turn(6)
        loop.eventually(lambda: broker.received or broker.counters, "it is received")
        assert [message for *_, message in broker.received] == [Returned(7)]
        assert not broker.counters


def test_garbage_collection_does_not_close_sockets(loop: Loop, broker: Broker) -> None:
    gc.collect()
    with broker.connect() as reader:
        loop.turn()
        gc.collect()
        reader.send(encoded(HELLO) + encoded(Returned(7)))
        loop.eventually(lambda: broker.received, "it is received")


def test_a_reader_is_lost_after_all_its_messages(loop: Loop, broker: Broker) -> None:
    reader = broker.connect()
    reader.send(encoded(HELLO) + encoded(Returned(1)))
    reader.send(encoded(Done(2), b"x" * 10))
    reader.close()
    loop.eventually(lambda: broker.lost, "its end is seen")
    assert [message for *_, message in broker.received] == [Returned(1), Done(2)]
    assert len(broker.lost) == 1


STRANGERS = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "no hello": encoded(Returned(1)),
    "what the broker sends": encoded(WantLanes(1, False)),
}


@pytest.mark.parametrize("said", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_disconnected_and_counted(loop: Loop, broker: Broker, said: bytes) -> None:
    with broker.connect() as reader, broker.connect() as stranger:
        reader.send(encoded(HELLO))
        stranger.send(said)
        loop.eventually(lambda: broker.counters == {"unreadable_messages": 1}, "it is counted")
        loop.eventually(lambda: ended(stranger), "it is disconnected")
        reader.send(encoded(Returned(1)))
        loop.eventually(lambda: broker.received, "the reader is still heard")
        assert broker.lost == []


def ended(connection: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        return connection.recv(1000) == b""
    return False
