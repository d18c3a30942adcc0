"""The broker's Unix socket: turns of Unix users, and limits over all connections of a user."""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from amid.broker import local_callers
from amid.broker.caller_sockets import REQUESTS_PER_PASS, open_caller_sockets
from amid.broker.local_callers import ANSWERS_PER_FLUSH, LocalCallers, LocalConnection
from amid.config.tables import Config, Rpc, Server
from amid.process.acceptor import listen_locally
from amid.process.settings import broker_settings
from amid.rpc.zmtp import MAX_TO_SEND_BYTES
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.zmtp import COMMAND, GREETING, MORE, RawPeer, frame, ready

MEGABYTE = 1024 * 1024
CONNECTIONS = 200


@pytest.fixture
def callers(tmp_path: Path) -> Iterator[LocalCallers]:
    def free_descriptors() -> int:
        return CONNECTIONS - len(made._connections)

    limits = Rpc(max_calls=10, max_unread_bytes=100_000)
    made = LocalCallers(listen_locally(str(tmp_path / "rpc")), select.epoll(), Counter(), free_descriptors, limits)
    yield made
    made.close()


def connected(callers: LocalCallers, tmp_path: Path, uid: int | None = None) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(BOUND_S)
    if uid is None:
        peer.connect(str(tmp_path / "rpc"))
    else:
        before = os.getcwd()
        os.chdir(tmp_path)
        os.chmod("rpc", 0o666)
        os.chmod(tmp_path, 0o755)
        os.seteuid(uid)
        try:
            peer.connect("rpc")
        finally:
            os.seteuid(0)
            os.chdir(before)
    peer.sendall(GREETING + ready({"Socket-Type": b"DEALER"}))
    return peer


def messages(callers: LocalCallers, count: int) -> list[tuple[int, bytes]]:
    """The uid and the last frame of the next messages."""
    came: list[tuple[int, bytes]] = []

    def enough() -> bool:
        came.extend((connection.uid, frames[-1]) for connection, frames in callers.receive(time.monotonic() + 0.1))
        return len(came) >= count

    eventually(enough, f"{count} messages")
    return came


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
def test_users_take_turns(callers: LocalCallers, tmp_path: Path) -> None:
    """However many connections and messages one of them has."""
    with ExitStack() as stack:
        many = [stack.enter_context(connected(callers, tmp_path, 65533)) for _ in range(10)]
        one = stack.enter_context(connected(callers, tmp_path, 65532))
        list(callers.receive(time.monotonic() + BOUND_S))  # the handshakes
        for peer in many:
            peer.sendall(frame(b"many") * 100)
        one.sendall(frame(b"one") * 5)
        came = messages(callers, 1005)
    assert [uid for uid, _ in came][:10].count(65532) == 5


def connections(callers: LocalCallers) -> dict[int, int]:
    """Of each user."""
    list(callers.receive(time.monotonic() + 0.1))
    return {uid: user.connections for uid, user in callers._users.items()}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
