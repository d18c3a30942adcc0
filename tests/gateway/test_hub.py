"""Followers at their own pace: each gets every event once and in order, whatever it missed, or a gap that says what is gone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from amid.client import Event, Gap, recovery
from amid.client.rules import Call
from amid.errors import AmidError
from amid.gateway import hub
from amid.gateway.backlog import MAX_BYTES, MAX_ITEMS, Cursor, Item
from amid.gateway.hub import Follower, Hub
from tests.daemon import BOUND_S


def event(seq: int, epoch: int = 1, server: str = "pbx1") -> Event:
    return Event(server, epoch, seq, seq, 0.0, "X", {})


class Daemon:
    """What a hub asks of a client: past events, of which the first `gone` of each epoch are no longer held."""

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self.gone = 0
        self.asked = 0
        self.trouble: list[AmidError] = []
        self.fields: dict[str, Any] = {}

    async def servers(self) -> list[dict[str, Any]]:
        return [{"name": "pbx1", "epoch": epoch, "seq": seq} for epoch, seq in self.epochs.items()]

    async def call(self, call: Call) -> dict[str, Any]:
        server, epoch, after, limit = (call.params[name] for name in ("server", "epoch", "after", "limit"))
        self.asked += 1
        if self.trouble:
            raise self.trouble.pop()
        if epoch not in self.epochs:
            raise AmidError("gone", "no longer held")
        if after < self.gone:
            raise AmidError("gone", "no longer held", oldest=self.gone + 1)
        last = min(self.epochs[epoch], after + limit)
        events = [dataclasses.asdict(event(seq, epoch, server)) | {"fields": self.fields} for seq in range(after + 1, last + 1)]
        return {"events": events, "more": last < self.epochs[epoch]}


class World:
    """A hub on such a daemon. `publish` is what the daemon's stream brings."""

    def __init__(self) -> None:
        self.daemon = Daemon()
        self.hub = Hub(self.daemon)  # type: ignore[arg-type]
        self.hub.known.set()

    async def publish(self, count: int, epoch: int = 1) -> None:
        for _ in range(count):
            self.daemon.epochs[epoch] = seq = self.daemon.epochs.get(epoch, 0) + 1
            await self.hub.take(Item(event(seq, epoch)))

    async def got(self, follower: Follower) -> list[Any]:
        """What comes until nothing comes: events as (epoch, seq), gaps as (epoch, after, until)."""
        told: list[Any] = []
        async for item in follower.items(0.01):
            if item is None:
                return told
            of = item.of
            if isinstance(of, Gap) and of.server != "pbx1":
                told.append((of.server, of.epoch, of.after, of.until))
                continue
            told.append((of.epoch, of.after, of.until) if isinstance(of, Gap) else (of.epoch, of.seq))
        raise AssertionError("items end")


def runs(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test(World()))  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@runs
async def test_a_new_follower_gets_what_comes_from_now_on(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset(), None)
    await world.publish(2)
    assert await world.got(follower) == [(1, 4), (1, 5)]
    assert follower.cursors == {"pbx1": Cursor(1, 5)}
    assert world.daemon.asked == 0


@runs
async def test_one_that_connects_again_gets_what_it_missed_and_what_comes_meanwhile(world: World) -> None:
    await world.publish(1200)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 100)})
    await world.publish(5)
    assert await world.got(follower) == [(1, seq) for seq in range(101, 1206)]


@runs
async def test_one_that_does_not_keep_up_has_a_bounded_queue_and_loses_nothing(world: World) -> None:
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 0)})
    await world.publish(1)
    assert await world.got(follower) == [(1, 1)]
    await world.publish(3 * MAX_ITEMS)
    assert world.hub.backlog.end - world.hub.backlog.first == MAX_ITEMS
    assert await world.got(follower) == [(1, seq) for seq in range(2, 3 * MAX_ITEMS + 2)]


