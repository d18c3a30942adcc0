"""The subscriptions to calls, with a stand-in for the connection to NATS."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from amid.bus import rpc_responder
from amid.bus.protocol.subjects import Subjects
from amid.bus.rpc_responder import RpcResponder


class Forwarder:
    def __init__(self) -> None:
        self.is_denied = False
        self.subscribed = 0

    async def subscribe(self, *_: object) -> Forwarder:
        self.subscribed += 1
        return self

    async def unsubscribe(self) -> None: ...


@pytest.mark.parametrize("is_denied", [False, True])
def test_a_refused_subscription_is_repeated(is_denied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS does not tell when the right to it is there."""
    monkeypatch.setattr(rpc_responder, "DENIED_S", 0.0)
    forwarder: Any = Forwarder()

    async def poll() -> None:
        states: Any = SimpleNamespace(is_up=lambda _: True, updated=asyncio.Event())
        callers: Any = {"": None}
        responder = asyncio.create_task(RpcResponder(forwarder, states, "pbx1", Subjects("amid"), callers).run())
        for _ in range(3):
            await asyncio.sleep(0)
            forwarder.is_denied = is_denied
            updated, states.updated = states.updated, asyncio.Event()
            updated.set()
            await asyncio.sleep(0)
        responder.cancel()
        await asyncio.gather(responder, return_exceptions=True)

    asyncio.run(poll())
    assert (forwarder.subscribed > 1) == is_denied
