"""Events for browsers: read from the daemon once, encoded once, and given to each follower at its own pace.

A follower has a queue of its own, with a bound. One that does not keep up loses its queue, not its place: it asks the daemon for
what came behind its position, as one does that connects again, and goes on. What the daemon no longer holds is a `Gap` there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from amid import wire
from amid.client import AsyncClient, Event, Gap, rules
from amid.client.feed import event as event_of
from amid.client.recovery import Recovery
from amid.errors import AmidError

log = logging.getLogger("amid.gateway")

QUEUE = 2000
"""Events that wait for one follower; more, and it fetches them from the daemon when it comes to them."""
KNOWN_S = 5.0
"""Seconds that a new stream waits until it is known where the servers are: it is to get all that comes from its beginning on."""
CHECK_S = 1.0
"""Seconds between two looks at where the servers say that they are."""
RETRY_S = 0.5
"""Seconds between two tries when the daemon is not there."""


class Position(NamedTuple):
    """An event's place in its server's stream."""

    epoch: int
    seq: int


Positions = Mapping[str, Position]


class Item:
    """An event or a gap on its way to all followers: `json` is made once, when the first one wants it."""

    def __init__(self, of: Event | Gap) -> None:
        self.of = of

    @property
    def position(self) -> Position:
        """Behind it a follower goes on."""
        if isinstance(self.of, Event):
            return Position(self.of.epoch, self.of.seq)
        return Position(self.of.epoch, self.of.after if self.of.until is None else self.of.until)

    def is_behind(self, position: Position) -> bool:
        """Whether one that is at `position` has not had it. At the end of an epoch, a gap lies right behind the last event."""
        return self.position > position or (isinstance(self.of, Gap) and self.of.until is None and self.position == position)

    def is_next(self, position: Position) -> bool:
        """Whether nothing lies between `position` and it."""
        epoch, seq = self.position
        return isinstance(self.of, Gap) or seq == (position.seq + 1 if epoch == position.epoch else 1)

    @cached_property
    def json(self) -> str:
        return wire.pack_json(dataclasses.asdict(self.of)).decode()


class Hub:
    """`run` reads the events of all servers for ever; `follower` is a place to take them from."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.positions: dict[str, Position] = {}
        self.known = asyncio.Event()
        self.followers: set[Follower] = set()
        self.events = 0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._check())
            while True:
                try:
                    await self._read()
                except AmidError as error:
                    log.warning("no events for browsers: %s", error.message)
                    await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        async with self.client.events(gaps=True) as stream:
            self._reached(_positions(await self.client.servers()))
            self.known.set()
            async for item in stream:
                self._give(Item(item))

    async def _check(self) -> None:
        """What a server had numbered at the last look, and did not come since, was published before the subscription to it was in
        effect, and would otherwise be missed only when the next event comes."""
        said: dict[str, Position] = {}
        while True:
            await asyncio.sleep(CHECK_S)
            self._reached(said)
            with contextlib.suppress(AmidError):
                said = _positions(await self.client.servers())

    def _reached(self, positions: Positions) -> None:
        """The servers are there, whatever came; followers who have had less fetch it."""
        ahead = {name: position for name, position in positions.items() if position > self.positions.get(name, Position(0, 0))}
        self.positions.update(ahead)
        for follower in self.followers if ahead else ():
            follower.look()

    def _give(self, item: Item) -> None:
        self.events += 1
        self.positions[item.of.server] = max(self.positions.get(item.of.server, item.position), item.position)
        for follower in self.followers:
            follower.take(item)

    async def ready(self) -> None:
        """Wait until it is known where the servers are. Raises `AmidError` of kind `unreachable`."""
        if not await _within(self.known.wait(), KNOWN_S):
            raise AmidError("unreachable", f"the daemon has not answered for {KNOWN_S:g} s; connect again")

    def follower(self, servers: frozenset[str], after: Positions) -> Follower:
        """`servers`: those wanted, all when empty. after: where it left off; of other servers it gets what comes from now on."""
        return Follower(self, servers, {**self.positions, **after})


