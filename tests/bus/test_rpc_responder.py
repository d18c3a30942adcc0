"""The subscriptions to calls, with a stand-in for the connection to NATS."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest

from amid.bus import rpc_responder
from amid.bus.protocol.subjects import Subjects
from amid.bus.rpc_responder import RpcResponder
from amid.process.loop import clock


class Forwarder:
    def __init__(self) -> None:
        self.denied_at = -math.inf
        self.subscribed = 0

    async def subscribe(self, *_: object) -> Forwarder:
        self.subscribed += 1
        return self

    async def unsubscribe(self) -> None: ...


def subscribed(denied: list[bool], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a responder subscribes while it is polled. denied: whether NATS refuses before each poll."""
    monkeypatch.setattr(rpc_responder, "DENIED_S", 0.0)
    forwarder: Any = Forwarder()

    async def poll() -> None:
        states: Any = SimpleNamespace(is_up=lambda _: True, updated=asyncio.Event())
        callers: Any = {"": None}
        responder = asyncio.create_task(RpcResponder(forwarder, states, "pbx1", Subjects("amid"), callers).run())
        for is_denied in denied:
            await asyncio.sleep(0)
            if is_denied:
                forwarder.denied_at = clock.monotonic()
            updated, states.updated = states.updated, asyncio.Event()
            updated.set()
            await asyncio.sleep(0)
        responder.cancel()
        await asyncio.gather(responder, return_exceptions=True)

    asyncio.run(poll())
    return int(forwarder.subscribed)


@pytest.mark.parametrize("is_denied", [False, True])
def test_a_refused_subscription_is_repeated(is_denied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS does not tell when the right to it is there."""
    assert (subscribed([is_denied] * 3, monkeypatch) > 1) == is_denied


def test_a_subscription_that_is_accepted_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was, every 30 seconds, once NATS had refused one: calls in between had no responder."""
    assert subscribed([True, False, False, False], monkeypatch) == 2
