"""Events for browsers: pulled from the daemon once, encoded once, and delivered to each stream at
its own pace.

The hub appends all events in order to one backlog, from which followers read. A follower pulls
events itself only if they have left the backlog, because its stream reconnected or is slow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from amid.client import AsyncClient, Gap
from amid.client.event import WAIT_S, EventCursor
from amid.client.results import EventsPage
from amid.errors import AmidError
from amid.gateway.backlog import Backlog, Cursor, Cursors, Item
from amid.gateway.catch_up import CatchUp
from amid.outage import WITHIN_DAEMON_S, no_events

log = logging.getLogger("amid.gateway")

CURSORS_TIMEOUT_S = 5.0
"""Seconds that a new stream waits for the cursors of the servers, so that it misses no event after
its start."""
CHECK_S = 1.0
"""Seconds between two checks of the list of servers."""
MAX_ITEMS_PER_TURN = 50
"""Items that a follower yields before other tasks run."""


class Hub:
    """Pulls the events of all servers (`run`); `follower` creates a reader of them."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.catch_up = CatchUp(client)
        self.backlog = Backlog()
        self.cursors: dict[str, Cursor] = {}
        self.known = asyncio.Event()
        self.news = asyncio.Event()
        self.events = 0
        self._pulled: set[str] = set()
        self._untried: set[str] = set()

    async def run(self) -> None:
        outage = no_events(log, "browsers", WITHIN_DAEMON_S)
        async with asyncio.TaskGroup() as pulls:
            while True:
                try:
                    servers = {server["name"] for server in await self.client.servers()}
                except AmidError as error:
                    outage.failed(error.message)
                else:
                    outage.succeeded()
                    for server in servers - self._pulled:
                        pulls.create_task(self._pull(self._begin(server)))
                    self._note_tried("")
                await asyncio.sleep(CHECK_S)

    def _begin(self, server: str) -> EventCursor:
        """New events only; of a server that is added while streams may be open, all that are held."""
        self._pulled.add(server)
        cursor = EventCursor(server, (), WITHIN_DAEMON_S)
        if self.known.is_set():
            cursor.after = {"epoch": 0, "seq": 0}
        else:
            self._untried.add(server)
        return cursor

    async def _pull(self, cursor: EventCursor) -> None:
        """Pull events until the server is removed from the configuration."""
        server, wait_s = cursor.server, 0.0  # the first page gives the position at once
        while server in self._pulled:
            try:
                self.append(cursor, await self.client.call(cursor.request(wait_s)))
                wait_s = WAIT_S
            except AmidError as error:
                await self._pause(cursor, error)
            self._note_tried(server)

    async def _pause(self, cursor: EventCursor, error: AmidError) -> None:
        try:
            await asyncio.sleep(cursor.retry_after_s(error))
        except AmidError:
            log.warning("%s: no more events for browsers: %s", cursor.server, error.message)
            self._pulled.discard(cursor.server)
            self.cursors.pop(cursor.server, None)

    def _note_tried(self, server: str) -> None:
        self._untried.discard(server)
        if not self._untried:
            self.known.set()

    def append(self, cursor: EventCursor, page: EventsPage) -> None:
        """Append a page of a server's events, after a gap for missing ones."""
        self.cursors.setdefault(cursor.server, Cursor(page["epoch"], page["seq"]))
        for of in cursor.take(page):
            item = Item(of)
            self.events += 1
            self.cursors[cursor.server] = item.cursor
            self.backlog.append(item)
        self.cursors[cursor.server] = Cursor(page["epoch"], page["seq"])
        self.news.set()
        self.news = asyncio.Event()

    async def ready(self) -> None:
        """Wait until the cursors of all servers are known. Raises `AmidError` of kind `unreachable`."""
        if not await _within(self.known.wait(), CURSORS_TIMEOUT_S):
            raise AmidError("unreachable", f"the daemon did not answer within {CURSORS_TIMEOUT_S:g} s; reconnect later")

    def follower(self, servers: frozenset[str], after: Cursors | None) -> Follower:
        """A reader of events. servers: names of the servers, all if empty. after: the stream's
        cursors; a wanted server without a cursor is sent from the oldest event held. None: send new
        events only."""
        return Follower(self, servers, after)


class Follower:
    """The position of one stream; iterate over `items`."""

    def __init__(self, hub: Hub, servers: frozenset[str], after: Cursors | None) -> None:
        self._hub = hub
        self._servers = servers
        self._index = hub.backlog.end
        now = {name: at for name, at in hub.cursors.items() if self._wants(name)}
        self._cursors = dict(now) if after is None else {**dict.fromkeys(now, Cursor(0, 0)), **after}
        self._behind = self._cursors != now

    @property
    def cursors(self) -> Cursors:
        """The position after the last item yielded, whether or not it matched the stream's filter."""
        return self._cursors

    async def items(self, wait: float) -> AsyncIterator[Item | None]:
        """Items as they arrive; None when none has arrived for `wait` seconds."""
        loop = asyncio.get_running_loop()
        end, run = loop.time() + wait, 0
        async for item in self._all():
            if item is None and loop.time() < end and await _within(self._hub.news.wait(), end - loop.time()):
                continue
            yield item
            end, run = loop.time() + wait, run + 1
            if run % MAX_ITEMS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _all(self) -> AsyncIterator[Item | None]:
        """Every item of the wanted servers; None when there is none at present."""
        while True:
            if self._behind or self._index < self._hub.backlog.first:
                async for item in self._missed():
                    yield item
            elif self._index == self._hub.backlog.end:
                yield None
            else:
                item = self._hub.backlog[self._index]
                self._index += 1
                if self._wants(item.of.server):
                    self._cursors[item.of.server] = item.cursor
                    yield item

    def _wants(self, server: str) -> bool:
        return not self._servers or server in self._servers

    async def _missed(self) -> AsyncIterator[Item]:
        """The events between the stream's cursors and the hub's. Later events are in the backlog."""
        self._behind = False
        self._index = self._hub.backlog.end
        for server in self._cursors.keys() - self._hub.cursors.keys():
            epoch, seq = self._cursors.pop(server)
            yield Item(Gap(server, epoch, seq, None))
        for server, target in dict(self._hub.cursors).items():
            if self._wants(server) and (at := self._cursors.get(server, Cursor(target.epoch, 0))) != target:
                async for item in self._hub.catch_up.between(server, at, target):
                    self._cursors[server] = item.cursor
                    yield item
                self._cursors[server] = target


async def _within(waiting: Any, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
