"""Events over HTTP: as Server-Sent Events (WHATWG HTML, section 9.2) and over a WebSocket (RFC 6455), with the same parameters.

Each item bears where its stream is behind it, `EPOCH:SEQ`, or with several servers `SERVER:EPOCH:SEQ` for each. A browser that
connects again sends the last of them by itself, and gets what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect

from amid.client import Event
from amid.errors import AmidError
from amid.events.where import Condition
from amid.gateway.access import Holder
from amid.gateway.authentication import SESSION_PARAMETER
from amid.gateway.hub import Follower, Hub, Item, Position, Positions

PLACE = re.compile(r"((?P<server>[A-Za-z0-9_-]{1,32}):)?(?P<epoch>[0-9]{1,18}):(?P<seq>[0-9]{1,18})")

STILL_S = 5.0
"""Seconds after which a quiet stream says that it is there, and where."""


@dataclass(frozen=True)
class Wanted:
    """What a stream is asked for: `server`, `event` and `where`, each as often as needed; nothing is everything."""

    servers: frozenset[str]
    events: frozenset[str]
    conditions: tuple[Condition, ...]

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Raises `AmidError` of kind `invalid_params`."""
        unknown = set(query) - {"server", "event", "where", "after", SESSION_PARAMETER}
        if unknown:
            raise AmidError("invalid_params", f"unknown parameter {min(unknown)!r}; there are server, event, where and after")
        try:
            conditions = tuple(map(Condition.of, query.getlist("where")))
        except ValueError as error:
            raise AmidError("invalid_params", f"where: {error}") from None
        return cls(frozenset(query.getlist("server")), frozenset(query.getlist("event")), conditions)

    def takes(self, item: Item, holder: Holder) -> bool:
        """A gap is for everybody: nobody knows what was in it."""
        event = item.of
        if not isinstance(event, Event):
            return True
        if self.events and event.event not in self.events:
            return False
        return holder.hears(event.event) and all(condition.meets(event.fields) for condition in self.conditions)


def place(positions: Positions) -> str:
    """Where a stream is, as text."""
    if len(positions) == 1:
        ((epoch, seq),) = positions.values()
        return f"{epoch}:{seq}"
    return ",".join(f"{name}:{epoch}:{seq}" for name, (epoch, seq) in sorted(positions.items()))


def placed(text: str, servers: Iterable[str]) -> dict[str, Position]:
    """The positions in what `place` gave. Raises `AmidError` of kind `invalid_params`."""
    names = list(servers)
    found = {}
    for part in text.split(",") if text else ():
        match = PLACE.fullmatch(part)
        if match is None or (match["server"] is None and len(names) != 1):
            raise AmidError("invalid_params", f"{part[:80]!r} is no place in a stream: EPOCH:SEQ, or SERVER:EPOCH:SEQ with several")
        found[match["server"] or names[0]] = Position(int(match["epoch"]), int(match["seq"]))
    return {name: position for name, position in found.items() if name in names}


class Streams:
    """Every stream that is open; `most` may be."""

    def __init__(self, hub: Hub, servers: list[str], most: int) -> None:
        self._hub = hub
        self._servers = servers
        self._most = most
        self.open = 0

    async def begin(self, connection: HTTPConnection) -> tuple[Wanted, Follower]:
        """Check what a stream asks for. Raises `AmidError`."""
        wanted = Wanted.of(connection.query_params)
        if unknown := wanted.servers - set(self._servers):
            known = ", ".join(self._servers) or "none"
            raise AmidError("unknown_server", f"there is no server {min(unknown)[:60]!r}; the servers are {known}")
        if self.open >= self._most:
            raise AmidError("busy", f"{self._most} streams are open already (max_streams in [gateway])")
        await self._hub.ready()
        last = connection.headers.get("last-event-id") or connection.query_params.get("after", "")
        return wanted, self._hub.follower(wanted.servers, placed(last, wanted.servers or self._servers))

    async def events(self, wanted: Wanted, follower: Follower, holder: Holder) -> AsyncIterator[str]:
        """The body of a response of type text/event-stream."""
        with self._counted():
            async with follower:
                yield f"retry: 1000\nid: {place(follower.positions)}\n\n"
                async for item in follower.items(STILL_S):
                    if item is None:
                        yield f": still here\nid: {place(follower.positions)}\n\n"
                    elif wanted.takes(item, holder):
                        name = "" if isinstance(item.of, Event) else "event: gap\n"
                        yield f"{name}id: {place(follower.positions)}\ndata: {item.json}\n\n"

    async def socket(self, websocket: WebSocket, wanted: Wanted, follower: Follower, holder: Holder) -> None:
        """Send to an accepted WebSocket until it is closed: `{"id": …, "event": {…}}` or `{"id": …, "gap": {…}}`."""
        with self._counted():
            async with follower:
                try:
                    async with asyncio.TaskGroup() as both:
                        sending = both.create_task(self._send(websocket, wanted, follower, holder))
                        while (await websocket.receive())["type"] != "websocket.disconnect":
                            pass  # nothing is expected but its end
                        sending.cancel()
                except* WebSocketDisconnect:
                    pass

    async def _send(self, websocket: WebSocket, wanted: Wanted, follower: Follower, holder: Holder) -> None:
        async for item in follower.items(STILL_S):
            where = json.dumps(place(follower.positions))
            if item is None:
                await websocket.send_text(f'{{"id": {where}}}')
            elif wanted.takes(item, holder):
                kind = "event" if isinstance(item.of, Event) else "gap"
                await websocket.send_text(f'{{"id": {where}, "{kind}": {item.json}}}')

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1