@runs
async def test_what_is_no_longer_held_is_a_gap_in_its_place(world: World) -> None:
    await world.publish(50)
    world.daemon.gone = 30
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 10)})
    assert await world.got(follower) == [(1, 10, 30), *((1, seq) for seq in range(31, 51))]


@runs
async def test_an_older_epoch_ends_with_a_gap_and_the_new_one_comes_from_its_beginning(world: World) -> None:
    await world.publish(5)
    await world.publish(3, epoch=2)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 4), (1, 5), (1, 5, None), (2, 1), (2, 2), (2, 3)]


@runs
async def test_an_epoch_that_is_forgotten_is_a_gap(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(4, 77)})
    assert await world.got(follower) == [(4, 77, None), (9, 1), (9, 2), (9, 3)]
    await world.publish(1, epoch=9)
    assert await world.got(follower) == [(9, 4)]


@runs
async def test_a_cursor_in_another_daemons_epoch_is_a_gap_and_not_silence(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(10, 1)})
    await world.publish(1, epoch=9)
    assert await world.got(follower) == [(10, 1, None), (9, 1), (9, 2), (9, 3), (9, 4)]


@runs
async def test_a_server_that_the_id_does_not_name_is_sent_from_its_beginning_after_a_gap(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset(), {"pbx2": Cursor(7, 2)})
    assert await world.got(follower) == [("pbx2", 7, 2, None), (0, 0, None), (1, 1), (1, 2), (1, 3)]


@runs
async def test_a_daemon_that_is_away_for_a_moment_is_asked_again(world: World) -> None:
    await world.publish(5)
    world.daemon.trouble = [AmidError("not_connected", "not now"), AmidError("unreachable", "not now")]
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 4), (1, 5)]


@runs
async def test_a_follower_from_before_a_servers_first_session_gets_all_of_it(world: World) -> None:
    """A gateway may be there before the readers are."""
    follower = world.hub.follower(frozenset(), None)
    world.daemon.epochs[1] = 3
    await world.hub.advance({"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 1), (1, 2), (1, 3)]


@runs
async def test_what_came_before_the_hub_read_is_fetched_before_what_it_reads(world: World) -> None:
    """`servers` may have said a moment ago where the server was."""
    world.daemon.epochs[1] = 5
    await world.hub.advance({"pbx1": Cursor(1, 3)})
    follower = world.hub.follower(frozenset(), None)
    await world.publish(2)
    assert await world.got(follower) == [(1, 4), (1, 5), (1, 6), (1, 7)]


@runs
async def test_a_gap_that_was_given_comes_once(world: World) -> None:
    await world.publish(5)
    follower = world.hub.follower(frozenset(), None)
    for _ in range(2):
        await world.hub.take(Item(Gap("pbx1", 1, 5, 8, 3, "no longer held")))
    assert await world.got(follower) == [(1, 5, 8)]


@runs
async def test_a_smaller_epoch_is_a_new_one(world: World) -> None:
    """The daemon has lost its state_dir, and its clock was set back. Browsers got no events until it had caught up."""
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), None)
    await world.hub.take(Item(Gap("pbx1", 9, 3, None, None, "the event session was replaced")))
    await world.publish(2, epoch=4)
    assert await world.got(follower) == [(9, 3, None), (4, 1), (4, 2)]


@runs
async def test_a_smaller_epoch_that_the_servers_report_is_a_new_one(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), None)
    world.daemon.epochs = {4: 2}
    await world.hub.advance({"pbx1": Cursor(4, 2)})
    assert await world.got(follower) == [(9, 3, None), (4, 1), (4, 2)]


