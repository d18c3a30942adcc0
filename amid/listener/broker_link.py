"""Requests to the broker on one DEALER socket, and their answers.

The broker answers every request before its deadline, unless it dies. The socket's monitor reports
the disconnection, and all open calls fail, because the next broker does not know them. (zmq.asyncio,
which `AsyncClient` uses, costs half the throughput.)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from amid import wire
from amid.errors import AmidError
from amid.process.sending import send
from amid.process.socket_reader import SocketReader

log = logging.getLogger("amid.listener")

AT_ONCE = 100
"""Answers received in one pass of the loop."""

OnReply = Callable[[Any, AmidError | None], object]
"""Takes the result, or None and the error."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class BrokerLink:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: str) -> None:
        loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[bool, OnReply]] = {}
        self._socket = context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.IMMEDIATE, 1), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.RECONNECT_IVL_MAX, 500)):
            self._socket.set(option, value)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(wire.ipc(run_dir, wire.RPC_SOCKET))
        self._monitor_reader = SocketReader(loop, self._monitor, self._receive_disconnection)
        self._reader = SocketReader(loop, self._socket, self._receive)

    def call(self, method: str, params: dict[str, Any], on_reply: OnReply, *, acts: bool = False, user: str | None = None) -> None:
        """Send a request; `on_reply` is called once.

        acts: whether it may change something, which decides `sent` if the broker dies. user: on
        whose behalf it is sent.
        """
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": params}
        if user is not None:
            request["on_behalf_of"] = user
        try:
            send(self._socket, b"", _encode(request))
        except zmq.ZMQError as error:
            on_reply(None, AmidError("unreachable", f"cannot send a request to the broker: {error}"))
            return
        self._open[number] = acts, on_reply
        self._reader.check_soon()

    def _receive(self) -> bool:
        for _ in range(AT_ONCE):
            try:
                *_, body = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.ZMQError:
                return False
            self._dispatch(body)
        return True

    def _dispatch(self, body: bytes) -> None:
        try:
            reply: dict[str, Any] = _decode(body)
        except (msgspec.MsgspecError, UnicodeError):  # text of a packet that is not UTF-8
            reply = wire.unpack(body)
        _, on_reply = self._open.pop(reply.get("id", 0), (False, None))
        if on_reply is None:
            log.warning("ignored the broker's reply to an unknown request: %s", str(reply.get("error"))[:200])
        elif "result" in reply:
            on_reply(reply["result"], None)
        else:
            on_reply(None, AmidError.of(reply["error"]))

    def _receive_disconnection(self) -> bool:
        try:
            event = parse_monitor_message(self._monitor.recv_multipart(zmq.DONTWAIT))
        except zmq.ZMQError:
            return False
        if event["event"] == zmq.EVENT_DISCONNECTED and self._open:
            while self._receive():  # the answers that it sent before it ended
                pass
            log.warning("the broker disconnected; %d open calls failed", len(self._open))
            lost, self._open = self._open, {}
            for acts, on_reply in lost.values():
                on_reply(None, AmidError("connection_lost", "the broker ended before it answered", sent=acts))
        return True
