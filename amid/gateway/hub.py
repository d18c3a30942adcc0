"""Events for browsers: read from the daemon once, encoded once, and sent to each stream at its own pace.

The hub appends what it reads to one backlog, complete and in order; followers read from it. Events
that the subscription missed are fetched by the hub, once for all followers. A follower fetches only
what lies behind the backlog: it reconnected, or it is slow. What the daemon no longer holds is a
`Gap` in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

from amid.client import AsyncClient, Gap
from amid.errors import AmidError
from amid.gateway.backlog import Backlog, Cursor, Cursors, Item
from amid.gateway.replay import Replay

log = logging.getLogger("amid.gateway")

KNOWN_S = 5.0
"""Seconds that a new stream waits for the servers' cursors: it gets everything from its beginning on."""
CHECK_S = 1.0
"""Seconds between two comparisons with the cursors that the servers report."""
RETRY_S = 0.5
"""Seconds between two tries when the daemon does not answer."""
EPOCHS_REMEMBERED = 16
"""Epochs of a server that the hub has left, and of which the subscription may still bring something."""
MAX_RUN = 50
"""Items that a follower passes before other tasks run."""


class Hub:
    """`run` reads the events of all servers for ever; `follower` gives a place to read them from."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.replay = Replay(client)
        self.backlog = Backlog()
        self.cursors: dict[str, Cursor] = {}
        self._ended: set[str] = set()  # servers whose epoch has ended, with a gap, while the next one has not begun
        self._left: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=EPOCHS_REMEMBERED))
        self.known = asyncio.Event()
        self.news = asyncio.Event()
        self.events = 0
        self._appending = asyncio.Lock()

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
            await self.advance(_cursors(await self.client.servers()))
            self.known.set()
            async for item in stream:
                await self.take(Item(item))

    async def _check(self) -> None:
        """Look for events that the subscription did not bring: a server's first ones may be published
        before it is in effect.

        What a server reported a second ago is fetched when no event of it came in this second. When
        events came, the hub is only late, and the rest is in the subscription's queue.
        """
        reported: Cursors = {}
        while True:
            before = dict(self.cursors)
            await asyncio.sleep(CHECK_S)
            if self.known.is_set():
                await self.advance({name: at for name, at in reported.items() if self.cursors.get(name) == before.get(name)})
            reported = {}
            with contextlib.suppress(AmidError):
                reported = _cursors(await self.client.servers())

    async def advance(self, reported: Cursors) -> None:
        """Fetch what lies between the hub's cursors and these. At its start the hub takes them for its own."""
        for server, target in reported.items():
            async with self._appending:
                if not self.known.is_set():
                    self.cursors.setdefault(server, target)
                await self._fetch(server, target)

    async def take(self, item: Item) -> None:
        """An item of the subscription: append it, behind what is missing before it, unless it was fetched already."""
        async with self._appending:
            of, at_end = item.of, isinstance(item.of, Gap) and item.of.until is None and self._is_open_end(item)
            if at_end or self._is_new(of.server, item.cursor):
                await self._fetch(of.server, Cursor(of.epoch, of.after if isinstance(of, Gap) else of.seq - 1))
                self._append(item)

    def _is_new(self, server: str, cursor: Cursor) -> bool:
        """Whether the hub has yet to come to it. An epoch that it has not been in is a new one, also when it is smaller: the
        daemon may have lost its state_dir, and its clock may have been set back."""
        at = self.cursors.get(server)
        if at is None or at.epoch == cursor.epoch:
            return at is None or cursor.seq > at.seq
        return cursor.epoch not in self._left[server]

    def _is_open_end(self, gap: Item) -> bool:
        """Whether a gap at the end of an epoch lies right behind the last event that the hub has of it."""
        return gap.cursor == self.cursors.get(gap.of.server) and gap.of.server not in self._ended

    async def _fetch(self, server: str, target: Cursor) -> None:
        """Append what lies before `target`, if that is new. Whoever follows from before a server's first session gets all of it."""
        if not self._is_new(server, target):
            return
        at = self.cursors.get(server)
        if at is None or (server in self._ended and at.epoch != target.epoch):
            at = Cursor(target.epoch, 0)
        async for item in self.replay.between(server, at, target):
            self._append(item)
        self._move(server, target)

    def _append(self, item: Item) -> None:
        self.events += 1
        self._move(item.of.server, item.cursor)
        if isinstance(item.of, Gap) and item.of.until is None:
            self._ended.add(item.of.server)
        self.backlog.append(item)
        self.news.set()
        self.news = asyncio.Event()

    def _move(self, server: str, cursor: Cursor) -> None:
        at = self.cursors.get(server, cursor)
        if at.epoch != cursor.epoch:
            self._left[server].append(at.epoch)
            self._ended.discard(server)
        self.cursors[server] = cursor

    async def ready(self) -> None:
        """Wait for the servers' cursors. Raises `AmidError` of kind `unreachable`."""
        if not await _within(self.known.wait(), KNOWN_S):
            raise AmidError("unreachable", f"the daemon has not answered for {KNOWN_S:g} s; connect again")

    def follower(self, servers: frozenset[str], after: Cursors | None) -> Follower:
        """`servers`: those wanted, all when empty. after: where the stream was, for servers that are
        wanted; one that is missing there is sent from the beginning. None: all are sent from now on.
        """
        return Follower(self, servers, after)


class Follower:
    """One stream's place: iterate over `items`."""

    def __init__(self, hub: Hub, servers: frozenset[str], after: Cursors | None) -> None:
        self._hub = hub
        self._servers = servers
        self._index = hub.backlog.end
        now = {name: at for name, at in hub.cursors.items() if self._wants(name)}
        self._cursors = dict(now) if after is None else {**dict.fromkeys(now, Cursor(0, 0)), **after}
        self._behind = self._cursors != now

    @property
    def cursors(self) -> Cursors:
        """Where it is: behind what it has given, whether or not that was wanted."""
        return self._cursors

    async def items(self, wait: float) -> AsyncIterator[Item | None]:
        """Items as they come; None whenever `wait` seconds brought none."""
        loop = asyncio.get_running_loop()
        end, run = loop.time() + wait, 0
        async for item in self._all():
            if item is None and loop.time() < end and await _within(self._hub.news.wait(), end - loop.time()):
                continue
            yield item
            end, run = loop.time() + wait, run + 1
            if run % MAX_RUN == 0:
                await asyncio.sleep(0)

    async def _all(self) -> AsyncIterator[Item | None]:
        """Every wanted item; None whenever there is none."""
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
        """What came behind its cursors up to where the hub is now; what comes meanwhile is in the backlog."""
        self._behind = False
        self._index = self._hub.backlog.end
        for server in self._cursors.keys() - self._hub.cursors.keys():
            epoch, seq = self._cursors.pop(server)
            yield Item(Gap(server, epoch, seq, None, None, "the server has had no session since"))
        for server, target in dict(self._hub.cursors).items():
            if self._wants(server) and (at := self._cursors.get(server, Cursor(target.epoch, 0))) != target:
                async for item in self._hub.replay.between(server, at, target):
                    self._cursors[server] = item.cursor
                    yield item
                self._cursors[server] = target


def _cursors(listed: list[dict[str, Any]]) -> dict[str, Cursor]:
    """Of the servers that have had a session."""
    return {server["name"]: Cursor(server["epoch"], server["seq"]) for server in listed if server["epoch"]}


async def _within(waiting: Any, seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
