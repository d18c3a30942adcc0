"""A ZeroMQ socket on the event loop: no message is left unread, although the descriptor signals
each only once."""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from amid.process.socket_reader import SocketReader
from tests.daemon import eventually
from tests.processes.on_loop import FACTORIES, Loop


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(request.param) as loop:
        yield loop


class Peers:
    """Two sockets that are connected; the loop reads from one of them, `own`."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.context = zmq.Context()
        self.own, self.other = (self.context.socket(zmq.DEALER) for _ in range(2))
        self.own.bind(f"ipc://{path}/own")
        self.other.connect(f"ipc://{path}/own")
        self.received: list[bytes] = []
        self.calls = 0
        self.at_once = 1000
        self.reader = SocketReader(loop.loop, self.own, self.receive)

    def receive(self) -> bool:
        """Some of what has come; whether there may be more."""
        self.calls += 1
        for _ in range(self.at_once):
            try:
                self.received.append(self.own.recv(zmq.DONTWAIT))
            except zmq.Again:
                return False
        return True

    def arrive(self, message: bytes) -> None:
        """`message` has come to `own`, and the loop has not turned."""
        self.other.send(message)
        eventually(lambda: int(self.own.get(zmq.EVENTS)) & zmq.POLLIN, "it has arrived")

    def close(self) -> None:
        self.reader.close()
        self.context.destroy(linger=0)


@pytest.fixture
def peers(loop: Loop, tmp_path: Path) -> Iterator[Peers]:
    peers = Peers(loop, tmp_path)
    yield peers
    peers.close()


def test_messages_are_received(loop: Loop, peers: Peers) -> None:
    for number in range(5):
        peers.other.send(b"%d" % number)
        loop.eventually(lambda number=number: len(peers.received) > number, "it is received")  # type: ignore[misc]
    assert peers.received == [b"0", b"1", b"2", b"3", b"4"]


def test_messages_before_the_reader_are_received(loop: Loop, peers: Peers) -> None:
    peers.reader.close()
    peers.arrive(b"early")
    peers.reader = SocketReader(loop.loop, peers.own, peers.receive)
    loop.eventually(lambda: peers.received, "it is received")


def test_a_message_that_arrives_during_a_send_is_received(loop: Loop, peers: Peers) -> None:
    """Sending consumes the descriptor's signal, too."""
    peers.other.send(b"first")
    loop.eventually(lambda: peers.received, "they are connected")
    peers.arrive(b"second")
    peers.own.send(b"sent")
    assert not select.select([int(peers.own.get(zmq.FD))], [], [], 0)[0], "the descriptor is silent"
    peers.reader.check_soon()
    loop.eventually(lambda: len(peers.received) == 2, "the second one is received")


def test_remaining_messages_are_received_in_later_passes(loop: Loop, peers: Peers) -> None:
    """Other callbacks run in between."""
    peers.at_once = 1
    for number in range(9):
        peers.other.send(b"%d" % number)
    eventually(lambda: int(peers.own.get(zmq.EVENTS)) & zmq.POLLIN, "the first has arrived")
    between: list[int] = []

    def other() -> None:
        between.append(peers.calls)
        if len(peers.received) < 9:
            loop.loop.call_soon(other)

    loop.loop.call_soon(other)
    loop.eventually(lambda: len(peers.received) == 9, "all are received")
    assert max(two - one for one, two in itertools.pairwise(between)) <= 2


def test_a_closed_reader_receives_nothing(loop: Loop, peers: Peers) -> None:
    loop.turn()
    calls = peers.calls
    peers.reader.close()
    peers.arrive(b"late")
    loop.turn()
    assert (peers.calls, peers.received) == (calls, [])


def test_a_closed_reader_with_a_scheduled_read_does_not_use_its_socket(loop: Loop, peers: Peers) -> None:
    """The owner closes the socket at once, before the loop turns."""
    loop.turn()
    peers.reader.check_soon()
    peers.reader.close()
    peers.own.close()
    loop.turn()
