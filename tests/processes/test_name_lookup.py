"""Names whose name server does not answer, next to others."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from amid.process import name_lookup
from amid.process.name_lookup import look_up
from tests.daemon import BOUND_S
from tests.processes.on_loop import Loop

RETRIES = 2 * min(32, (os.cpu_count() or 1) + 4)
"""More than the threads that asyncio has for lookups."""

getaddrinfo = socket.getaddrinfo


def end_lookups() -> None:
    """Wait for the threads, so that no other test finds a lookup of the same name. They must be able to end."""
    for thread in threading.enumerate():
        if thread.name == name_lookup.THREAD:
            thread.join(BOUND_S)


class NameServer:
    """Does not answer for names under `silent` until it is set to work."""

    def __init__(self) -> None:
        self.works = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, *rest: Any, **keys: Any) -> Any:
        self.asked.append(host)
        if host.endswith("silent"):
            self.works.wait()
        return getaddrinfo("127.0.0.1" if host.endswith("silent") else host, port, *rest, **keys)

    async def until_end_of(self, scenario: Coroutine[Any, Any, None]) -> None:
        """The loop waits for asyncio's own threads when it closes."""
        try:
            await scenario
        finally:
            self.works.set()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(name_lookup, "LOOKUP_S", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.works.set()
    end_lookups()


async def fail(*hosts: str) -> None:
    results = await asyncio.gather(*(look_up(host, 5038) for host in hosts), return_exceptions=True)
    assert all(isinstance(one, socket.gaierror) and "was not resolved within 0.2 s" in str(one) for one in results)


@pytest.mark.parametrize("other", ["127.0.0.1", "::1", "localhost"])
def test_a_silent_name_server_delays_no_other_host(server: NameServer, other: str) -> None:
    """After some retries of one name, asyncio had no thread left for any other address."""

    async def scenario() -> None:
        for number in range(RETRIES // 4):
            await fail("one.silent", *(f"{name}-{number % 2}.silent" for name in range(4)))
        assert await look_up(other, 5038)

    with Loop() as loop:
        loop.run(server.until_end_of(scenario()))


def test_a_name_is_looked_up_once_at_a_time(server: NameServer) -> None:
    async def scenario() -> None:
        await fail("one.silent", "one.silent")
        await fail("one.silent")
        waiting = asyncio.gather(look_up("one.silent", 5038), look_up("one.silent", 5038))
        asyncio.get_running_loop().call_soon(server.works.set)
        first, second = await waiting
        assert first == second and first[0][4] == ("127.0.0.1", 5038)
        assert server.asked == ["one.silent"]
        await look_up("one.silent", 5038)
        assert server.asked == ["one.silent"] * 2

    with Loop() as loop:
        loop.run(server.until_end_of(scenario()))


def test_a_lookup_without_a_thread_fails_and_the_next_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of tasks is reached. A reader that connects again would end, and lose its events."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(socket.gaierror, match="localhost was not resolved: can't start new thread"):
                await look_up("localhost", 5038)
        assert await look_up("localhost", 5038)

    with Loop() as loop:
        loop.run(scenario())
    end_lookups()
