"""The guarantees of the event sockets: the buffer of a slow subscriber, and completeness after the
first tick."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq

from amid import wire
from amid.config.tables import Curve, Server
from amid.process.settings import ReaderSettings
from amid.reader.publisher import STREAM_KEPT, Publisher, own_event
from amid.reader.reader import Reader
from amid.simulator import SimulatedPbx
from tests.asterisk.raw import Raw, request
from tests.daemon import BOUND_S, eventually
from tests.processes.on_loop import Loop
from tests.processes.pbx import SECRET

READ = STREAM_KEPT * 4 // 5
"""Messages that it reads before it lags: by then ZeroMQ, which tells the sender now and then, has told of some of them alone."""
LARGE = own_event("UserEvent", Padding="x" * 20_000)
"""So that the kernel's buffers hold next to none."""


@pytest.fixture
def subscriber(loop: Loop, publisher: Publisher, tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVHWM, 1)
        socket.set(zmq.RCVTIMEO, 20_000)
        socket.subscribe(wire.stream_topic("pbx1"))
        socket.connect(wire.ipc(str(tmp_path), wire.stream_socket("pbx1")))
        loop.eventually(lambda: publisher.stream.want(wire.stream_topic("pbx1")), "it subscribes")
        yield socket


def test_a_slow_subscriber_keeps_the_documented_number_of_messages(publisher: Publisher, subscriber: zmq.Socket[bytes]) -> None:
    def number() -> int:
        (event,) = wire.unpack(subscriber.recv_multipart()[1])
        prev: int = event["prev"]
        return prev + 1  # each one follows the one before it

    for expected in range(1, READ + 1):
        publisher.publish(LARGE, 0.0)
        assert number() == expected
    for _ in range(3 * STREAM_KEPT):
        publisher.publish(LARGE, 0.0)
    assert [number() for _ in range(STREAM_KEPT)] == list(range(READ + 1, READ + STREAM_KEPT + 1))


@pytest.fixture
def reader(loop: Loop, pbx: SimulatedPbx, tmp_path: Path) -> Iterator[Reader]:
    """One that turns only when the test lets it, connected."""
    server = Server(host=pbx.host, port=pbx.port, username="amid", secret=SECRET)
    settings = ReaderSettings(str(tmp_path), "info", "pbx1", server, 0, Curve(), {}, False)

    async def start() -> tuple[Reader, asyncio.Task[None]]:
        calls = {name: lambda *arguments: None for name in ("start", "report_problem")}
        child = SimpleNamespace(**calls, ended=asyncio.Event(), orphaned=False)
        reader = Reader(child, settings)  # type: ignore[arg-type]
        return reader, asyncio.create_task(reader.run())

    reader, running = loop.run(start())
    loop.eventually(lambda: reader._events.state == "up", "it is connected")
    yield reader
    reader._child.ended.set()
    loop.run(asyncio.wait_for(running, BOUND_S))


def test_after_its_first_tick_a_subscriber_receives_everything(
    loop: Loop, reader: Reader, pbx: SimulatedPbx, tmp_path: Path
) -> None:
    """ZeroMQ sends the tick that another one asked for to a newcomer as well, before the reader has heard what that one wants."""
    place = SimpleNamespace(host=pbx.host, port=pbx.port, username="amid", secret=SECRET)
    with zmq.Context() as context, context.socket(zmq.SUB) as first, context.socket(zmq.SUB) as second, Raw(place) as other:
        first.subscribe(wire.tick_topic("pbx1"))
        first.connect(wire.ipc(str(tmp_path), wire.events_socket("pbx1")))
        loop.eventually(lambda: first.poll(0), "the first one's tick")
        second.subscribe(wanted := wire.event_topic("pbx1", "UserEvent"))
        second.subscribe(wire.tick_topic("pbx1"))
        second.connect(wire.ipc(str(tmp_path), wire.events_socket("pbx1")))

        def ticked() -> bool:
            reader._publisher.tick(0.0)
            return bool(second.poll(0))

        eventually(ticked, "the second one's tick")  # while the loop stands still
        assert reader._publisher.events.want(wanted), "the reader has heard what else it wants"
        other.exchange(request("UserEvent", UserEvent="Hello"))
        connection = reader._events._connection
        assert connection is not None and connection._transport is not None
        descriptor = connection._transport.get_extra_info("socket").fileno()
        eventually(lambda: select.select([descriptor], [], [], 0)[0], "the event has come to the reader")
        loop.eventually(lambda: second.poll(0) and second.recv_multipart()[0] == wanted, "the event")
