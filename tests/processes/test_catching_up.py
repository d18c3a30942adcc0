"""A slow program catches up: 12,000 numbered events, random pauses; each event arrives once and in
order, or a gap has the exact number of missing events."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from amid.client import AsyncClient, Client, Event, Gap
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import table

EVENTS = 12_000
BURST = 15
"""Events in one read of the reader."""
BOUND_S = 30.0
"""Seconds without an event after which a test has failed."""

Item = Event | Gap
Collect = Callable[[Daemon, tuple[str, ...], random.Random], list[Item]]


@contextmanager
def bursting(daemon: Daemon) -> Iterator[None]:
    """The PBX emits all events as fast as possible while the body of the `with` runs."""
    thread = threading.Thread(target=_burst, args=(daemon,))
    thread.start()
    try:
        yield
    finally:
        thread.join(BOUND_S)


def _burst(daemon: Daemon) -> None:
    """One after the other; otherwise the reader would receive several in one read."""
    with Caller(daemon) as caller:
        for _ in range(EVENTS // BURST):
            caller.result(caller.action("SimFault", {"Kind": "burst", "Count": BURST}, timeout=60))


def pause(chance: random.Random) -> None:
    """Pause after an event: sometimes, and then long enough to lose events."""
    if chance.random() < 5 / EVENTS:
        time.sleep(chance.uniform(0.3, 1.5))


def first_pause(daemon: Daemon) -> None:
    """Until most of them are in the past."""
    eventually(lambda: daemon.server("pbx1")["seq"] > EVENTS * 0.8, "most events were published")


def last(item: Item) -> bool:
    return isinstance(item, Event) and item.event == "UserEvent" and item.seq >= EVENTS and item["Number"] == str(BURST)


def blocking(daemon: Daemon, names: tuple[str, ...], chance: random.Random) -> list[Item]:
    """Every event and gap of the bursts, as the blocking client gives them to one who pauses."""
    items: list[Item] = []
    with Client(str(daemon.run_dir)) as client, client.events(*names, gaps=True, timeout=BOUND_S) as stream, bursting(daemon):
        first_pause(daemon)
        for item in stream:
            items.append(item)
            if last(item):
                break
            pause(chance)
        print(f"\n{stream.missed} of {EVENTS} events are missing")
    return items


def aio(daemon: Daemon, names: tuple[str, ...], chance: random.Random) -> list[Item]:
    """The same with the asyncio client."""

    async def collect() -> list[Item]:
        items: list[Item] = []
        run_dir = str(daemon.run_dir)
        async with AsyncClient(run_dir) as client, client.events(*names, gaps=True, timeout=BOUND_S) as stream:
            with bursting(daemon):
                first_pause(daemon)  # stops the whole loop, as a busy program does
                async for item in stream:
                    items.append(item)
                    if last(item):
                        break
                    pause(chance)
            print(f"\n{stream.missed} of {EVENTS} events are missing")
        return items

    return asyncio.run(collect())


def check(items: list[Item], total: int) -> int:
    """Check that events are in order and unique, with a gap of the right size for missing ones;
    return the number of missing events.

    total: number of the last event.
    """
    seq, missing = items[0].seq - 1 if isinstance(items[0], Event) else items[0].after, 0
    for item in items:
        if isinstance(item, Gap):
            assert item.missed and item.after == seq, item
            seq, missing = seq + item.missed, missing + item.missed
            continue
        assert item.seq == seq + 1, f"{item} after number {seq}"
        seq = item.seq
    assert seq == total
    return missing


@pytest.mark.parametrize("collect", [blocking, aio])
@pytest.mark.parametrize("names", [(), ("UserEvent",)], ids=["stream", "names"])
def test_with_a_large_buffer_no_event_is_missing(
    daemon_for: StartDaemon, pbx: SimulatedPbx, collect: Collect, names: tuple[str, ...]
) -> None:
    daemon = daemon_for({"pbx1": table(pbx, replay_bytes=64 << 20)})
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    items = collect(daemon, names, random.Random(seed))
    if names:
        assert [item["Number"] for item in items if isinstance(item, Event)] == [str(n % BURST + 1) for n in range(EVENTS)]
        assert len(items) == EVENTS
    else:
        assert check(items, daemon.server("pbx1")["seq"]) == 0


def test_with_a_small_buffer_the_gap_is_exact(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, replay_bytes=1 << 18)})
    items = blocking(daemon, (), random.Random(1))
    assert check(items, daemon.server("pbx1")["seq"]) > 0
    epoch = daemon.server("pbx1")["epoch"]
    page = daemon.result("events", {"after": {"epoch": epoch, "seq": 0}, "limit": 1, "timeout": 0})
    assert page["missed"] == page["events"][0]["seq"] - 1 > 0


def test_after_a_killed_broker_events_resume_without_loss(daemon: Daemon, caller: Caller) -> None:
    """The program's open request is never answered. The program waited 26 s for it."""
    with Client(str(daemon.run_dir)) as client, client.events("UserEvent", gaps=True, timeout=BOUND_S) as stream:
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 3}))
        assert [next(stream) for _ in range(3)]
        stream._timeout = 0.2
        with pytest.raises(TimeoutError):
            next(stream)  # so that its next request is with the broker
        stream._timeout = BOUND_S
        daemon.kill("broker")
        eventually(lambda: daemon.wait_up("pbx1"), "the new broker has its reader")
        daemon.action("UserEvent", {"UserEvent": "after"})
        began = time.monotonic()
        event = next(stream)
        assert isinstance(event, Event) and event["UserEvent"] == "after"
        assert time.monotonic() - began < 10
        assert (stream.missed, stream.gaps) == (0, 0)


def test_after_a_replaced_reader_the_new_epoch_is_complete(daemon: Daemon, caller: Caller) -> None:
    """The old reader's events are lost, in unknown number. No event of the new epoch may be missing."""
    with Client(str(daemon.run_dir)) as client, client.events(gaps=True, timeout=BOUND_S) as stream:
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 10}))
        before = [next(stream) for _ in range(10)]
        daemon.kill("reader pbx1")
        eventually(lambda: daemon.processes()["reader pbx1"]["restarts"] == 1 and daemon.wait_up("pbx1"), "the new reader is up")
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 3}))
        after: list[Item] = []
        while not after or not isinstance(after[-1], Event) or after[-1].get("Number") != "3":
            after.append(next(stream))
    gap, *events = after
    assert isinstance(gap, Gap) and (gap.epoch, gap.missed) == (before[0].epoch, None)
    assert all(isinstance(event, Event) for event in events)
    assert [event.seq for event in events if isinstance(event, Event)] == list(range(1, len(events) + 1))
