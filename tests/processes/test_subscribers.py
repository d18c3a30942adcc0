"""The limit of connections of one caller to an event socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid import Curve
from amid.client import curve as client_curve
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.pbx import simulated, table
from tests.processes.test_subscriptions import SUBSCRIBER, still_open
from tests.processes.test_tcp import Tcp, a_pbx
from tests.processes.zmtp import RawPeer

LIMIT = 3


def disconnected(daemon: Daemon) -> int:
    return int(daemon.result("status")["servers"][0]["counters"]["disconnected_subscribers"])


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Shared: leave it as it was. Each event socket counts its own connections."""
    with simulated() as pbx:
        servers = {"pbx1": table(pbx, max_subscribers_per_caller=LIMIT)}
        with closing(Daemon(tmp_path_factory.mktemp("amid"), servers)) as daemon:
            yield daemon.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
@pytest.mark.parametrize("name", ["events-pbx1", "stream-pbx1", "trace-pbx1"])
def test_event_connections_of_a_unix_user_are_limited(limited: Daemon, name: str) -> None:
    """With 200 that did not read, the reader grew by 490 MB."""
    daemon = limited
    os.truncate(daemon.log, 0)

    def subscribed(uid: int) -> RawPeer:
        peer = RawPeer.of_user(uid, daemon.run_dir, name=name, properties=SUBSCRIBER)
        peer.send(b"\x01never")
        return peer

    with ExitStack() as stack:
        peers = [stack.enter_context(subscribed(65533)) for _ in range(LIMIT)]
        others = [stack.enter_context(subscribed(uid)) for uid in (65532, *[0] * 2 * LIMIT)]
        more = stack.enter_context(subscribed(65533))
        eventually(lambda: not still_open(more.socket), "one more is disconnected")
        assert all(still_open(peer.socket) for peer in (*peers, *others))
        peers[0].socket.close()

        def replaced() -> bool:
            return still_open(stack.enter_context(subscribed(65533)).socket)

        eventually(replaced, "one that was closed leaves room for another")
    assert "uid:65533 has too many connections (max_subscribers_per_caller)" in daemon.log.read_text()


def test_event_connections_of_a_key_are_limited(tmp_path: Path, daemon_for: StartDaemon) -> None:
    with a_pbx() as pbx, ExitStack() as stack:
        tcp = Tcp(tmp_path, pbx, daemon_for, max_subscribers_per_caller=LIMIT)
        curve = Curve(tcp.server, tcp.crm, (tcp.folder / "crm.key").read_text().strip())

        def subscribe() -> zmq.Socket[Any]:
            socket = stack.enter_context(tcp.daemon.socket(zmq.SUB))
            client_curve.connect(socket, tcp.table["events_listen"][0], curve)
            socket.subscribe(b"tick.")
            return socket

        sockets = [subscribe() for _ in range(LIMIT)]
        for socket in sockets:
            eventually(lambda socket=socket: socket.poll(100), "its ticks")  # type: ignore[misc]
        assert not disconnected(tcp.daemon)
        subscribe()
        eventually(lambda: disconnected(tcp.daemon), "one more is disconnected")
