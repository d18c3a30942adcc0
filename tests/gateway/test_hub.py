"""Followers receive every event once and in order at their own pace, or a gap for expired events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from amid.client import Gap, event
from amid.client.event import EventCursor
from amid.client.protocol import Call
from amid.errors import AmidError
from amid.events.replay_buffer import Cursor as Place
from amid.events.replay_buffer import ReplayBuffer
from amid.events.sequence import Sequencer
from amid.gateway import catch_up, hub
from amid.gateway.backlog import MAX_BYTES, MAX_ITEMS, Cursor
from amid.gateway.hub import Follower, Hub
from tests.daemon import BOUND_S


class Daemon:
    """The part of a client that a hub uses: the events of `pbx1`, of which a buffer holds some."""

    def __init__(self, held: int = 10**7) -> None:
        self.numbers = Sequencer(1)
        self.buffer = ReplayBuffer(held, self.numbers)
        self.asked = 0
        self.trouble: list[AmidError] = []
        self.hanging = 0
        self.fields: dict[str, Any] = {}

    async def servers(self) -> list[dict[str, Any]]:
        return [{"name": "pbx1"}]

    def publish(self, epoch: int) -> None:
        if epoch != self.numbers.epoch:
            self.numbers.new_epoch(epoch)
            self.numbers.epoch = epoch  # a smaller one too: its state was lost
        first, prevs = self.numbers.number(["X"])
        self.buffer.add(first, ["X"], prevs, 0.0, b"Event: X\r\n\r\n")

    async def call(self, call: Call) -> dict[str, Any]:
        params = call.params
        while not (page := self._page(params["server"], params.get("after"), 1000))["events"] and params["timeout"]:
            await asyncio.sleep(0.005)
        return page

    async def pull(self, server: str, after: dict[str, int], limit: int, timeout: float) -> dict[str, Any]:
        self.asked += 1
        if self.trouble:
            raise self.trouble.pop()
        if self.hanging:  # the broker answers in the reader's place
            self.hanging -= 1
            return {"server": server, **after, "events": [], "missed": 0, "more": False}
        try:
            return self._page(server, after, limit)
        except ValueError as error:
            raise AmidError("invalid_params", str(error)) from None

    def _page(self, server: str, after: dict[str, int] | None, limit: int) -> dict[str, Any]:
        if server != "pbx1":
            raise AmidError("unknown_server", "there is no such server")
        at, missed = self.buffer.cursor if after is None else Place(**after), 0
        page = self.buffer.read(at, limit)
        if not page.events and page.more:
            page, missed = self.buffer.read(page.cursor, limit), None  # type: ignore[assignment]
        at = page.cursor
        events = [self._event(at.epoch, seq) for seq in page.events.seqs]
        missed = None if missed is None else page.missed  # type: ignore[assignment]
        return {"server": server, **at._asdict(), "events": events, "missed": missed, "more": page.more}

    def _event(self, epoch: int, seq: int) -> dict[str, Any]:
        numbers = {"server": "pbx1", "epoch": epoch, "seq": seq, "prev": seq - 1}
        return {**numbers, "time": 0.0, "event": "X", "fields": self.fields}


class World:
    """A hub with such a daemon. `publish` adds events, which the hub pulls."""

    def __init__(self, held: int = 10**7) -> None:
        self.daemon = Daemon(held)
        self.hub = Hub(self.daemon)  # type: ignore[arg-type]
        self.hub.known.set()
        self.cursors: dict[str, EventCursor] = {}

    async def publish(self, count: int, epoch: int = 1) -> None:
        for _ in range(count):
            self.daemon.publish(epoch)
            await self.take()

    async def take(self) -> None:
        """Pull until no further event is available."""
        cursor = self.cursors.setdefault("pbx1", EventCursor("pbx1", ()))
        cursor.after = cursor.after or {"epoch": self.daemon.numbers.epoch, "seq": 0}
        while True:
            page: Any = await self.daemon.call(cursor.request(0.0))
            self.hub.append(cursor, page)
            if not page["more"]:
                return

    async def got(self, follower: Follower) -> list[Any]:
        """The items until none follows: events as (epoch, seq), gaps as (epoch, after, missed)."""
        told: list[Any] = []
        async for item in follower.items(0.01):
            if item is None:
                return told
            of = item.of
            if isinstance(of, Gap) and of.server != "pbx1":
                told.append((of.server, of.epoch, of.after, of.missed))
                continue
            told.append((of.epoch, of.after, of.missed) if isinstance(of, Gap) else (of.epoch, of.seq))
        raise AssertionError("items end")


def runs(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test(World()))  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@runs
async def test_a_new_follower_receives_new_events(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset(), None)
    await world.publish(2)
    assert await world.got(follower) == [(1, 4), (1, 5)]
    assert follower.cursors == {"pbx1": Cursor(1, 5)}
    assert world.daemon.asked == 0


@runs
async def test_a_reconnecting_follower_receives_missed_and_new_events(world: World) -> None:
    await world.publish(1200)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 100)})
    await world.publish(5)
    assert await world.got(follower) == [(1, seq) for seq in range(101, 1206)]


@runs
async def test_a_slow_follower_has_a_bounded_queue_and_loses_nothing(world: World) -> None:
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 0)})
    await world.publish(1)
    assert await world.got(follower) == [(1, 1)]
    await world.publish(3 * MAX_ITEMS)
    assert world.hub.backlog.end - world.hub.backlog.first == MAX_ITEMS
    assert await world.got(follower) == [(1, seq) for seq in range(2, 3 * MAX_ITEMS + 2)]


@runs
async def test_expired_events_are_a_gap_in_place(world: World) -> None:
    await world.publish(50)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 10)})
    world.daemon.buffer._max_bytes = world.daemon.buffer._bytes * 20 // 50
    await world.publish(1)
    assert await world.got(follower) == [(1, 10, 21), *((1, seq) for seq in range(32, 52))]


@runs
async def test_an_older_epoch_ends_with_a_gap_and_the_new_one_follows_from_its_start(world: World) -> None:
    await world.publish(5)
    await world.publish(3, epoch=2)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 4), (1, 5), (1, 5, None), (2, 1), (2, 2), (2, 3)]


@runs
async def test_a_forgotten_epoch_is_a_gap(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(4, 77)})
    assert await world.got(follower) == [(4, 77, None), (9, 1), (9, 2), (9, 3)]
    await world.publish(1, epoch=9)
    assert await world.got(follower) == [(9, 4)]


@runs
async def test_a_cursor_of_an_unknown_epoch_is_a_gap(world: World) -> None:
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(10, 1)})
    await world.publish(1, epoch=9)
    assert await world.got(follower) == [(10, 1, None), (9, 1), (9, 2), (9, 3), (9, 4)]


@runs
async def test_a_server_missing_in_the_id_is_sent_from_the_oldest_event_after_a_gap(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset(), {"pbx2": Cursor(7, 2)})
    assert await world.got(follower) == [("pbx2", 7, 2, None), (0, 0, None), (1, 1), (1, 2), (1, 3)]


@runs
async def test_a_server_that_is_added_is_sent_from_the_oldest_event_after_a_gap(world: World) -> None:
    for _ in range(3):
        world.daemon.publish(1)
    follower = world.hub.follower(frozenset(), None)
    following = asyncio.create_task(world.hub.run())
    async with asyncio.timeout(BOUND_S):
        while not world.hub.cursors:
            await world.hub.news.wait()
    assert await world.got(follower) == [(0, 0, None), (1, 1), (1, 2), (1, 3)]
    following.cancel()


@runs
async def test_an_unavailable_daemon_is_retried(world: World) -> None:
    await world.publish(5)
    world.daemon.trouble = [AmidError("not_connected", "not now"), AmidError("unreachable", "not now")]
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 4), (1, 5)]


@runs
async def test_a_hanging_reader_is_retried(world: World) -> None:
    """Its silence was reported as a gap."""
    await world.publish(5)
    world.daemon.hanging = 2
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 4), (1, 5)]


@runs
async def test_an_unavailable_reader_is_a_gap(world: World) -> None:
    await world.publish(5)
    world.daemon.hanging = 10**6
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 3)})
    assert await world.got(follower) == [(1, 3, 2)]


@runs
async def test_a_server_without_an_event_yet_does_not_delay_the_others(world: World) -> None:
    """The daemon would wait for its first one, again and again."""
    await world.take()
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(7, 3)})
    assert (await world.got(follower), world.daemon.asked) == ([(7, 3, None)], 0)


@runs
async def test_a_cursor_ahead_of_the_last_event_is_sent_from_the_oldest_one(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 999)})
    assert await world.got(follower) == [(0, 0, None), (1, 1), (1, 2), (1, 3)]


@runs
async def test_a_follower_older_than_the_first_session_receives_all_of_it(world: World) -> None:
    """The gateway may start before the readers."""
    follower = world.hub.follower(frozenset(), None)
    for _ in range(3):
        world.daemon.publish(1)
    await world.take()
    assert await world.got(follower) == [(1, 1), (1, 2), (1, 3)]


@runs
async def test_a_gap_of_the_hub_is_a_gap_for_followers(world: World) -> None:
    await world.publish(1)
    follower = world.hub.follower(frozenset(), None)
    world.daemon.buffer._max_bytes = world.daemon.buffer._bytes * 2
    for _ in range(5):
        world.daemon.publish(1)
    await world.take()
    assert await world.got(follower) == [(1, 1, 3), (1, 5), (1, 6)]


@runs
async def test_a_smaller_epoch_is_a_new_epoch(world: World) -> None:
    """The daemon has lost its state_dir, and its clock was set back. Browsers got no events until it had caught up."""
    await world.publish(3, epoch=9)
    follower = world.hub.follower(frozenset(), None)
    await world.publish(2, epoch=4)
    assert await world.got(follower) == [(9, 3, None), (4, 1), (4, 2)]


@runs
async def test_the_hub_pulls_each_server_until_it_is_removed(world: World) -> None:
    world.hub.known.clear()
    running = asyncio.create_task(world.hub.run())
    async with asyncio.timeout(BOUND_S):
        await world.hub.ready()
        follower = world.hub.follower(frozenset(), None)
        world.daemon.publish(1)
        assert await _next(follower) == (1, 1)
        world.daemon.call = _taken_out  # type: ignore[method-assign]
        world.daemon.publish(1)  # the answer to the request that is open
        while world.hub.cursors:
            await asyncio.sleep(0.01)
    running.cancel()


async def _taken_out(call: Call) -> dict[str, Any]:
    raise AmidError("unknown_server", "there is no such server")


async def _next(follower: Follower) -> tuple[int, int]:
    async for item in follower.items(0.1):
        if item is not None:
            assert not isinstance(item.of, Gap)
            return item.of.epoch, item.of.seq
    raise AssertionError("items end")


@runs
async def test_only_requested_servers_are_sent(world: World) -> None:
    await world.publish(3)
    follower = world.hub.follower(frozenset({"pbx2"}), None)
    await world.publish(3)
    assert await world.got(follower) == [] and not follower.cursors


@runs
async def test_a_page_has_bounded_bytes(world: World) -> None:
    world.daemon.fields = {"Data": "x" * 100_000}
    await world.publish(30)
    follower = world.hub.follower(frozenset(), {"pbx1": Cursor(1, 0)})
    assert await world.got(follower) == [(1, seq) for seq in range(1, 31)]
    assert world.daemon.asked == 10


@runs
async def test_the_backlog_has_bounded_bytes(world: World) -> None:
    world.daemon.fields = {"Data": ["x" * 50_000] * 2}
    await world.publish(300)
    assert (world.hub.backlog.end - world.hub.backlog.first) * 100_000 <= MAX_BYTES


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait half a second for a daemon in memory."""
    monkeypatch.setattr(event, "PAUSE_S", 0.001)
    monkeypatch.setattr(catch_up, "PAUSE_S", 0.001)
    monkeypatch.setattr(hub, "CHECK_S", 0.05)
