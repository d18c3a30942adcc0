"""Requests to the broker on one connection of a DEALER, and their answers.

The broker answers every request before its deadline, with two exceptions. If it dies, all open calls
fail, because the next broker does not know them, and the link connects to that one. If too many
answers are unread (`max_unread_bytes`), it drops an answer, and the call fails here: an AMI client
that sends no ActionIDs would otherwise wait for ever, and get no later answer either.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import msgspec

from amid import wire
from amid.client.protocol import MARGIN_S, TIMEOUT
from amid.errors import AmidError
from amid.process.loop import Alarm, clock, start_task
from amid.rpc.deadlines import Deadlines
from amid.rpc.zmtp import Refused, ZmtpProtocol, encode_frames

log = logging.getLogger("amid.listener")

RECONNECT_S = 0.05
"""Time between attempts to connect to a broker."""
MAX_FRAMES = 2
"""Frames of an answer: the delimiter and the answer."""

OnReply = Callable[[Any, AmidError | None], object]
"""Takes the result, or None and the error."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class _OpenCall(NamedTuple):
    """A request without an answer yet. deadline: monotonic seconds."""

    call_id: int
    deadline: float
    acts: bool
    on_reply: OnReply


class BrokerLink(asyncio.Protocol):
    """Connects at once. It sends no request before the handshake with the broker has ended."""

    def __init__(self, run_dir: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = f"{run_dir}/{wire.RPC_SOCKET}"
        self._numbers = itertools.count(1)
        self._open: dict[int, _OpenCall] = {}
        self._deadlines = Deadlines(self._open)
        self._alarm = Alarm(self._loop, self._fail_overdue)
        self._transport: asyncio.Transport | None = None
        self._connecting = start_task(self._connect())

    def call(self, method: str, params: dict[str, Any], on_reply: OnReply, *, acts: bool = False, user: str | None = None) -> None:
        """Send a request; `on_reply` is called once, after this has returned.

        acts: whether it may change something, which decides `sent` if the broker dies. user: on
        whose behalf it is sent.
        """
        if self._transport is None or self._zmtp.identity is None:
            error = AmidError("unreachable", "cannot send a request to the broker: it is not connected")
            self._loop.call_soon(on_reply, None, error)  # not now: it may make the next call, and that one the next
            return
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": params}
        if user is not None:
            request["on_behalf_of"] = user
        deadline = clock.monotonic() + params.get("timeout", TIMEOUT) + MARGIN_S
        self._open[number] = call = _OpenCall(number, deadline, acts, on_reply)
        self._deadlines.add(call)
        self._alarm.set(deadline)
        self._transport.write(encode_frames([b"", _encode(request)]))

    async def _connect(self, delay_s: float = 0.0) -> None:
        while True:
            await asyncio.sleep(delay_s)
            try:
                await self._loop.create_unix_connection(lambda: self, self._path)
                return
            except OSError:
                delay_s = RECONNECT_S

    # ── asyncio.Protocol ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._zmtp = ZmtpProtocol(sys.maxsize, MAX_FRAMES, b"DEALER")
        self._send_replies()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._zmtp.feed(data)
        try:
            while (message := self._zmtp.next_message()) is not None:
                if message:
                    self._dispatch(message[-1])
        except Refused as refused:
            log.error("the broker broke the protocol: %s", refused)
            self._transport.abort()
        else:
            self._send_replies()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._connecting = start_task(self._connect(RECONNECT_S))
        lost = list(self._open.values())
        self._open.clear()
        if lost:
            log.warning("the broker disconnected; %d open calls failed", len(lost))
        for call in lost:
            call.on_reply(None, AmidError("connection_lost", "the broker ended before it answered", sent=call.acts))

    # ── answers ──

    def _send_replies(self) -> None:
        """Send what the protocol replies: its greeting, READY, and to heartbeats."""
        assert self._transport is not None
        if self._zmtp.to_send:
            self._transport.write(bytes(self._zmtp.to_send))
            self._zmtp.to_send.clear()

    def _dispatch(self, body: bytes) -> None:
        try:
            reply: dict[str, Any] = _decode(body)
        except (msgspec.MsgspecError, UnicodeError):  # text of a packet that is not UTF-8
            reply = wire.unpack(body)
        call = self._open.pop(reply.get("id", 0), None)
        if call is None:
            log.warning("ignored the broker's reply to an unknown request: %s", str(reply.get("error"))[:200])
        elif "result" in reply:
            call.on_reply(reply["result"], None)
        else:
            call.on_reply(None, AmidError.of(reply["error"]))

    def _fail_overdue(self) -> None:
        """Fail the calls whose answers the broker has dropped."""
        now = clock.monotonic()
        while (call := self._deadlines.pop_overdue(now)) is not None:
            del self._open[call.call_id]
            log.warning("the broker did not answer a request in time")
            call.on_reply(None, AmidError("timeout", "the broker did not answer in time", sent=call.acts))
        self._alarm.set(self._deadlines.first())
