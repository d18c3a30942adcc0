"""Floods of frames: callers of other users are answered meanwhile, and the broker stays small."""

from __future__ import annotations

import json
import multiprocessing
import os
import time

import pytest
import zmq

from amid import Curve
from tests.daemon import Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.floods import FLOODS, Flood, flooding
from tests.processes.test_bad_callers import memory
from tests.processes.test_tcp import Tcp, module_tcp, tcp
from tests.processes.zmtp import RawPeer

__all__ = ["module_tcp", "tcp"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process of another user")

HONEST_UID = 65532
FLOOD_S = 4.0
TIMEOUT_S = 5.0
"""The default timeout of a call."""
SLACK_S = 0.5
"""The promise is 50 ms; the test itself waits for a processor too."""
MAX_GROWTH = 150_000_000
"""Bytes of the broker: 64 MiB of unfinished messages, and one message in the making."""
FRESH_BYTES: dict[int, int] = {}
"""Memory of each broker before its first flood."""

PING = json.dumps({"id": 1, "method": "action", "params": {"action": "Ping", "timeout": TIMEOUT_S}}).encode()


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


def seconds_of_a_ping(peer: RawPeer) -> float:
    began = time.monotonic()
    peer.send(b"", PING)
    assert b'"Pong"' in peer.receive()[1]
    return time.monotonic() - began


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_other_callers_are_served_during_repeated_floods(daemon: Daemon, flood: Flood) -> None:
    broker = daemon.pid("broker")
    before, largest, slowest = FRESH_BYTES.setdefault(broker, memory(broker)), 0, 0.0
    with RawPeer.of_user(HONEST_UID, daemon.run_dir) as peer, flooding(daemon.run_dir, flood):
        end = time.monotonic() + FLOOD_S
        while time.monotonic() < end:
            slowest = max(slowest, seconds_of_a_ping(peer))
            largest = max(largest, memory(broker) - before)
    print(f"{flood.__name__}: the slowest ping took {slowest:.2f} s; the broker grew by {largest / 1e6:.0f} MB")
    assert slowest < TIMEOUT_S + SLACK_S
    assert largest < MAX_GROWTH
    assert daemon.pid("broker") == broker


def send_many_frames(endpoint: str, curve: Curve) -> None:
    while True:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.set(zmq.LINGER, 5000)
            curve.put_on(dealer)
            dealer.connect(endpoint)
            dealer.send_multipart([b""] * 300_000)


def test_local_callers_are_served_while_a_key_floods(tcp: Tcp) -> None:
    daemon = tcp.daemon
    curve = Curve(tcp.server, tcp.crm, (tcp.folder / "crm.key").read_text().strip())
    broker = daemon.pid("broker")
    flood = multiprocessing.get_context("spawn").Process(target=send_many_frames, args=(tcp.rpc, curve), daemon=True)
    flood.start()
    try:
        with RawPeer.of_user(HONEST_UID, daemon.run_dir) as peer:
            eventually(lambda: "refused a message from key:crm" in daemon.log.read_text(), "a flood has come", 60)
            end = time.monotonic() + FLOOD_S
            while time.monotonic() < end:
                assert seconds_of_a_ping(peer) < TIMEOUT_S + SLACK_S
    finally:
        flood.kill()
        flood.join(20)
    assert daemon.pid("broker") == broker
