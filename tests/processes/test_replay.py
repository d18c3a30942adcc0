"""A subscriber that lags catches up: 60,000 numbered events, pauses at random, and each event comes once and in order; or the gap
says exactly which are gone."""

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

EVENTS = 60_000
BURST = 15
"""Events in one read of the reader, and so in one message on the stream: 4,000 messages, of which ZeroMQ keeps some 1,500."""
BOUND_S = 30.0
"""Seconds without an event after which a test has failed."""

Item = Event | Gap
Collect = Callable[[Daemon, tuple[str, ...], random.Random], list[Item]]


@contextmanager
def bursting(daemon: Daemon) -> Iterator[None]:
    """The PBX emits all the events, as fast as they go, while the body of the `with` runs."""
    thread = threading.Thread(target=_burst, args=(daemon,))
    thread.start()
    try:
        yield
    finally:
        thread.join(BOUND_S)


def _burst(daemon: Daemon) -> None:
    """One after the other, or the reader would take several in one read."""
    with Caller(daemon) as caller:
        for _ in range(EVENTS // BURST):
            caller.result(caller.action("SimFault", {"Kind": "burst", "Count": BURST}, timeout=60))


def pause(chance: random.Random) -> None:
    """Do something else after an event: now and then, and then long enough to lose some."""
    if chance.random() < 5 / EVENTS:
        time.sleep(chance.uniform(0.3, 1.5))


def first_pause(daemon: Daemon) -> None:
    """Until more was published than ZeroMQ keeps for anyone."""
    eventually(lambda: daemon.server("pbx1")["seq"] > EVENTS * 0.8, "most events were published")


def last(item: Item) -> bool:
    return isinstance(item, Event) and item.event == "UserEvent" and item.nth == EVENTS


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
        said(stream.replayed, stream.missed)
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
            said(stream.replayed, stream.missed)
        return items

    return asyncio.run(collect())


def said(replayed: int, missed: int) -> None:
    print(f"\n{replayed} of {EVENTS} events were lost and fetched, {missed} are missing")
    assert replayed > 0, "nothing was lost, so nothing was tried"


def check(items: list[Item]) -> int:
    """That what came is in order and once, with a gap of the right size wherever something is missing; how many are missing."""
    seq, nth, missing = items[0].seq - 1 if isinstance(items[0], Event) else items[0].after, 0, 0
    for item in items:
        if isinstance(item, Gap):
            assert item.missed is not None and item.until is not None and item.after == seq and item.until > seq, item
            seq, nth, missing = item.until, nth + item.missed, missing + item.missed
            continue
        assert item.seq > seq, f"{item} after number {seq}"
        if item.event == "UserEvent":
            assert item.nth == nth + 1 and item["Number"] == str(nth % BURST + 1), f"{item} after the {nth}th"
            nth += 1
        seq = item.seq
    assert nth == EVENTS
    return missing


@pytest.mark.parametrize("collect", [blocking, aio])
@pytest.mark.parametrize("names", [(), ("UserEvent",)], ids=["stream", "names"])
def test_with_a_ring_that_holds_them_all_nothing_is_missing(
    daemon_for: StartDaemon, pbx: SimulatedPbx, collect: Collect, names: tuple[str, ...]
) -> None:
    daemon = daemon_for({"pbx1": table(pbx, replay_bytes=64 << 20)})
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    assert check(collect(daemon, names, random.Random(seed))) == 0


def test_with_a_small_ring_the_gap_is_exact(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, replay_bytes=1 << 20)})
    assert check(blocking(daemon, ("UserEvent",), random.Random(1))) > 0
    epoch = daemon.server("pbx1")["epoch"]
    data = daemon.request("replay", {"epoch": epoch, "after": 0})["error"]["data"]
    page = daemon.result("replay", {"epoch": epoch, "after": data["oldest"] - 1, "limit": 1})
    assert data["kind"] == "gone" and page["events"][0]["seq"] == data["oldest"] > 1


def test_when_the_reader_is_replaced_the_new_epoch_is_whole(daemon: Daemon, caller: Caller) -> None:
    """What the old reader held went with it: nobody knows how much that was. Of the new epoch nothing may be missing."""
    with Client(str(daemon.run_dir)) as client, client.events(gaps=True, timeout=BOUND_S) as stream:
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 10}))
        before = [next(stream) for _ in range(10)]
        daemon.kill("reader pbx1")
        eventually(lambda: daemon.processes()["reader pbx1"]["restarts"] == 1 and daemon.wait_up("pbx1"), "the new reader is up")
        caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 3}))
        after: list[Item] = []
        while not after or not isinstance(after[-1], Event) or after[-1].nth < 3 or after[-1].event != "UserEvent":
            after.append(next(stream))
    gap, *events = after
    assert isinstance(gap, Gap) and (gap.epoch, gap.until, gap.missed) == (before[0].epoch, None, None)
    assert all(isinstance(event, Event) for event in events)
    assert [event.seq for event in events if isinstance(event, Event)] == list(range(1, len(events) + 1))