class Follower:
    """`async with` it, and iterate over its items, for ever."""

    def __init__(self, hub: Hub, servers: frozenset[str], after: Positions) -> None:
        self._hub = hub
        self._servers = servers
        self._after = {name: position for name, position in after.items() if self._wants(name)}
        self._queue: deque[Item] = deque()
        self._came = asyncio.Event()
        self._behind = False

    async def __aenter__(self) -> Follower:
        self._hub.followers.add(self)
        now = {name: position for name, position in self._hub.positions.items() if self._wants(name)}
        self._behind = any(self._after.get(name) != position for name, position in now.items())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hub.followers.discard(self)

    @property
    def positions(self) -> Positions:
        """Where it is: behind what it has given, whether or not that was wanted."""
        return self._after

    def take(self, item: Item) -> None:
        """The hub has something new."""
        if not self._wants(item.of.server):
            return
        if len(self._queue) >= QUEUE:
            self._queue.clear()
            self._behind = True
        self._queue.append(item)
        self._came.set()

    def look(self) -> None:
        """The hub knows anew where the servers are."""
        self._behind = True
        self._came.set()

    async def items(self, wait: float) -> AsyncIterator[Item | None]:
        """Items as they come; None whenever `wait` seconds brought none."""
        while True:
            if self._behind:
                async for item in self._catch_up():
                    yield item
            while self._queue and not self._behind:
                async for item in self._in_order(self._queue.popleft()):
                    self._after[item.of.server] = item.position
                    yield item
            if not self._behind:
                self._came.clear()
                if not await _within(self._came.wait(), wait):
                    yield None

    def _wants(self, server: str) -> bool:
        return not self._servers or server in self._servers

    async def _in_order(self, item: Item) -> AsyncIterator[Item]:
        """The item, what it lies behind without having been given before it, or nothing if it was given already."""
        at = self._after.setdefault(item.of.server, Position(item.of.epoch, 0))
        if not item.is_behind(at):
            return
        if item.is_next(at):
            yield item
        else:
            async for missed in self._replayed(item.of.server, item.position):
                yield missed

    async def _catch_up(self) -> AsyncIterator[Item]:
        """What came behind its positions up to where the hub is now; what comes meanwhile is in the queue."""
        self._behind = False
        for server, target in dict(self._hub.positions).items():
            if self._wants(server) and self._after.setdefault(server, Position(target.epoch, 0)) != target:
                async for item in self._replayed(server, target):
                    self._after[server] = item.position
                    yield item

    async def _replayed(self, server: str, target: Position) -> AsyncIterator[Item]:
        """What lies behind its position up to `target`, with a gap in the place of what is gone."""
        at = self._after[server]
        if at.epoch > target.epoch:  # a place of another daemon, or of one whose clock went back: its end may never come
            yield Item(Gap(server, *target, None, None, "the place is not of this stream"))
            return
        async for event in self._fetched(_missing(server, at, target)):
            for gap in _missing(server, at, Position(event.epoch, event.seq - 1)):
                yield Item(gap)
            at = Position(event.epoch, event.seq)
            yield Item(event)
        for gap in _missing(server, at, target):
            yield Item(gap)

    async def _fetched(self, gaps: list[Gap]) -> AsyncIterator[Event]:
        """What the daemon still holds of it."""
        recovery = Recovery()
        recovery.begin(gaps)
        while (ask := recovery.ask) is not None:
            await asyncio.sleep(recovery.pause)
            try:
                page = await self._hub.client.call(rules.replay(*ask, rules.TIMEOUT))
            except AmidError as error:
                recovery.refused(error)
            else:
                for body in recovery.page(page["events"], page["more"]):
                    yield event_of(body)


def _missing(server: str, at: Position, until: Position) -> list[Gap]:
    """What lies between the two: nothing, a gap, or the unknown end of an epoch and the beginning of the other."""
    gaps = []
    if at.epoch < until.epoch:
        gaps.append(Gap(server, at.epoch, at.seq, None, None, "the event session was replaced"))
        at = Position(until.epoch, 0)
    if at < until:
        gaps.append(Gap(server, at.epoch, at.seq, until.seq, until.seq - at.seq, "no longer held"))
    return gaps


def _positions(listed: list[dict[str, Any]]) -> dict[str, Position]:
    """Of the servers that have had a session; who follows from before it has all of it coming."""
    return {server["name"]: Position(server["epoch"], server["seq"]) for server in listed if server["epoch"]}


async def _within(waiting: Any, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
