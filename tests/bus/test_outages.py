"""Faults of NATS: local callers are not affected, and afterwards the stream is complete, in order and
without duplicates."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from amid.simulator import SimulatedPbx
from tests.bus.conftest import (
    check_numbering,
    gaps,
    nats_table,
    numbers_in,
    password_keys,
    send_events,
    stored_from,
    wait_served,
    wait_stored,
)
from tests.bus.nats_server import Consumer, NatsServer
from tests.bus.outages import OF_THE_NETWORK, OF_THE_SERVER, PERMITTED, Outage, RelayedNats
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.faults.relay import Relay
from tests.processes.pbx import table
from tests.processes.tls import certificate

BEFORE, DURING, AFTER = 50, 200, 50
"""Events before, during and after an outage."""
OUTAGE_S = 3.0
"""Minimum length of an outage: longer than the lease, and than amid waits for an acknowledgement."""
CALL_S = 3.0
"""Time limit of a local call on a busy machine."""
RING_BYTES = 131_072
"""Size of a replay buffer that overflows during an outage."""

LASTING = {"permissions withdrawn", "out of space"}
"""Outages in which the connection continues and nothing can be stored."""
MAY_BE_SILENT = ("slow", "cut")
"""Outages that amid need not report: acknowledgements arrive in time, or at once on a new
connection."""


@pytest.fixture(scope="module")
def relayed(nats_server: NatsServer) -> Iterator[RelayedNats]:
    nats_server.restart(PERMITTED)
    with Relay("127.0.0.1", nats_server.port) as relay:
        yield RelayedNats(nats_server, relay)


@pytest.fixture(scope="module")
def daemon(relayed: RelayedNats, pbx: SimulatedPbx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Its connection to NATS passes through the relay."""
    folder = tmp_path_factory.mktemp("amid")
    keys = {"servers": f"nats://127.0.0.1:{relayed.relay.port}", **password_keys(folder, "geheim-amid")}
    daemon = Daemon(folder, {"pbx1": table(pbx)}, nats=nats_table(relayed.server, **keys))
    try:
        yield daemon.start()
    finally:
        daemon.close()


@pytest.fixture
def consumer(relayed: RelayedNats) -> Iterator[Consumer]:
    with Consumer(relayed.server.url, user="consumer", password="geheim-consumer") as consumer:
        yield consumer


def warnings_of_bus(daemon: Daemon) -> list[str]:
    return [line for line in daemon.log.read_text().splitlines() if "process=bus" in line and "level=warning" in line]


def shown_problem(daemon: Daemon) -> str:
    """What `status` shows of a bus that is connected."""
    report = daemon.result("status")["services"]["bus"]
    return "".join(report["problems"].values()) if report["nats"] else ""


@contextmanager
def local_caller(daemon: Daemon) -> Iterator[list[float]]:
    """Sends Pings on the local socket continuously. Yields their durations, and raises the first
    failure."""
    durations: list[float] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def call() -> None:
        try:
            while not stop.is_set():
                began = time.monotonic()
                assert "result" in daemon.request("action", {"action": "Ping"}, wait=CALL_S)
                durations.append(time.monotonic() - began)
                stop.wait(0.05)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield durations
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def check_outage(name: str, outage: Outage, nats: RelayedNats, daemon: Daemon, consumer: Consumer) -> None:
    """Send events before, during and after an outage, and check that the stream has each of them
    once."""
    sent = send_events(daemon, BEFORE)
    wait_stored(consumer, sent)
    warned = len(warnings_of_bus(daemon))
    with local_caller(daemon) as durations:
        with outage(nats):
            end = time.monotonic() + OUTAGE_S
            sent += send_events(daemon, DURING)
            while time.monotonic() < end:  # the length of the outage is what is tested
                time.sleep(0.05)
            warned = len(warnings_of_bus(daemon)) - warned
            if name in LASTING:
                eventually(lambda: shown_problem(daemon), f"the status shows it; {name}")
        sent += send_events(daemon, AFTER)
        eventually(lambda: stored_from(consumer, sent[0])[-1:] == sent[-1:], f"all events are stored; {name}", 60)
    eventually(lambda: not shown_problem(daemon), f"the status shows no problem; {name}")
    assert warned or name in MAY_BE_SILENT, "amid did not report the outage"
    stored = stored_from(consumer, sent[0])
    twice = sum(count - 1 for count in Counter(stored).values())
    missing = len(set(sent) - set(stored))
    print(f"\n{name:22} stored {len(stored)}, twice {twice}, missing {missing}; longest local call {max(durations):.3f} s")
    assert (len(stored), twice, missing) == (len(sent), 0, 0)
    assert stored == sent
    events = consumer.stored()
    events = events[next(index for index, event in enumerate(events) if numbers_in([event]) == sent[:1]) :]
    check_numbering(events)
    assert not gaps(events)


