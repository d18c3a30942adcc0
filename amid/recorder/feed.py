"""Events from the broker, by the method `events`. They stay packed: decoding them into maps and
packing those again would cost more CPU time than everything else in the recorder."""

from __future__ import annotations

import asyncio
import itertools

import msgspec
import zmq
import zmq.asyncio

from amid.client import protocol
from amid.client.curve import open_dealer
from amid.errors import AmidError
from amid.events.replay_buffer import Cursor
from amid.recorder.recording import Page
from amid.wire import RPC_SOCKET

PAGE_EVENTS = 10_000
"""Limit of events in one answer, which also ends after 1 MiB."""


class _Error(msgspec.Struct):
    message: str
    data: dict[str, str | bool]


class _Reply(msgspec.Struct):
    id: int
    result: Page | None = None
    error: _Error | None = None


_REPLY = msgspec.msgpack.Decoder(_Reply)


class Feed:
    """The events of one server."""

    def __init__(self, run_dir: str, server: str) -> None:
        self._endpoint = f"ipc://{run_dir}/{RPC_SOCKET}"
        self._server = server
        self._socket: zmq.asyncio.Socket | None = None
        self._ids = itertools.count(1)

    async def pull(self, after: Cursor | None, wait_s: float) -> Page:
        """The events after a cursor, or an empty page after `wait_s` seconds. Raises `AmidError`."""
        call = protocol.events(self._server, after and after._asdict(), [], PAGE_EVENTS, wait_s)
        if self._socket is None:
            self._socket = open_dealer(zmq.asyncio.Context.instance(), self._endpoint, None)
        request_id = next(self._ids)
        try:
            async with asyncio.timeout(protocol.HANDOVER_S):
                await self._socket.send_multipart(protocol.request(request_id, call))
        except TimeoutError:
            self.close()
            raise protocol.no_broker(self._endpoint) from None
        try:
            async with asyncio.timeout(call.client_timeout_s):
                reply = await self._reply(self._socket, request_id)
        except TimeoutError:
            self.close()
            raise protocol.no_answer(call, self._endpoint) from None
        if reply.result is None:
            error = reply.error
            raise AmidError(str(error.data.get("kind")), error.message) if error else AmidError("internal_error", "an empty reply")
        return reply.result

    async def _reply(self, socket: zmq.asyncio.Socket, request_id: int) -> _Reply:
        while True:
            reply = _REPLY.decode((await socket.recv_multipart())[-1])
            if reply.id == request_id:
                return reply

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
