"""Events over HTTP: as Server-Sent Events (WHATWG HTML, section 9.2) and over a WebSocket (RFC 6455), with the same parameters.

Each item has an id, `SERVER:EPOCH:SEQ` for each server of the stream: where the stream is after it. A
browser that reconnects sends the last id and gets what it missed. An id is never refused, since a
browser would repeat it for ever. A server that is not in it, or not in a way that can be continued,
is sent from the beginning of what the daemon holds, after a gap.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Self

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from amid.client import Event
from amid.config import Gateway
from amid.errors import AmidError
from amid.events.where import Condition
from amid.gateway.access import Holder
from amid.gateway.backlog import Cursor, Cursors, Item
from amid.gateway.fields import decode_pairs
from amid.gateway.hub import Follower, Hub

CURSOR = re.compile(r"((?P<server>[A-Za-z0-9_-]{1,32}):)?(?P<epoch>[0-9]{1,18}):(?P<seq>[0-9]{1,18})")
PARAMETERS = ("server", "event", "where", "after")
MAX_CONDITIONS = 16

STILL_S = 5.0
"""Seconds after which a stream that has nothing to send sends its id, so that no proxy closes it and
the browser's id stays recent."""


@dataclass(frozen=True)
class Wanted:
    """What a stream is asked for: `server`, `event` and `where`, each as often as needed; nothing is everything.

    Names of events compare without case, and `events` are case-folded."""

    servers: frozenset[str]
    events: frozenset[str]
    conditions: tuple[Condition, ...]

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Raises `AmidError` of kind `invalid_params`."""
        unknown = set(query) - set(PARAMETERS)
        if unknown:
            raise AmidError("invalid_params", f"unknown parameter {min(unknown)[:60]!r}; there are {', '.join(PARAMETERS)}")
        where = query.getlist("where")
        if len(where) > MAX_CONDITIONS:
            raise AmidError("invalid_params", f"where: a stream has at most {MAX_CONDITIONS} conditions, not {len(where)}")
        try:
            conditions = tuple(map(Condition.of, where))
        except ValueError as error:
            raise AmidError("invalid_params", f"where: {error}") from None
        events = frozenset(name.casefold() for name in query.getlist("event"))
        return cls(frozenset(query.getlist("server")), events, conditions)

    def takes(self, item: Item, holder: Holder) -> bool:
        """A gap is for everybody: nobody knows what was in it."""
        event = item.of
        if not isinstance(event, Event):
            return True
        if self.events and event.event.casefold() not in self.events:
            return False
        return holder.hears(event.event) and all(condition.holds(item.headers) for condition in self.conditions)


def format_cursors(cursors: Cursors) -> str:
    """The id of a stream that is there."""
    return ",".join(f"{name}:{epoch}:{seq}" for name, (epoch, seq) in sorted(cursors.items()))


def parse_cursors(text: str, servers: Iterable[str]) -> dict[str, Cursor]:
    """The cursors of `servers` in an id. `EPOCH:SEQ` alone is of the only server. What cannot be read is left out."""
    names = list(servers)
    found = {}
    for part in text.split(","):
        match = CURSOR.fullmatch(part)
        name = match and (match["server"] or (names[0] if len(names) == 1 else None))
        if match and name in names:
            found[name] = Cursor(int(match["epoch"]), int(match["seq"]))
    return found


class Streams:
    """The event streams that are open. `limits` has how many may be, in all and of one token."""

    def __init__(self, hub: Hub, servers: list[str], limits: Gateway) -> None:
        self._hub = hub
        self._servers = servers
        self._limits = limits
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        return self._open.total()

    async def begin(self, connection: HTTPConnection, holder: Holder) -> Stream:
        """A stream for what the request asks; whoever gets it closes it. Raises `AmidError`."""
        wanted, last = self._asked(connection)
        self._reserve(holder)
        try:
            await self._hub.ready()
        except BaseException:
            self.release(holder)
            raise
        after = parse_cursors(last, wanted.servers or self._servers) if last else None
        return Stream(self, wanted, self._hub.follower(wanted.servers, after), holder)

    def _asked(self, connection: HTTPConnection) -> tuple[Wanted, str]:
        """What is wanted, and the id that the client has; "" when it has none."""
        query = QueryParams(decode_pairs(connection.scope["query_string"].decode("latin-1")))
        wanted = Wanted.of(query)
        if unknown := wanted.servers - set(self._servers):
            known = ", ".join(self._servers) or "none"
            raise AmidError("unknown_server", f"there is no server {min(unknown)[:60]!r}; the servers are {known}")
        return wanted, connection.headers.get("last-event-id") or query.get("after", "")

    def _reserve(self, holder: Holder) -> None:
        """Count the stream, before anything is waited for: of many that come at once, no more get through."""
        most, share = self._limits.max_streams, self._limits.max_streams_per_token
        if self.open >= most:
            raise AmidError("busy", f"{most} event streams are open already (max_streams in [gateway])")
        if self._open[holder.name] >= share:
            raise AmidError("busy", f"{holder.name!r} has {share} event streams open already (max_streams_per_token in [gateway])")
        self._open[holder.name] += 1

    def release(self, holder: Holder) -> None:
        self._open[holder.name] -= 1


class Stream:
    """One open event stream, until `close`."""

    def __init__(self, streams: Streams, wanted: Wanted, follower: Follower, holder: Holder) -> None:
        self._streams = streams
        self._wanted = wanted
        self._follower = follower
        self._holder = holder

    def close(self) -> None:
        self._streams.release(self._holder)

    async def lines(self) -> AsyncIterator[str]:
        """The body of a response of type text/event-stream."""
        yield f"retry: 1000\nid: {self._id}\n\n"
        async for item in self._items():
            if item is None:
                yield f": still here\nid: {self._id}\n\n"
            else:
                name = "" if isinstance(item.of, Event) else "event: gap\n"
                yield f"{name}id: {self._id}\ndata: {item.json}\n\n"

    async def serve(self, websocket: WebSocket) -> None:
        """Send to an accepted WebSocket until it is closed: `{"id": …, "event": {…}}` or `{"id": …, "gap": {…}}`."""
        try:
            async with asyncio.TaskGroup() as both:
                sending = both.create_task(self._send(websocket))
                while (await websocket.receive())["type"] != "websocket.disconnect":
                    pass  # nothing is expected but its end
                sending.cancel()
        except* WebSocketDisconnect:
            pass

    async def _send(self, websocket: WebSocket) -> None:
        async for item in self._items():
            where = json.dumps(self._id)
            if item is None:
                await websocket.send_text(f'{{"id": {where}}}')
            else:
                kind = "event" if isinstance(item.of, Event) else "gap"
                await websocket.send_text(f'{{"id": {where}, "{kind}": {item.json}}}')

    async def _items(self) -> AsyncIterator[Item | None]:
        """What is to be sent; None when there was nothing for `STILL_S`, whatever others got."""
        now = asyncio.get_running_loop().time
        sent_at = now()
        async for item in self._follower.items(STILL_S):
            taken = item is not None and self._wanted.takes(item, self._holder)
            if taken or now() >= sent_at + STILL_S:
                yield item if taken else None
                sent_at = now()

    @property
    def _id(self) -> str:
        return format_cursors(self._follower.cursors)


class EventStreamResponse(StreamingResponse):
    """Server-Sent Events. The stream is closed whatever becomes of the response, also when its body never begins."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._stream = stream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.close()
