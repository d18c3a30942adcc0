"""Events over HTTP: as Server-Sent Events (WHATWG HTML, section 9.2) and over a WebSocket (RFC
6455), with the same parameters.

Each item has an id with `SERVER:EPOCH:SEQ` for each server: the position of the stream after the
item. A browser that reconnects sends the last id and receives the events that it missed. An id is
never refused, because the browser would repeat it indefinitely. A server that is missing in the id,
or whose position is invalid, is sent from the oldest event that the daemon holds, after a gap.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from amid.client import AsyncClient, Event
from amid.config.tables import Gateway
from amid.errors import AmidError, unknown_server
from amid.events.where import MAX_CONDITIONS, Condition
from amid.gateway.access import Principal
from amid.gateway.backlog import Cursor, Cursors, Item
from amid.gateway.fields import check_parameters, decode_pairs
from amid.gateway.hub import Follower, Hub
from amid.gateway.state_stream import StateStream, parse_views

CURSOR = re.compile(r"((?P<server>[A-Za-z0-9_-]{1,32}):)?(?P<epoch>[0-9]{1,18}):(?P<seq>[0-9]{1,18})")
PARAMETERS = ("server", "event", "where", "after")

HEARTBEAT_S = 5.0
"""Seconds after which an idle stream sends its id, so that proxies keep it open and the browser's
id stays recent."""


@dataclass(frozen=True)
class StreamFilter:
    """The parameters of a stream: `server`, `event` and `where`, each repeatable. Without
    parameters it has all events.

    Event names compare without case; `events` are case-folded.
    """

    servers: frozenset[str]
    events: frozenset[str]
    conditions: tuple[Condition, ...]

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Parse a query string. Raises `AmidError` of kind `invalid_params`."""
        check_parameters(query, PARAMETERS)
        where = query.getlist("where")
        if len(where) > MAX_CONDITIONS:
            raise AmidError("invalid_params", f"where: a stream has at most {MAX_CONDITIONS} conditions, not {len(where)}")
        try:
            conditions = tuple(map(Condition.of, where))
        except ValueError as error:
            raise AmidError("invalid_params", f"where: {error}") from None
        events = frozenset(name.casefold() for name in query.getlist("event"))
        return cls(frozenset(query.getlist("server")), events, conditions)

    def matches(self, item: Item, principal: Principal) -> bool:
        """Whether an item is sent. A gap is always sent, because its events are unknown."""
        event = item.of
        if not isinstance(event, Event):
            return True
        if self.events and event.event.casefold() not in self.events:
            return False
        return principal.may_receive(event.event) and all(condition.holds(item.headers) for condition in self.conditions)


def format_cursors(cursors: Cursors) -> str:
    """The id of a stream at these cursors."""
    return ",".join(f"{name}:{epoch}:{seq}" for name, (epoch, seq) in sorted(cursors.items()))


def parse_cursors(text: str, servers: Iterable[str]) -> dict[str, Cursor]:
    """Parse an id into cursors of `servers`. `EPOCH:SEQ` alone applies to the only server. Invalid
    parts are ignored."""
    names = list(servers)
    found = {}
    for part in text.split(","):
        match = CURSOR.fullmatch(part)
        name = match and (match["server"] or (names[0] if len(names) == 1 else None))
        if match and name in names:
            found[name] = Cursor(int(match["epoch"]), int(match["seq"]))
    return found


