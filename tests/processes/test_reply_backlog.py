"""The limit of unread replies, on real sockets without a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from amid.broker.reply_backlog import CONNECTION_BYTES, ReplyBacklog
from tests.daemon import eventually

LIMIT = 1024 * 1024


class Peers:
    """A ROUTER with DEALERs that read only on demand."""

    def __init__(self, stack: ExitStack, endpoint: str) -> None:
        self.context = stack.enter_context(zmq.Context())
        self.router = stack.enter_context(self.context.socket(zmq.ROUTER))
        self.router.set(zmq.ROUTER_MANDATORY, 1)
        self.router.set(zmq.SNDHWM, 100_000)
        self.router.set(zmq.LINGER, 0)  # or its end waits for peers that do not read
        self.router.copy_threshold = 0
        self.router.bind(endpoint)
        self._endpoint, self._stack = endpoint, stack

    def connect(self) -> tuple[zmq.Socket[bytes], bytes]:
        """A peer, and its routing id."""
        peer = self._stack.enter_context(self.context.socket(zmq.DEALER))
        peer.set(zmq.RCVHWM, 1)
        peer.set(zmq.LINGER, 0)
        peer.connect(self._endpoint)
        peer.send(b"")
        return peer, self.router.recv_multipart()[0]


@pytest.fixture
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(stack, f"ipc://{tmp_path_factory.mktemp('backlog')}/rpc")


def send(peers: Peers, backlog: ReplyBacklog, principal: str, connection: bytes, size: int) -> bool:
    return backlog.send(peers.router, principal, [connection, b"", bytes(size)])


def fill(peers: Peers, backlog: ReplyBacklog, connection: bytes, size: int, most: int) -> int:
    """Send answers of `size` bytes for as long as there is room; how many bytes."""
    sent = 0
    while sent < most and send(peers, backlog, "uid:1", connection, size):
        sent += size
    return sent


@pytest.mark.parametrize("size", [100, 20_000, 500_000])
def test_unread_replies_are_limited_over_all_connections_of_a_principal(peers: Peers, size: int) -> None:
    """With small answers too: 100 bytes and 256 of overhead each."""
    backlog = ReplyBacklog(LIMIT)
    kernel = 500_000  # bytes that the kernel takes of each connection's answers
    connections = 8
    sent = sum(fill(peers, backlog, peers.connect()[1], size, 100 * LIMIT) for _ in range(connections))
    assert sent < LIMIT * 9 / 8 + connections * (kernel + CONNECTION_BYTES + size)
    assert not send(peers, backlog, "uid:1", peers.connect()[1], LIMIT)
    assert send(peers, backlog, "uid:1", peers.connect()[1], 100), "another connection still gets small answers"
    assert send(peers, backlog, "uid:2", peers.connect()[1], LIMIT), "and another principal all of them"


def test_read_replies_free_their_bytes(peers: Peers) -> None:
    backlog = ReplyBacklog(LIMIT)
    peer, connection = peers.connect()
    sent = fill(peers, backlog, connection, 20_000, 100 * LIMIT)
    for _ in range(sent // 20_000):
        peer.recv_multipart()
    eventually(lambda: send(peers, backlog, "uid:1", connection, LIMIT - 1000), "what was read does not count")


def test_a_closed_connection_frees_its_bytes(peers: Peers) -> None:
    backlog = ReplyBacklog(LIMIT)
    _, connection = peers.connect()
    fill(peers, backlog, connection, 20_000, 100 * LIMIT)
    _, other = peers.connect()
    assert not send(peers, backlog, "uid:1", other, LIMIT)
    backlog.forget(connection)
    assert send(peers, backlog, "uid:1", other, LIMIT)


def test_a_single_answer_may_be_larger_than_the_limit(peers: Peers) -> None:
    backlog = ReplyBacklog(LIMIT)
    _, connection = peers.connect()
    assert send(peers, backlog, "uid:1", connection, 5)
    assert send(peers, backlog, "uid:1", connection, 2 * LIMIT)
