"""A caller with many open requests, which can also send invalid messages."""

from __future__ import annotations

import itertools
import json
import time
from types import TracebackType
from typing import Any

import zmq

from amid import wire
from tests.daemon import BOUND_S, Daemon


class Caller:
    """A DEALER socket. `send` returns the id with which `reply` finds the reply; `raw` sends frames
    unchanged."""

    def __init__(self, daemon: Daemon, token: str | None = None) -> None:
        """token: call on behalf of this token, as the gateway does; each token is a caller with its
        own quotas."""
        self._members = {} if token is None else {"on_behalf_of": token}
        self.socket = daemon.socket(zmq.DEALER)
        self.socket.set(zmq.SNDHWM, 0)
        self.socket.connect(daemon.rpc)
        self._numbers = itertools.count(1)
        self._replies: dict[Any, dict[str, Any]] = {}

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(list(frames))

    def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        number = next(self._numbers)
        self.raw(b"", json.dumps({"id": number, "method": method, "params": params or {}, **self._members}).encode())
        return number

    def action(self, action: str, fields: dict[str, Any] | None = None, **params: Any) -> int:
        return self.send("action", {"action": action, "fields": fields or {}, **params})

    def next(self, bound: float = BOUND_S) -> dict[str, Any]:
        """The next reply to any request. Raises `TimeoutError`."""
        if not self.socket.poll(int(bound * 1000)):
            raise TimeoutError(f"no answer within {bound:g} s")
        body = self.socket.recv_multipart()[-1]
        reply: dict[str, Any] = json.loads(body) if wire.is_json(body) else wire.unpack(body)
        return reply

    def reply(self, number: int, bound: float = BOUND_S) -> dict[str, Any]:
        """The reply to one request; earlier replies to others are kept."""
        end = time.monotonic() + bound
        while number not in self._replies:
            reply = self.next(end - time.monotonic())
            assert reply["id"] not in self._replies, f"a second answer: {reply}"
            self._replies[reply["id"]] = reply
        return self._replies[number]

    def result(self, number: int) -> Any:
        reply = self.reply(number)
        assert "result" in reply, reply
        return reply["result"]

    def failure(self, number: int) -> tuple[str, bool]:
        """(kind, sent) of a reply that must be an error."""
        reply = self.reply(number)
        assert "error" in reply, reply
        data = reply["error"]["data"]
        return data["kind"], data["sent"]
