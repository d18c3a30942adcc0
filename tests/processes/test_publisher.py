"""What the event sockets keep for a subscriber that lags, however much it had read before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from amid import wire
from amid.daemon.publisher import STREAM_KEPT, Publisher, own_event

READ = STREAM_KEPT * 4 // 5
"""Messages that it reads before it lags: by then ZeroMQ, which tells the sender now and then, has told of some of them alone."""
LARGE = own_event("UserEvent", Padding="x" * 20_000)
"""So that the kernel's buffers hold next to none."""


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield Publisher(context, str(tmp_path), "pbx1", epoch=1, replay_bytes=0)
    context.destroy(linger=0)


@pytest.fixture
def subscriber(publisher: Publisher, tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set(zmq.RCVHWM, 1)
        socket.set(zmq.RCVTIMEO, 20_000)
        socket.subscribe(wire.stream_topic("pbx1"))
        socket.connect(wire.ipc(str(tmp_path), wire.stream_socket("pbx1")))
        _, stream = publisher.sockets()
        assert stream.poll(20_000), "it subscribes"
        publisher.take_subscriptions({stream: zmq.POLLIN})
        yield socket


def test_one_that_lags_has_all_the_messages_that_are_promised(publisher: Publisher, subscriber: zmq.Socket[bytes]) -> None:
    def number() -> int:
        (event,) = wire.unpack(subscriber.recv_multipart()[1])
        nth: int = event["nth"]
        return nth

    for expected in range(1, READ + 1):
        publisher.publish(LARGE, 0.0)
        assert number() == expected
    for _ in range(3 * STREAM_KEPT):
        publisher.publish(LARGE, 0.0)
    assert [number() for _ in range(STREAM_KEPT)] == list(range(READ + 1, READ + STREAM_KEPT + 1))
