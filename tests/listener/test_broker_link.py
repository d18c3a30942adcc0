"""The listener's connection to the broker: requests and answers, and what happens when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amid import wire
from amid.errors import AmidError
from amid.listener import broker_link
from amid.listener.broker_link import RECONNECT_S, BrokerLink
from amid.rpc.zmtp import ZmtpProtocol, encode_frames
from tests.daemon import eventually
from tests.processes.on_loop import Loop


class Broker(asyncio.Protocol):
    """Takes connections. greets: whether it makes the handshake, or closes each connection at once."""

    def __init__(self, greets: bool) -> None:
        self.greets = greets
        self.transport: Any = None
        self.accepted: list[float] = []
        self.requests: list[dict[str, Any]] = []

    def connection_made(self, transport: Any) -> None:
        self.accepted.append(time.monotonic())
        self.transport = transport
        self.zmtp = ZmtpProtocol(10_000, 16)
        if self.greets:
            self._send_replies()
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        self.zmtp.feed(data)
        while (message := self.zmtp.next_message()) is not None:
            if message:
                delimiter, request = message
                assert delimiter == b""
                self.requests.append(wire.unpack(request))
        self._send_replies()

    def answer(self, reply: dict[str, Any]) -> None:
        self.transport.write(encode_frames([b"", wire.pack(reply)]))

    def _send_replies(self) -> None:
        self.transport.write(bytes(self.zmtp.to_send))
        self.zmtp.to_send.clear()


class Setting:
    def __init__(self, directory: Path, loop: Loop, greets: bool) -> None:
        self.loop = loop
        self.broker = Broker(greets)
        self.outcomes: list[tuple[Any, str | None, bool | None]] = []
        self.link = loop.run(self._make(str(directory)))

    async def _make(self, run_dir: str) -> BrokerLink:
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: self.broker, f"{run_dir}/{wire.RPC_SOCKET}")
        return BrokerLink(run_dir)

    def call(self, timeout_s: float = 5.0, **keys: Any) -> None:
        self.link.call("action", {"action": "Ping", "timeout": timeout_s}, self._note, **keys)

    def _note(self, result: Any, error: AmidError | None) -> None:
        self.outcomes.append((result, error.kind if error else None, error.sent if error else None))

    def call_when_connected(self, **keys: Any) -> None:
        """A call without a connection fails in the next pass."""

        def is_sent() -> bool:
            before = len(self.outcomes)
            self.call(**keys)
            self.loop.turn()
            return len(self.outcomes) == before

        eventually(is_sent, "the link is connected")
        self.outcomes.clear()

    def close(self) -> None:
        self._server.close()
        if self.broker.transport is not None:
            self.broker.transport.abort()
        self.loop.turn()


MakeSetting = Callable[[bool], Setting]


@pytest.fixture
def setting_for(tmp_path: Path) -> Iterator[MakeSetting]:
    """A link to a broker that greets, or does not."""
    made: list[Setting] = []
    with Loop() as loop:

        def make(greets: bool) -> Setting:
            made.append(Setting(tmp_path, loop, greets))
            return made[-1]

        yield make
        for setting in made:
            setting.close()


def test_a_call_is_answered(setting_for: MakeSetting) -> None:
    setting = setting_for(True)
    setting.call_when_connected(user="ami:crm")
    (request,) = setting.loop.eventually(lambda: setting.broker.requests, "the request")
    assert request == {"id": 1, "method": "action", "params": {"action": "Ping", "timeout": 5.0}, "on_behalf_of": "ami:crm"}
    setting.broker.answer({"id": 1, "result": {"packets": [b"Pong"]}})
    assert setting.loop.eventually(lambda: setting.outcomes, "the answer") == [({"packets": [b"Pong"]}, None, None)]


def test_open_calls_fail_when_the_broker_ends_and_the_next_one_is_found(setting_for: MakeSetting) -> None:
    setting = setting_for(True)
    setting.call_when_connected(acts=True)
    setting.call(acts=False)
    setting.loop.eventually(lambda: len(setting.broker.requests) == 2, "the requests")
    setting.broker.transport.abort()
    setting.loop.eventually(lambda: len(setting.outcomes) == 2, "both calls fail")
    assert setting.outcomes == [(None, "connection_lost", True), (None, "connection_lost", False)]
    setting.call_when_connected()


def test_a_call_fails_when_the_broker_drops_its_answer(setting_for: MakeSetting, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so if too many answers are unread (`max_unread_bytes`). A client without ActionIDs waited for ever."""
    monkeypatch.setattr(broker_link, "MARGIN_S", 0.02)
    setting = setting_for(True)
    setting.call_when_connected(acts=True)
    for timeout_s in (0.03, 0.01, 0.02):
        setting.call(timeout_s, acts=timeout_s < 0.03)
    setting.loop.eventually(lambda: len(setting.outcomes) == 3, "the calls fail")
    assert setting.outcomes == [(None, "timeout", True), (None, "timeout", True), (None, "timeout", False)]
    setting.broker.answer({"id": 2, "result": {}})  # too late
    setting.broker.answer({"id": 1, "result": {}})
    setting.loop.eventually(lambda: len(setting.outcomes) == 4, "the call with a longer timeout is answered")
    assert setting.outcomes[3] == ({}, None, None)


def test_a_call_without_a_broker_fails_when_it_has_returned(setting_for: MakeSetting) -> None:
    """A client's next action begins with the answer to the last one: many of them failed inside each other."""
    setting = setting_for(False)
    setting.call(acts=True)
    assert not setting.outcomes
    setting.loop.turn()
    assert setting.outcomes == [(None, "unreachable", False)]


def test_it_pauses_before_it_connects_again(setting_for: MakeSetting) -> None:
    setting = setting_for(False)
    setting.loop.eventually(lambda: len(setting.broker.accepted) >= 4, "more attempts")
    first, *_, fourth = setting.broker.accepted[:4]
    assert fourth - first >= 3 * RECONNECT_S * 0.9