def test_one_user_leaves_half_of_the_connections_free(callers: LocalCallers, tmp_path: Path) -> None:
    half = (CONNECTIONS - local_callers.RESERVED_CONNECTIONS) // 2
    with ExitStack() as stack:
        for uid, count in ((65533, CONNECTIONS), (65532, CONNECTIONS), (0, local_callers.RESERVED_CONNECTIONS)):
            for _ in range(count):
                stack.enter_context(connected(callers, tmp_path, uid))
        expected = {65533: half, 65532: half // 2, 0: local_callers.RESERVED_CONNECTIONS}
        eventually(lambda: connections(callers) == expected, "a share each, and room for root")
        assert callers._counters["refused_connections"] == 2 * CONNECTIONS - half - half // 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
def test_connections_of_a_user_are_limited(callers: LocalCallers, tmp_path: Path) -> None:
    callers.limits = Rpc(max_connections_per_user=10)
    with ExitStack() as stack:
        for uid in (65533, 0):
            for _ in range(20):
                stack.enter_context(connected(callers, tmp_path, uid))
        eventually(lambda: connections(callers) == {65533: 10, 0: 20}, "the limit holds, and not for root")


def test_the_rest_of_a_users_messages_is_read_in_the_next_pass(callers: LocalCallers, tmp_path: Path) -> None:
    with connected(callers, tmp_path) as peer:
        peer.sendall(frame(b"x") * 100)
        taken = 0
        end = time.monotonic() + BOUND_S
        while taken < 100 and time.monotonic() < end:
            taken += len(list(callers.receive(time.monotonic())))  # a pass that is over when it begins
            passed = list(itertools.islice(callers.receive(end), 1))
            taken += len(passed)
        assert taken == 100 and not callers.has_turns


def test_a_pass_takes_few_requests(tmp_path: Path) -> None:
    """So that the reader works on them while the broker is at the next ones."""

    async def passes() -> list[int]:
        """The messages of each pass that had any."""
        settings = broker_settings(Config(run_dir=str(tmp_path), servers={"pbx1": Server(host="h", username="u", secret="s")}))
        sockets, came = open_caller_sockets(settings, Counter()), list[bytes]()
        counts: list[int] = []
        sockets.start(lambda origin, payload, fault: came.append(payload), lambda _: None)
        peer.connect(str(tmp_path / "rpc"))
        peer.sendall(GREETING + ready({"Socket-Type": b"DEALER"}) + (frame(b"", MORE) + frame(b"x")) * 20)
        end = time.monotonic() + BOUND_S
        while sum(counts) < 20 and time.monotonic() < end:
            await asyncio.sleep(0)
            counts += [len(came)] if came else []
            came.clear()
        sockets.close()
        return counts

    with socket.socket(socket.AF_UNIX) as peer:
        assert asyncio.run(passes()) == [REQUESTS_PER_PASS, REQUESTS_PER_PASS, 20 - 2 * REQUESTS_PER_PASS]


class CountingEpoll:
    """Counts the events that it has returned."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.events = 0

    def poll(self, timeout: float, maxevents: int = -1) -> list[tuple[int, int]]:
        found = self._epoll.poll(timeout, maxevents)
        self.events += len(found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


def test_a_pass_does_not_look_at_all_ready_connections(tmp_path: Path) -> None:
    """With thousands of callers at once, that cost more than their requests."""
    epoll, count = CountingEpoll(), 1000
    callers = LocalCallers(listen_locally(str(tmp_path / "rpc")), cast(Any, epoll), Counter(), lambda: 10_000, Rpc())
    with ExitStack() as stack:
        peers = [stack.enter_context(connected(callers, tmp_path)) for _ in range(count)]
        while len(callers._connections) < count or any(one.protocol.identity is None for one in callers._connections.values()):
            list(callers.receive(time.monotonic() + BOUND_S))
        for peer in peers:
            peer.sendall(frame(b"x"))
        epoll.events = taken = 0
        end = time.monotonic() + BOUND_S
        while taken < count and time.monotonic() < end:
            taken += len(list(itertools.islice(callers.receive(end), REQUESTS_PER_PASS)))
        callers.close()
    assert taken == count and epoll.events <= 10 * count


def test_unfinished_messages_are_limited_over_all_connections_of_a_user(
    callers: LocalCallers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_callers, "MAX_HELD_BYTES", 4 * MEGABYTE)
    with ExitStack() as stack:
        peers = [stack.enter_context(connected(callers, tmp_path)) for _ in range(100)]
        for peer in peers:
            peer.sendall(frame(bytes(60_000), MORE))

        def closed() -> int:
            list(callers.receive(time.monotonic() + 0.1))
            return len(callers.take_closed())

        assert eventually(closed, "some are closed") > 5
        for peer in peers:
            peer.close()
        eventually(lambda: not closed() and not callers._users, "all have gone, and nothing is kept of them")


def test_a_connection_without_a_handshake_is_closed(daemon: Daemon) -> None:
    with RawPeer(daemon.run_dir / "rpc") as silent, socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(daemon.run_dir / "rpc"))
        stranger.settimeout(BOUND_S)
        while stranger.recv(64):
            pass
        silent.send(b"", b'{"id": 1, "method": "ping"}')
        assert b'"result"' in silent.receive()[1], "one that has shaken hands stays"


def connection_of(callers: LocalCallers, peer: socket.socket) -> LocalConnection:
    """The only connection, of which a message was received."""
    peer.sendall(frame(b"x"))
    eventually(lambda: list(callers.receive(time.monotonic() + 0.1)), "its message")
    (connection,) = callers._connections.values()
    return connection


def test_unread_replies_are_limited_in_number_and_bytes(callers: LocalCallers, tmp_path: Path) -> None:
    with connected(callers, tmp_path) as peer:
        connection = connection_of(callers, peer)
        callers.flush()  # its greeting
        assert callers.has_room(connection, 10_000_000), "a single answer may have any size"
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that it takes no answer completely
        assert callers.send(connection, [b"", bytes(90_000)])
        assert not callers.has_room(connection, 60_000) and not callers.send(connection, [b"", bytes(60_000)])
        callers.limits = Rpc(max_calls=10)
        assert all(callers.send(connection, [b"", b"x"]) for _ in range(10_002))
        assert callers._counters == {"undeliverable_answers": 3}, "10,000 at most"
        peer.settimeout(0.1)
        received = bytearray()

        def whole() -> bool:
            callers.flush()
            list(callers.receive(time.monotonic() + 0.01))
            received.extend(peer.recv(50_000))
            return not connection.unsent and received.endswith(frame(b"", MORE) + frame(b"x"))

        eventually(whole, "all come, in pieces")
        assert callers.has_room(connection, 60_000) and not connection.unsent_bytes


def test_many_answers_of_one_pass_do_not_wait_for_its_end(callers: LocalCallers, tmp_path: Path) -> None:
    """Some of them are sent, and an end of the connection that this finds is reported with those of the pass."""
    with connected(callers, tmp_path) as peer:
        connection = connection_of(callers, peer)
        callers.flush()  # its greeting
        for _ in range(ANSWERS_PER_FLUSH - 1):
            callers.send(connection, [b"", b"answer"])
        assert len(connection.unsent) == ANSWERS_PER_FLUSH - 1
        callers.send(connection, [b"", b"answer"])
        assert not connection.unsent
    for _ in range(ANSWERS_PER_FLUSH):
        callers.send(connection, [b"", b"answer"])
    assert connection.is_closed and callers.take_closed() == [connection]


def test_a_reply_counts_in_full_until_its_last_byte_is_sent(callers: LocalCallers, tmp_path: Path) -> None:
    """It is held in full, but callers that read large replies except their ends were charged only
    for the ends."""
    with connected(callers, tmp_path) as peer:
        connection = connection_of(callers, peer)
        callers.send(connection, [bytes(8 * MEGABYTE)])
        left = 7 * MEGABYTE
        while left > 0:
            callers.flush()
            list(callers.receive(time.monotonic() + 0.01))
            left -= len(peer.recv(min(left, 50_000)))
        assert 8 * MEGABYTE < connection.unsent_bytes < 9 * MEGABYTE
        assert not callers.has_room(connection, 60_000)


def test_ready_is_sent_before_the_first_reply(callers: LocalCallers, tmp_path: Path) -> None:
    """A client of its own may send its handshake and a request at once."""
    with connected(callers, tmp_path) as peer:
        peer.sendall(frame(b"", MORE) + frame(b"request"))
        (connection, _), *_ = eventually(lambda: list(callers.receive(time.monotonic() + 0.1)), "the request")
        callers.send(connection, [b"", b"answer"])
        callers.flush()
        came = _received(peer, b"answer")[64:]
    assert came.startswith(b"\x04") and came.index(b"READY") < came.index(b"answer")


def _received(peer: socket.socket, end: bytes) -> bytes:
    came = b""
    while not came.endswith(end):
        came += peer.recv(1000)
    return came


def test_unread_heartbeat_replies_are_limited(callers: LocalCallers, tmp_path: Path) -> None:
    with connected(callers, tmp_path) as peer:
        peer.setblocking(False)
        ping = frame(b"\x04PING\0\x0a" + bytes(16), COMMAND)
        for _ in range(300):
            for _ in range(50):
                try:
                    peer.send(ping * 500)
                except BlockingIOError:
                    break
            list(callers.receive(time.monotonic() + 0.01))
            callers.flush()
        (user,) = callers._users.values()
        assert user.unsent_bytes < 6 * MAX_TO_SEND_BYTES


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
def test_a_uid_over_2_to_the_31_is_accepted(callers: LocalCallers, tmp_path: Path) -> None:
    with connected(callers, tmp_path, uid=3_000_000_000) as peer:
        peer.sendall(frame(b"", MORE) + frame(b"request"))
        assert messages(callers, 1) == [(3_000_000_000, b"request")]
