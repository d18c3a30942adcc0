"""Two amids for one PBX: the owner of the lease serves it on NATS, and the standby takes over."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.bus.conftest import check_numbering, gaps, nats_table, numbers_in, send_events, stored_from, wait_served, wait_stored
from tests.bus.nats_server import Consumer, NatsServer
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import table

TTL_S = 2.0
PING_S = 1
"""`ping_interval` of nats-server."""
MARGIN_S = 1.0
"""Added to the promised time of a take-over for a busy machine."""


class Pair:
    """The instance "a" is the owner, and "b" the standby. Events reach both; `standby` lives longer."""

    def __init__(self, start: StartDaemon, pbx: SimulatedPbx, server: NatsServer, consumer: Consumer) -> None:
        self.consumer = consumer
        keys = {name: nats_table(server, lease_ttl=TTL_S, instance=name) for name in ("a", "b")}
        self.owner = start({"pbx1": table(pbx)}, nats=keys["a"])
        eventually(lambda: self.lease_owner() == "a", "a has the lease")
        self.standby = start({"pbx1": table(pbx)}, nats=keys["b"])
        eventually(lambda: "a holds the lease; this amid is on standby" in self.standby.log.read_text(), "b is on standby")

    def lease_owner(self) -> str:
        async def owner() -> str:
            bucket = await self.consumer.jetstream.key_value("amid-owners")
            return str(json.loads((await bucket.get("pbx1")).value or b"{}")["instance"])

        return self.consumer.run(owner())

    def origins(self) -> list[str]:
        """The instance that stored each message."""
        return [instance_of(headers) for _, headers in self.consumer.messages()]

    def wait_taken_over(self, limit_s: float = BOUND_S) -> float:
        """Wait until b publishes. Return after how many seconds."""
        began = time.monotonic()
        eventually(lambda: self.origins()[-1] == "b", "b publishes", limit_s)
        return time.monotonic() - began


def pids(daemon: Daemon) -> list[int]:
    """All processes of a daemon, the supervisor first."""
    return [process["pid"] for process in daemon.processes().values()]


def send_signal(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        os.kill(pid, number)


@pytest.fixture
def pair(daemon_for: StartDaemon, pbx: SimulatedPbx, own_nats: NatsServer) -> Iterator[Pair]:
    own_nats.start()
    with Consumer(own_nats.url) as consumer:
        yield Pair(daemon_for, pbx, own_nats, consumer)


def bus_report(daemon: Daemon) -> Any:
    return daemon.result("status")["services"].get("bus")


def wait_last(pair: Pair, sent: list[int]) -> None:
    eventually(lambda: stored_from(pair.consumer, sent[0])[-1:] == sent[-1:], f"event {sent[-1]} is stored", 40)


def test_only_the_owner_publishes_and_hands_over_at_once_when_it_ends(pair: Pair) -> None:
    wait_stored(pair.consumer, send_events(pair.standby, 20))
    assert set(pair.origins()) == {"a"}
    connected_to = pair.consumer.client.connected_url
    assert connected_to is not None
    common = {"nats": connected_to.netloc, "error": "", "owners": {"pbx1": "a"}, "problems": {"pbx1": ""}}
    for daemon, name in ((pair.owner, "a"), (pair.standby, "b")):
        report = {**common, "instance": name}
        eventually(lambda daemon=daemon, report=report: bus_report(daemon) == report, f"status of {name}")  # type: ignore[misc]
    pair.owner.stop()
    print(f"\ntaken over {pair.wait_taken_over(TTL_S):.2f} s after the owner's end")


def test_the_standby_takes_over_when_the_owner_dies(pair: Pair) -> None:
    sent = send_events(pair.standby, 5)
    wait_stored(pair.consumer, sent)
    send_signal(pids(pair.owner), signal.SIGKILL)
    seconds = pair.wait_taken_over()
    print(f"\ntaken over {seconds:.2f} s after SIGKILL, TTL {TTL_S:g} s")
    assert seconds <= 1.5 * TTL_S + MARGIN_S
    sent += send_events(pair.standby, 5)
    wait_last(pair, sent)
    check_take_over(pair, sent)


def test_an_owner_that_was_suspended_and_continues_stores_nothing(pair: Pair) -> None:
    """It is suspended while events arrive, for longer than its lease, and continues with unsent
    groups."""
    sent = send_events(pair.standby, 5)
    wait_stored(pair.consumer, sent)
    suspended = pids(pair.owner)
    send_signal(suspended, signal.SIGSTOP)
    try:
        sent += send_events(pair.standby, 50)
        print(f"\ntaken over {pair.wait_taken_over():.2f} s after SIGSTOP and 50 events, TTL {TTL_S:g} s")
        sent += send_events(pair.standby, 50)
        wait_last(pair, sent)
    finally:
        send_signal(suspended[::-1], signal.SIGCONT)
    eventually(lambda: "b holds the lease; this amid is on standby" in pair.owner.log.read_text(), "a is on standby")
    sent += send_events(pair.standby, 20)
    wait_last(pair, sent)
    check_take_over(pair, sent)


def test_every_call_is_answered_once_nats_has_closed_the_connection_of_a_suspended_owner(
    daemon_for: StartDaemon, pbx: SimulatedPbx, own_nats: NatsServer
) -> None:
    """nats-server hands it about half of the calls until then. 2.9 does not ping a connection to
    which it sends calls, so there are none meanwhile."""
    own_nats.configuration = f'ping_interval: "{PING_S}s"\nping_max: 2'
    own_nats.start()
    with Consumer(own_nats.url) as consumer:
        pair = Pair(daemon_for, pbx, own_nats, consumer)
        wait_served(consumer)
        suspended = pids(pair.owner)
        send_signal(suspended, signal.SIGSTOP)
        try:
            eventually(lambda: answers_after_a_pause(consumer), "every call is answered", 30)
        finally:
            send_signal(suspended[::-1], signal.SIGCONT)
        eventually(lambda: "b holds the lease; this amid is on standby" in pair.owner.log.read_text(), "a has connected again")


def answers_after_a_pause(consumer: Consumer) -> bool:
    """Whether 20 calls are answered, after the time in which nats-server closes a silent connection."""
    time.sleep(4 * PING_S + MARGIN_S)
    return all("result" in consumer.request("amid.rpc.pbx1.ping", timeout=2.0) for _ in range(20))


@pytest.mark.newest_nats
def test_equal_names_are_reported(daemon_for: StartDaemon, pbx: SimulatedPbx, own_nats: NatsServer) -> None:
    own_nats.start()
    keys = nats_table(own_nats, lease_ttl=TTL_S, instance="a")
    both = [daemon_for({"pbx1": table(pbx)}, nats=keys) for _ in range(2)]
    words = "pbx1: two amids have the instance name a; set another instance in [nats] of one of them"
    eventually(lambda: any(words in daemon.log.read_text() for daemon in both), "equal names are reported")


@pytest.mark.newest_nats
def test_a_bucket_without_a_ttl_is_reported(daemon_for: StartDaemon, pbx: SimulatedPbx, own_nats: NatsServer) -> None:
    own_nats.start()
    with Consumer(own_nats.url) as consumer:

        async def make() -> None:
            await consumer.jetstream.create_key_value(bucket="amid-owners")

        consumer.run(make())
        daemon = daemon_for({"pbx1": table(pbx)}, nats=nats_table(own_nats, lease_ttl=TTL_S))
        eventually(lambda: "run nats stream edit KV_amid-owners --max-age 2s" in daemon.log.read_text(), "it is reported")
        wait_served(consumer)


def check_take_over(pair: Pair, sent: list[int]) -> None:
    """Each take-over begins with a gap and a greater epoch, and there are not more of them than leases
    that were taken: on a busy machine an owner that cannot renew its lease in time loses it, as it
    must. No event is stored twice, and all missing ones are in the gaps."""
    messages = pair.consumer.messages()
    runs = [[event for event, _ in run] for _, run in groupby(messages, lambda message: instance_of(message[1]))]
    taken = sum(daemon.log.read_text().count("pbx1: took the lease") for daemon in (pair.owner, pair.standby))
    assert 2 <= len(runs) <= taken
    stored = [event for run in runs for event in run]
    check_numbering(stored)
    assert gaps(stored) == [run[0] for run in runs[1:]]
    for before, (gap, *_) in pairwise(runs):
        assert gap["missed"] is None and gap["epoch"] > before[-1]["epoch"]
    for numbers in map(numbers_in, runs):
        assert not numbers or numbers == list(range(numbers[0], numbers[-1] + 1))
    numbers = numbers_in(stored)
    assert numbers[-1] == sent[-1] and all(one < another for one, another in pairwise(numbers))
    print(f"stored {len(numbers)} of {len(sent)}, in the gap {len(sent) - len(numbers)}")


def instance_of(headers: dict[str, str]) -> str:
    """The instance that stored a message."""
    return headers["Amid-Origin"].partition(" ")[2]
