"""The bus's connection, with stand-ins for NATS and for the tasks on the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from amid.bus import bus as module
from amid.bus.bus import Bus
from amid.bus.connection import ConnectionLost
from amid.config.tables import Nats
from amid.process.settings import BusSettings


class Connection:
    """Is lost as soon as it is used."""

    server = "127.0.0.1:4222"
    last_error = ""
    client = jetstream = None

    def __init__(self, settings: Nats) -> None: ...

    async def open(self, name: str) -> None: ...

    async def watch(self) -> None:
        raise ConnectionLost("closed by the server")

    async def close(self) -> None: ...


class Daemon:
    """In place of the connections to the broker, which does not answer."""

    def __init__(self, *_: object) -> None: ...

    def report(self, body: dict[str, Any]) -> None: ...

    async def call(self, *_: object) -> None:
        await asyncio.Event().wait()


async def made(*_: Any) -> Any:
    async def status() -> Any:
        return SimpleNamespace(ttl=10.0)

    return SimpleNamespace(status=status)


@pytest.fixture
def make_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Bus]:
    """Without servers."""
    monkeypatch.setattr(module, "Connection", Connection)
    monkeypatch.setattr(module, "LocalBroker", Daemon)
    monkeypatch.setattr(module, "Service", Daemon)
    for name in ("open_bucket", "add_service", "subscribe_for_instance"):
        monkeypatch.setattr(module, name, made)
    settings = BusSettings(run_dir=str(tmp_path), log_level="info", servers=[], nats=Nats(), instance="test", callers={})
    return lambda: Bus(settings)


def test_a_bus_that_is_stopped_while_it_loses_its_connection_ends(
    make_bus: Callable[[], Bus], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it connects again, and the supervisor has to kill it."""

    tasks: list[asyncio.Task[None]] = []

    async def cancel_bus(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks[0].cancel()

    monkeypatch.setattr(Bus, "_send_replies", cancel_bus)

    async def end() -> None:
        tasks.append(asyncio.create_task(make_bus().run()))
        await asyncio.wait(tasks, timeout=5)
        assert tasks[0].cancelled()

    asyncio.run(end())