@runs
async def test_what_the_subscription_brings_late_of_an_epoch_that_was_left_comes_once(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), None)
    world.daemon.epochs = {9: 4, 4: 2}
    await world.hub.advance({"pbx1": Cursor(4, 2)})
    await world.hub.take(Item(event(4, epoch=9)))
    await world.hub.take(Item(Gap("pbx1", 9, 4, None, None, "the event session was replaced")))
    await world.hub.advance({"pbx1": Cursor(9, 4)})
    assert await world.got(follower) == [(9, 4), (9, 4, None), (4, 1), (4, 2)]


@runs
async def test_an_epoch_without_events_is_one_gap(world: World) -> None:
    """Asterisk is down when a reader is replaced. Browsers got a gap each second."""
    await world.publish(3)
    follower = world.hub.follower(frozenset(), None)
    world.daemon.epochs = {2: 0}
    for _ in range(3):
        await world.hub.advance({"pbx1": Cursor(2, 0)})
    assert await world.got(follower) == [(1, 3, None)]
    await world.publish(1, epoch=2)
    assert await world.got(follower) == [(2, 1)]


@runs
async def test_an_epoch_whose_end_no_subscription_brought_ends_with_a_gap(world: World) -> None:
    """The hub subscribes again while a reader is replaced."""
    await world.publish(3)
    follower = world.hub.follower(frozenset(), None)
    world.daemon.epochs = {2: 1}
    await world.publish(1, epoch=2)
    assert await world.got(follower) == [(1, 3, None), (2, 1), (2, 2)]


@runs
async def test_only_the_servers_that_are_wanted(world: World) -> None:
    follower = world.hub.follower(frozenset({"pbx2"}), None)
    await world.publish(3)
    await world.hub.take(Item(event(1, server="pbx2")))
    assert await world.got(follower) == [(1, 1)] and set(follower.cursors) == {"pbx2"}


@runs
async def test_a_hub_that_lags_fetches_nothing_and_its_followers_neither(world: World) -> None:
    """The daemon has numbered 1,500 events that are in the hub's own queue; the hub comes to them, if late."""
    await world.publish(1)
    world.daemon.epochs[1] = 1500
    followers = [world.hub.follower(frozenset(), None) for _ in range(200)]
    checking = asyncio.create_task(world.hub._check())
    for seq in range(2, 1501):
        await world.hub.take(Item(event(seq)))
        if seq % 100 == 0:
            await asyncio.sleep(0.01)
    checking.cancel()
    for follower in followers:
        assert await world.got(follower) == [(1, seq) for seq in range(2, 1501)]
    assert world.daemon.asked == 0


@runs
async def test_what_no_subscription_brought_is_fetched_once_for_all_followers(world: World) -> None:
    await world.publish(1)
    world.daemon.epochs[1] = 40
    followers = [world.hub.follower(frozenset(), None) for _ in range(200)]
    checking = asyncio.create_task(world.hub._check())
    async with asyncio.timeout(BOUND_S):
        while world.hub.cursors["pbx1"].seq < 40:
            await asyncio.sleep(0.01)
    checking.cancel()
    await world.hub.take(Item(event(40)))  # the subscription brings it all the same
    for follower in followers:
        assert await world.got(follower) == [(1, seq) for seq in range(2, 41)]
    assert world.daemon.asked == 1


@runs
async def test_a_page_has_bounded_bytes(world: World) -> None:
    world.daemon.fields = {"Data": "x" * 100_000}
    await world.publish(30)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 0)})
    assert await world.got(follower) == [(1, seq) for seq in range(1, 31)]
    assert world.daemon.asked == 10


@runs
async def test_the_backlog_has_bounded_bytes(world: World) -> None:
    for seq in range(1, 301):
        await world.hub.take(Item(dataclasses.replace(event(seq), fields={"Data": ["x" * 50_000] * 2})))
    assert (world.hub.backlog.end - world.hub.backlog.first) * 100_000 <= MAX_BYTES


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No need to wait half a second for a daemon that is a list."""
    monkeypatch.setattr(recovery, "PAUSE_S", 0.001)
    monkeypatch.setattr(hub, "CHECK_S", 0.05)
