"""The states of the servers, polled from a broker that is not always there."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from amid.bus import server_states
from amid.bus.local_broker import LocalBroker
from amid.bus.server_states import ServerStates
from amid.errors import AmidError

FAILS = AmidError("unreachable", "the broker accepts no calls")
UP = [{"name": "pbx1", "state": "up"}]


class Broker:
    """Answers the polls in this order, and then no more."""

    def __init__(self, *answers: AmidError | list[dict[str, Any]]) -> None:
        self._answers = iter(answers)
        self.over = asyncio.Event()

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        match next(self._answers, None):
            case None:
                self.over.set()
                await asyncio.Event().wait()
            case AmidError() as error:
                raise error
            case answer:
                return answer


@pytest.mark.parametrize(("grace_s", "warnings"), [(60.0, 0), (0.0, 2)])
def test_only_a_broker_that_stays_away_is_worth_a_warning(
    grace_s: float, warnings: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first poll fails at nearly every start, because the broker starts with the bus."""
    monkeypatch.setattr(server_states, "POLL_S", 0.0)
    monkeypatch.setattr(server_states, "WITHIN_DAEMON_S", grace_s)

    async def poll() -> None:
        broker = Broker(FAILS, UP, FAILS, FAILS, UP)
        states = ServerStates(cast("LocalBroker", broker))
        running = asyncio.create_task(states.run())
        async with asyncio.timeout(10):
            await broker.over.wait()
        assert states.is_up("pbx1")
        running.cancel()

    asyncio.run(poll())
    assert caplog.text.count("servers: no states, retrying: the broker accepts no calls") == warnings
    assert caplog.text.count("servers: states resumed") == warnings