class Streams:
    """The open event streams. `limits` has their maximum, in all and per token."""

    def __init__(self, hub: Hub, servers: list[str], limits: Gateway) -> None:
        self._hub = hub
        self._servers = servers
        self._limits = limits
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        return self._open.total()

    async def begin(self, connection: HTTPConnection, principal: Principal) -> Stream:
        """Open a stream for a request; the caller must close it. Raises `AmidError`."""
        wanted, last = self._parse_request(connection)
        if wanted.events and not any(map(principal.may_receive, wanted.events)):
            names, advice = ", ".join(sorted(wanted.events))[:200], f"see events_allow and events_deny in {principal.table}"
            raise AmidError("denied", f"{principal.name!r} may not receive events named {names} ({advice})")
        self._reserve(principal)
        try:
            await self._hub.ready()
        except BaseException:
            self.release(principal)
            raise
        after = parse_cursors(last, wanted.servers or self._servers) if last else None
        return Stream(self, wanted, self._hub.follower(wanted.servers, after), principal)

    def begin_state(self, connection: HTTPConnection, principal: Principal, client: AsyncClient) -> StateStream:
        """Open a stream of the live state for a request; the caller must close it. Raises `AmidError`."""
        principal.check_state()
        views = parse_views(_query(connection), self._servers)
        self._reserve(principal)
        return StateStream(client, views, partial(self.release, principal))

    def _parse_request(self, connection: HTTPConnection) -> tuple[StreamFilter, str]:
        """The filter, and the id of the last item that the client received, "" if none."""
        query = _query(connection)
        wanted = StreamFilter.of(query)
        if unknown := wanted.servers - set(self._servers):
            raise unknown_server(min(unknown), self._servers)
        return wanted, connection.headers.get("last-event-id") or query.get("after", "")

    def _reserve(self, principal: Principal) -> None:
        """Count the stream before anything is awaited, so that simultaneous requests cannot exceed
        the limit."""
        most, share = self._limits.max_streams, self._limits.max_streams_per_token
        if self.open >= most:
            raise AmidError("busy", f"{most} event streams are open, the maximum (max_streams in [gateway])")
        if self._open[principal.name] >= share:
            raise AmidError(
                "busy", f"{principal.name!r} has {share} open event streams, the maximum (max_streams_per_token in [gateway])"
            )
        self._open[principal.name] += 1

    def release(self, principal: Principal) -> None:
        self._open[principal.name] -= 1


def _query(connection: HTTPConnection) -> QueryParams:
    """The query of a request. Raises `AmidError` for an unencoded plus sign (see `fields`)."""
    return QueryParams(decode_pairs(connection.scope["query_string"].decode("latin-1")))


class Stream:
    """An open event stream; call `close` at its end."""

    def __init__(self, streams: Streams, wanted: StreamFilter, follower: Follower, principal: Principal) -> None:
        self._streams = streams
        self._filter = wanted
        self._follower = follower
        self._principal = principal

    def close(self) -> None:
        self._streams.release(self._principal)

    async def lines(self) -> AsyncIterator[str]:
        """The body of a text/event-stream response."""
        yield f"retry: 1000\nid: {self._id}\n\n"
        async for item in self._items():
            if item is None:
                yield f": still here\nid: {self._id}\n\n"
            else:
                name = "" if isinstance(item.of, Event) else "event: gap\n"
                yield f"{name}id: {self._id}\ndata: {item.json}\n\n"

    async def serve(self, websocket: WebSocket) -> None:
        """Send items to an accepted WebSocket until it closes: `{"id": …, "event": {…}}` or `{"id":
        …, "gap": {…}}`."""
        try:
            async with asyncio.TaskGroup() as both:
                sending = both.create_task(self._send(websocket))
                while (await websocket.receive())["type"] != "websocket.disconnect":
                    pass  # only the close is expected
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
        """The items to send; None when nothing was sent for `HEARTBEAT_S`."""
        now = asyncio.get_running_loop().time
        sent_at = now()
        async for item in self._follower.items(HEARTBEAT_S):
            taken = item is not None and self._filter.matches(item, self._principal)
            if taken or now() >= sent_at + HEARTBEAT_S:
                yield item if taken else None
                sent_at = now()

    @property
    def _id(self) -> str:
        return format_cursors(self._follower.cursors)


class EventStreamResponse(StreamingResponse):
    """A Server-Sent Events response. Its stream is closed in every case, even if the body never
    starts."""

    def __init__(self, stream: Stream | StateStream) -> None:
        super().__init__(stream.lines(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._stream = stream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:  # this process ends, and the stream with it
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._stream.close()
