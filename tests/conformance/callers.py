"""Clients of amid as written in any language: ZeroMQ sockets, JSON or MessagePack, and no code of
amid.

`Dealer` has many open requests on one socket; `at_once` runs many callers with a REQ socket each.
Both measure each reply and reject unexpected or duplicate replies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import msgpack
import zmq

from tests.daemon import BOUND_S, Daemon

Map = dict[str, Any]


class Codec(NamedTuple):
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


CODECS = {"json": Codec(lambda value: json.dumps(value).encode(), json.loads), "msgpack": Codec(msgpack.packb, msgpack.unpackb)}


class Answered(NamedTuple):
    """A whole reply, and the seconds from its request to it."""

    reply: Map
    seconds: float

    @property
    def result(self) -> Any:
        assert "result" in self.reply, self.reply
        return self.reply["result"]

    @property
    def error(self) -> Map:
        assert "error" in self.reply, self.reply
        error: Map = self.reply["error"]
        return error

    @property
    def kind(self) -> str:
        """The error's kind, "ok" when there is none."""
        kind: str = self.error["data"]["kind"] if "error" in self.reply else "ok"
        return kind

    @property
    def sent(self) -> bool:
        """Whether Asterisk may have received the action."""
        return "error" not in self.reply or bool(self.error["data"]["sent"])


class Action(NamedTuple):
    """An action to send; `more` are further params: timeout, until."""

    name: str
    fields: Mapping[str, Any] = MappingProxyType({})
    more: Mapping[str, Any] = MappingProxyType({})

    @property
    def params(self) -> Map:
        return {"action": self.name, "fields": dict(self.fields), **self.more}


@dataclass
class Dealer:
    """A DEALER socket; `send` and `reply` use the caller's own request ids."""

    daemon: Daemon
    codec: str = "msgpack"
    replies: dict[Any, Answered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._socket = self.daemon.socket(zmq.DEALER)
        self._socket.set(zmq.SNDHWM, 0)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.connect(self.daemon.rpc)
        self._open: dict[Any, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    @property
    def open(self) -> int:
        return len(self._open)

    def send(self, request_id: Any, action: Action) -> None:
        self.request(request_id, "action", action.params)

    def request(self, request_id: Any, method: str, params: Map) -> None:
        self._open[request_id] = time.monotonic()
        body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self._socket.send_multipart([b"", CODECS[self.codec].pack(body)])

    def take(self, seconds: float) -> bool:
        """Receive replies for `seconds`, at least one; False when none arrived."""
        if not self._socket.poll(int(seconds * 1000)):
            return False
        while self._socket.poll(0):
            self._take()
        return True

    def _take(self) -> None:
        empty, body = self._socket.recv_multipart()
        reply = CODECS[self.codec].unpack(body)
        assert empty == b"" and reply["id"] in self._open, f"unexpected or duplicate reply {reply}"
        self.replies[reply["id"]] = Answered(reply, time.monotonic() - self._open.pop(reply["id"]))

    def reply(self, request_id: Any, bound: float = BOUND_S) -> Answered:
        """The reply to one request; replies to others are kept."""
        end = time.monotonic() + bound
        while request_id not in self.replies:
            assert self.take(max(0.0, end - time.monotonic())), f"no reply to {request_id} within {bound:g} s"
        return self.replies[request_id]

    def all(self, bound: float = BOUND_S) -> dict[Any, Answered]:
        """Every reply, once all have come."""
        end = time.monotonic() + bound
        while self._open:
            assert self.take(max(0.0, end - time.monotonic())), f"no reply to {list(self._open)} within {bound:g} s"
        return self.replies

    def carry_out(self, actions: Iterable[Action]) -> dict[Any, Answered]:
        """Run all actions, numbered from 0, with at most 500 open at once."""
        for number, action in enumerate(actions):
            while self.open >= 500:
                assert self.take(BOUND_S), "no reply to any of 500 requests"
            self.send(number, action)
        return self.all()


def at_once(daemon: Daemon, actions: Sequence[Action], bound: float = BOUND_S) -> list[Answered]:
    """As many callers as actions, each with a REQ socket; every other one speaks JSON. Their answers in the actions' order."""
    codecs = [CODECS["msgpack" if number % 2 else "json"] for number in range(len(actions))]
    sockets = [daemon.socket(zmq.REQ) for _ in actions]
    poller = zmq.Poller()
    began: list[float] = []
    answers: dict[int, Answered] = {}
    try:
        for number, (socket, codec, action) in enumerate(zip(sockets, codecs, actions, strict=True)):
            socket.connect(daemon.rpc)
            poller.register(socket, zmq.POLLIN)
            began.append(time.monotonic())
            socket.send(codec.pack({"id": number, "method": "action", "params": action.params}))
        place = {socket: number for number, socket in enumerate(sockets)}
        while len(answers) < len(actions):
            ready = poller.poll(int(bound * 1000))
            assert ready, f"{len(actions) - len(answers)} of {len(actions)} callers had no answer within {bound:g} s"
            for socket, _ in ready:
                number = place[socket]
                reply = codecs[number].unpack(socket.recv())
                assert reply["id"] == number
                answers[number] = Answered(reply, time.monotonic() - began[number])
                poller.unregister(socket)
    finally:
        for socket in sockets:
            socket.close()
    return [answers[number] for number in range(len(actions))]
