"""The live state over HTTP as Server-Sent Events: the whole state first, then its changes.

`event: state` has the result of the method `state`, and `event: change` one change. After a loss of
changes, the whole state is sent again, so a client replaces its state at each `state` and merges
each `change`. A stream has no ids: a browser that reconnects begins with the whole state. `event:
away` reports that a server has no state now, and why; the next `state` of the server ends that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.datastructures import QueryParams

from amid import wire
from amid.client import AsyncClient
from amid.client.view import View
from amid.errors import AmidError, configured_servers, unknown_server
from amid.gateway.fields import check_parameters

PARAMETERS = ("server", "kinds")
ALL = "*"
"""Value of `server` for all servers."""
RETRY_S = 10.0
"""Seconds until the next request after an error that is not temporary."""
HEARTBEAT_S = 5.0
"""Seconds after which an idle stream sends a comment, so that proxies keep it open."""
PIECE_BYTES = 64 * 1024
"""A larger message is sent in pieces, so that a client that does not read has one copy of it in memory."""


class Position(View):
    """A view without `things`: of 10,000 channels, the copy of each stream had 17 MB."""

    def _load(self, state: dict[str, Any]) -> None:
        pass

    def _merge(self, change: dict[str, Any]) -> None:
        pass


def parse_views(query: QueryParams, servers: list[str]) -> list[View]:
    """The views of the state that a query asks for, one for each server. `server` and `kinds` may be
    repeated; `server` may be left out if there is one, and `*` means all.

    Raises `AmidError` of kind `invalid_params` or `unknown_server`.
    """
    check_parameters(query, PARAMETERS)
    wanted = list(dict.fromkeys(name for name in query.getlist("server") if name))
    if not wanted and len(servers) != 1:
        raise AmidError("invalid_params", f"`server` is required, `*` for all servers; {configured_servers(servers)}")
    if not wanted or ALL in wanted:
        wanted = servers
    if absent := [name for name in wanted if name not in servers]:
        raise unknown_server(absent[0], servers)
    kinds = list(dict.fromkeys(query.getlist("kinds"))) or None
    for kind in kinds or ():
        if kind not in wire.STATE_KINDS and kind not in wire.STATE_KINDS.values():
            all_kinds = ", ".join(wire.STATE_KINDS.values())
            raise AmidError("invalid_params", f"kinds: there is no kind {kind[:60]!r}; the kinds are {all_kinds}")
    return [Position(name, kinds) for name in wanted]


class StateStream:
    """An open stream; call `close` at its end.

    Each server has one open request. The next one is sent after the changes of the last one, so a
    slow client receives fewer and larger answers, and nothing accumulates for it.
    """

    def __init__(self, client: AsyncClient, views: list[View], close: Callable[[], object]) -> None:
        self._client = client
        self._servers = [_ServerStream(view) for view in views]
        self.close = close

    async def lines(self) -> AsyncIterator[bytes]:
        """The body of a text/event-stream response."""
        yield b"retry: 1000\n\n"
        requests = {asyncio.ensure_future(server.request(self._client)): server for server in self._servers}
        try:
            while True:
                done, _ = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    server = requests.pop(task)
                    for message in task.result():
                        for start in range(0, len(message), PIECE_BYTES):
                            yield message[start : start + PIECE_BYTES]
                    requests[asyncio.ensure_future(server.request(self._client))] = server
        finally:
            for task in requests:
                task.cancel()


class _ServerStream:
    """One server of a stream."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._pause_s = 0.0
        self._reported = ""  # the message of the last `away`; "" if the server has a state

    async def request(self, client: AsyncClient) -> list[bytes]:
        """Request the state or its next changes. Returns what the stream sends for it."""
        await asyncio.sleep(self._pause_s)
        self._pause_s = 0.0
        call = self._view.request(HEARTBEAT_S)
        try:
            answer = await client.call(call)
        except AmidError as error:
            return [self._format_error(error)]
        changes = list(self._view.take(answer))
        if call.method == "state":
            self._reported = ""
            return [_event("state", answer)]
        return [_event("change", change) for change in changes] or [b": still here\n\n"]

    def _format_error(self, error: AmidError) -> bytes:
        """An `away`, or a comment while the same error repeats."""
        try:
            self._pause_s = self._view.refused(error)
        except AmidError:
            self._pause_s = RETRY_S
        if self._reported == error.message:
            return f": no state: {error.kind}\n\n".encode()
        self._reported = error.message
        return _event("away", {"server": self._view.server, "kind": error.kind, "detail": error.message})


def _event(name: str, value: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), wire.pack_json(value))
