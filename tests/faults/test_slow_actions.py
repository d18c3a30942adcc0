"""A slow action blocks no other call while a lane is free.

Two servers of one amid are the same Asterisk: `busy` has slow actions in flight, `idle` has none,
and Pings go to each in turn. Both meet the same noise of the machine, so the ratio of their medians
shows the cost of the slow actions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.asterisk.server import Asterisk
from tests.conformance.callers import Action, Dealer
from tests.conformance.pbx import of
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.faults.faults import row

pytestmark = pytest.mark.alone

LANES = 4
PAIRS = 300
RATIO = 2.0
COUNT = 3_000_000
"""Rows that SQLite counts for a Command: between half a second and two seconds, by the machine."""

COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<%d) SELECT count(*) FROM c"
ORIGINATE = Action("Originate", {"Channel": "Local/noanswer@calls", "Application": "Wait", "Timeout": 30_000}, {"timeout": 40})
WAIT_EVENT = Action("WaitEvent", {"Timeout": 30}, {"timeout": 40})
SEES = "A Ping beside it is answered as fast as alone: the ratio of the medians is under 2."

MakeAsterisk = Callable[[], Asterisk]


@pytest.fixture
def pair(own_asterisk: MakeAsterisk, daemon_for: StartDaemon) -> tuple[Asterisk, Daemon]:
    """All lanes are open already: a Ping that had to wait for a login would be slow, and a login ends a WaitEvent."""
    server = own_asterisk()
    daemon = daemon_for({name: {**of(server).table, "lanes": LANES} for name in ("busy", "idle")})
    with in_flight(daemon, *[ORIGINATE] * LANES) as dealer:
        hang_up(server)
        dealer.all()
    eventually(lambda: server.command("core show channels count").startswith("0 active channels"), "the calls are over")
    return server, daemon


@contextmanager
def in_flight(daemon: Daemon, *actions: Action) -> Iterator[Dealer]:
    """Send the actions to Asterisk through the busy server; yields the Dealer that gets their answers."""
    with Dealer(daemon) as dealer:
        for number, action in enumerate(actions):
            dealer.send(number, action._replace(more={**action.more, "server": "busy"}))
        eventually(lambda: daemon.server("busy")["lanes"]["busy"] == len(actions), f"{len(actions)} lanes are taken")
        yield dealer


def ping(daemon: Daemon, dealer: Dealer, server: str) -> float:
    """Seconds for a Ping."""
    number = f"ping-{time.monotonic()}"
    dealer.send(number, Action("Ping", {}, {"server": server}))
    answered = dealer.reply(number)
    assert answered.kind == "ok"
    return answered.seconds


def ratio(daemon: Daemon, going_on: Callable[[int], bool]) -> float:
    """How much longer a Ping takes on the busy server, by the medians of pairs for as long as `going_on`."""
    busy: list[float] = []
    idle: list[float] = []
    with Dealer(daemon) as dealer:
        while going_on(len(idle)):
            busy.append(ping(daemon, dealer, "busy"))
            idle.append(ping(daemon, dealer, "idle"))
    beside, alone = statistics.median(busy), statistics.median(idle)
    print(f"{len(idle)} pairs of Pings: {beside * 1e6:.0f} µs beside it, {alone * 1e6:.0f} µs alone, ratio {beside / alone:.2f}")
    return beside / alone


def hang_up(server: Asterisk) -> None:
    """End what the Originates wait for."""
    server.command("channel request hangup all")


@row("slow actions", "a synchronous Originate of 30 s in flight", SEES)
def test_originate(pair: tuple[Asterisk, Daemon]) -> None:
    server, daemon = pair
    with in_flight(daemon, ORIGINATE) as dealer:
        assert ratio(daemon, lambda count: count < PAIRS) < RATIO
        assert not dealer.take(0), "it is still in flight"
        hang_up(server)
        assert dealer.reply(0).kind == "action_failed"


@row("slow actions", "a WaitEvent in flight", SEES)
def test_wait_event(pair: tuple[Asterisk, Daemon]) -> None:
    _, daemon = pair
    with in_flight(daemon, WAIT_EVENT) as dealer:
        assert ratio(daemon, lambda count: count < PAIRS) < RATIO
        assert not dealer.take(0), "it is still in flight"
        daemon.action("UserEvent", {"UserEvent": "Enough"}, server="idle")
        assert dealer.reply(0).kind == "ok"


@row("slow actions", "a Command of 2 s in flight", SEES)
def test_command(pair: tuple[Asterisk, Daemon]) -> None:
    _, daemon = pair
    seconds = counting(daemon, COUNT)
    rows = int(COUNT * 2.0 / seconds)
    with in_flight(daemon, count_rows(rows)) as dealer:
        assert ratio(daemon, lambda count: not dealer.take(0)) < RATIO
        answered = dealer.reply(0)
    assert f"{rows}" in "".join(answered.result["output"])
    assert answered.seconds > 1.0, "it took its time"


def count_rows(count: int) -> Action:
    return Action("Command", {"Command": f'database query "{COUNTING % count}"'}, {"timeout": 30})


def counting(daemon: Daemon, count: int) -> float:
    with in_flight(daemon, count_rows(count)) as dealer:
        return dealer.reply(0).seconds


@row("slow actions", "as many as there are lanes, less one", SEES)
def test_every_lane_but_one(pair: tuple[Asterisk, Daemon]) -> None:
    server, daemon = pair
    with in_flight(daemon, *[ORIGINATE] * (LANES - 1)) as dealer:
        assert ratio(daemon, lambda count: count < PAIRS) < RATIO
        hang_up(server)
        assert [answered.kind for answered in dealer.all().values()] == ["action_failed"] * (LANES - 1)


@row(
    "slow actions",
    "as many as there are lanes",
    "A call waits until a lane is free; if that is later than its deadline, it ends with `timeout`, `sent: false`.",
)
def test_every_lane_is_taken(pair: tuple[Asterisk, Daemon]) -> None:
    server, daemon = pair
    with in_flight(daemon, *[ORIGINATE] * LANES) as dealer, Dealer(daemon) as waiting:
        waiting.send("short", Action("Ping", {}, {"server": "busy", "timeout": 0.5}))
        short = waiting.reply("short")
        assert (short.kind, short.sent) == ("timeout", False)
        waiting.send("long", Action("Ping", {}, {"server": "busy", "timeout": 30}))
        eventually(lambda: daemon.server("busy")["queued"] == 1, "it waits")
        hang_up(server)
        assert waiting.reply("long").kind == "ok"
        assert len(dealer.all()) == LANES
