"""Three nats-servers with three replicas: the leader is killed under load, and no acknowledged
event is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from amid.simulator import SimulatedPbx
from tests.asterisk.server import free_port
from tests.bus.conftest import check_numbering, gaps, nats_table, numbers_in, send_events
from tests.bus.nats_server import Consumer, NatsServer
from tests.conftest import StartDaemon
from tests.daemon import eventually
from tests.need import need
from tests.processes.pbx import table

NODES = ("n1", "n2", "n3")
EVENTS = 300
CLUSTER_S = 90.0
"""Time limit of elections on a busy machine."""


@pytest.fixture
def cluster(nats_binary: str, tmp_path: Path) -> Iterator[dict[str, NatsServer]]:
    need("" if nats_binary else "there is no nats-server; as root, run apt install nats-server", of="NATS")
    routes = {name: free_port() for name in NODES}
    listed = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes.values())
    nodes = {}
    for name, port in routes.items():
        cluster = f'cluster {{ name: site, listen: "127.0.0.1:{port}", routes: [{listed}] }}'
        nodes[name] = NatsServer(nats_binary, tmp_path / name, f"server_name: {name}\n{cluster}").start()
    yield nodes
    for node in nodes.values():
        node.close()


def consumer_of(nodes: list[NatsServer]) -> Consumer:
    return Consumer([node.url for node in nodes])


def leader(consumer: Consumer, stream: str) -> str:
    info = consumer.run(consumer.jetstream.stream_info(stream))
    assert info.cluster is not None and info.config.num_replicas == 3
    return str(info.cluster.leader)


def numbers(consumer: Consumer) -> list[int]:
    return numbers_in(consumer.stored())


def test_the_leader_is_killed_under_load(cluster: dict[str, NatsServer], daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    nodes = list(cluster.values())
    keys = nats_table(nodes[0], replicas=3) | {"servers": [node.url for node in nodes]}
    daemon = daemon_for({"pbx1": table(pbx)}, nats=keys)
    with consumer_of(nodes) as consumer:
        sent = send_events(daemon, EVENTS // 3)
        eventually(lambda: numbers(consumer) == sent, "the first events are stored", CLUSTER_S)
        killed = cluster[eventually(lambda: leader(consumer, "AMID_pbx1"), "the stream has a leader", CLUSTER_S)]
        acknowledged = eventually(lambda: numbers(consumer), "the stream is read", CLUSTER_S)
        sent += send_events(daemon, 20)
        killed.kill()
    with consumer_of([node for node in nodes if node is not killed]) as consumer:
        sent += send_events(daemon, EVENTS - len(sent))
        began = time.monotonic()
        eventually(lambda: numbers(consumer)[-1:] == sent[-1:], "the last event is stored", CLUSTER_S)
        took = time.monotonic() - began
        events = eventually(consumer.stored, "the stream is read", CLUSTER_S)
    stored = numbers_in(events)
    twice = sum(count - 1 for count in Counter(stored).values())
    print(f"\nstored {len(stored)}, twice {twice}, missing {len(set(sent) - set(stored))}; {took:.1f} s after the last event")
    assert stored == sent
    assert stored[: len(acknowledged)] == acknowledged
    check_numbering(events)
    assert not gaps(events)
