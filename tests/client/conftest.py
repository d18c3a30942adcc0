"""A stand-in broker, and both clients under one name, so that each test runs on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amid import AsyncClient, Client
from tests.client.standin import StandIn

Run = Callable[..., Any]


@pytest.fixture
def daemon() -> Iterator[StandIn]:
    with StandIn() as daemon:
        yield daemon


def _blocking(run_dir: str | None, method: str, *args: Any, **kwargs: Any) -> Any:
    with Client(run_dir) as client:
        return getattr(client, method)(*args, **kwargs)


def _aio(run_dir: str | None, method: str, *args: Any, **kwargs: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient(run_dir) as client:
            return await getattr(client, method)(*args, **kwargs)

    return asyncio.run(call())


@pytest.fixture(params=[_blocking, _aio], ids=["blocking", "aio"])
def do(request: pytest.FixtureRequest) -> Run:
    """do(run_dir, method, ...): one call of a client of its own."""
    chosen: Run = request.param
    return chosen