@pytest.mark.parametrize("outage", OF_THE_SERVER)
def test_an_outage_of_the_server_loses_no_event_and_affects_no_caller(
    outage: str, relayed: RelayedNats, daemon: Daemon, consumer: Consumer
) -> None:
    check_outage(outage, OF_THE_SERVER[outage], relayed, daemon, consumer)


@pytest.mark.newest_nats
@pytest.mark.parametrize("outage", OF_THE_NETWORK)
def test_an_outage_of_the_network_loses_no_event_and_affects_no_caller(
    outage: str, relayed: RelayedNats, daemon: Daemon, consumer: Consumer
) -> None:
    check_outage(outage, OF_THE_NETWORK[outage], relayed, daemon, consumer)


@pytest.mark.newest_nats
def test_events_that_the_daemon_has_dropped_are_a_gap_of_the_right_size(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx
) -> None:
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx, replay_bytes=RING_BYTES)}, nats=nats_table(own_nats))
    with Consumer(own_nats.url) as consumer:
        sent = send_events(daemon, 10)
        wait_stored(consumer, sent)
        own_nats.kill()
        sent += send_events(daemon, 300, "x" * 900)
        own_nats.start()
        eventually(lambda: numbers_in(consumer.stored())[-1:] == sent[-1:], "the newest events are stored", 60)
        stored = consumer.stored()
    (gap,) = gaps(stored)
    lost = len(sent) - len(numbers_in(stored))
    assert lost > 0
    check_numbering(stored)
    assert gap["missed"] == gap["until"] - gap["after"] >= lost
    seqs = {event["seq"] for event in stored if event["event"] != "amid:gap" and event["epoch"] == gap["epoch"]}
    assert len(seqs) + gap["missed"] == max(seqs), "stored and missing events are all events"


@pytest.mark.newest_nats
def test_a_wrong_certificate_is_refused_and_the_right_one_accepted(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path, "right")
    wrong_cert, wrong_key = certificate(tmp_path, "wrong")
    tls = 'tls {{ cert_file: "{}", key_file: "{}" }}'
    own_nats.configuration = tls.format(wrong_cert, wrong_key)
    own_nats.start()
    keys = {"servers": f"tls://127.0.0.1:{own_nats.port}", "tls_ca": str(cert)}
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, **keys))
    with local_caller(daemon):
        eventually(
            lambda: "the certificate of NATS is refused: self-signed certificate; set tls_ca" in daemon.log.read_text(),
            "the certificate is refused",
        )
        sent = send_events(daemon, 20)
        own_nats.restart(tls.format(cert, key))
        trusted = ssl.create_default_context(cafile=str(cert))
        with Consumer(f"tls://127.0.0.1:{own_nats.port}", tls=trusted) as consumer:
            wait_stored(consumer, sent)
    daemon.stop()
    assert "eof_received" not in daemon.log.read_text(), "the loop's warning about nats-py is left out"


@pytest.mark.newest_nats
def test_a_server_without_tls_is_refused_before_the_password_is_sent(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx
) -> None:
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, servers=f"tls://127.0.0.1:{own_nats.port}"))
    eventually(lambda: "the server offers no TLS" in daemon.log.read_text(), "the server is refused")
    assert "connected to NATS" not in daemon.log.read_text()


@pytest.mark.parametrize("recreated", [False, True], ids=["purged", "deleted"])
def test_a_stream_that_was_emptied_before_a_restart_continues(
    own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx, recreated: bool
) -> None:
    """Its last message is gone, but nothing is stored again and nothing is missing. A stream that was
    lost is stored again."""
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
    with Consumer(own_nats.url) as consumer:
        wait_served(consumer)
        before = send_events(daemon, 20)
        wait_stored(consumer, before)
        own_nats.kill()
        own_nats.start()
        wait_served(consumer)
        if recreated:
            consumer.run(consumer.jetstream.delete_stream("AMID_pbx1"))
        else:
            consumer.run(consumer.jetstream.purge_stream("AMID_pbx1"))
        own_nats.kill()
        numbers = send_events(daemon, 3)
        own_nats.start()
        wait_stored(consumer, [*before, *numbers] if recreated else numbers)
        stored = consumer.stored()
        assert recreated or numbers_in(stored) == numbers
        assert not gaps(stored)


def test_what_was_deleted_in_nats_is_made_again(own_nats: NatsServer, daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    own_nats.start()
    daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats))
    with Consumer(own_nats.url) as consumer:
        wait_served(consumer)
        wait_stored(consumer, send_events(daemon, 3))
        for bucket in ("amid-owners", "amid-servers"):
            consumer.run(consumer.jetstream.delete_key_value(bucket))
        for bucket in ("amid-owners", "amid-servers"):
            eventually(partial(_has_key, consumer, bucket), f"{bucket} has its key")
        consumer.run(consumer.jetstream.delete_stream("AMID_pbx1"))
        wait_served(consumer)
        wait_stored(consumer, send_events(daemon, 3))


def _has_key(consumer: Consumer, bucket: str) -> bool:
    return consumer.run(consumer.run(consumer.jetstream.key_value(bucket)).keys()) == ["pbx1"]
