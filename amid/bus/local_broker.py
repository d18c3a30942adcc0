"""The daemon's own socket for calls: the bus's own calls, and those of callers on NATS.

The broker returns the frames before the empty delimiter of a request in front of its reply. So the
subject of the reply travels with the request, and the bus keeps no table of forwarded calls.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from amid import wire
from amid.bus.protocol.messages import Page
from amid.client.curve import open_dealer
from amid.client.protocol import MARGIN_S
from amid.errors import AmidError
from amid.process.socket_reader import SocketReader

OWN_PREFIX = b"\0"
"""First byte of the envelopes of the bus's own calls; no subject begins with it."""
MAX_ENVELOPE_BYTES = 1000
"""Maximum size of a reply subject; the broker accepts 1,024 bytes before the delimiter."""
RECEIVE_PER_PASS = 100
"""Messages received in one pass of the loop."""


class _PullReply(msgspec.Struct):
    result: Page | None = None
    error: dict[str, Any] | None = None


_DECODE_PULL = msgspec.msgpack.Decoder(_PullReply).decode


class LocalBroker:
    """Created on the running loop. `on_reply`: takes the envelope and the reply of a forwarded call."""

    def __init__(self, run_dir: str) -> None:
        self.on_reply: Callable[[str, bytes], object] = lambda envelope, reply: None
        self._socket: zmq.Socket[bytes] = open_dealer(zmq.Context.instance(), wire.ipc(run_dir, wire.RPC_SOCKET), None)
        self._reader = SocketReader(asyncio.get_running_loop(), self._socket, self._receive)
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(1)

    def forward(self, reply_to: str, request: bytes) -> None:
        """Send a request; `on_reply` gets its reply. Raises `AmidError` of kind `unreachable`, with
        `sent` false."""
        self._send(reply_to.encode(), request)

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        """The result of a call of the bus's own. Raises `AmidError`."""
        reply = wire.unpack(await self._request(method, params, timeout_s))
        if "error" in reply:
            raise AmidError.of(reply["error"])
        return reply["result"]

    async def pull(self, server: str, after: dict[str, int] | None, wait_s: float, limit: int) -> Page:
        """The events after the cursor `after`. Raises `AmidError`."""
        params = {"server": server, "after": after, "timeout": wait_s, "limit": limit}
        reply = _DECODE_PULL(await self._request("events", params, wait_s))
        if reply.result is None:
            raise AmidError.of(reply.error or {})
        return reply.result

    async def _request(self, method: str, params: dict[str, Any], timeout_s: float) -> bytes:
        envelope = OWN_PREFIX + b"%d" % next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[envelope] = answer
        limit_s = timeout_s + MARGIN_S
        try:
            self._send(envelope, wire.pack({"id": 1, "method": method, "params": params}))
            async with asyncio.timeout(limit_s):
                return await answer
        except TimeoutError:
            raise AmidError("timeout", f"no answer of the daemon to {method} within {limit_s:g} s; see `amid status`") from None
        finally:
            del self._waiting[envelope]

    def _send(self, envelope: bytes, request: bytes) -> None:
        try:
            self._socket.send_multipart([envelope, b"", request], zmq.DONTWAIT)
        except zmq.Again:
            raise AmidError("unreachable", "the broker of this daemon accepts no calls at the moment; retry") from None
        self._reader.check_soon()

    def _receive(self) -> bool:
        """Receive up to `RECEIVE_PER_PASS` messages. Return whether more may wait."""
        for _ in range(RECEIVE_PER_PASS):
            try:
                envelope, *_, reply = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            if not envelope.startswith(OWN_PREFIX):
                self.on_reply(envelope.decode(), reply)
            elif (answer := self._waiting.get(envelope)) is not None and not answer.done():
                answer.set_result(reply)
        return True
