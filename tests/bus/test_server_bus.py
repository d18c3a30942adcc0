"""The tasks of one server, with stand-ins for its parts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amid.bus.lease_keeper import LeaseLost
from amid.bus.server_bus import ServerBus


class Lease:
    """Is lost as soon as it was taken, and is not given again."""

    taken = False

    async def acquire(self) -> None:
        if self.taken:
            await asyncio.Event().wait()
        self.taken = True

    async def keep(self) -> None:
        raise LeaseLost

    async def release(self) -> None: ...


class Part:
    """Cancels the bus when it ends."""

    bus: asyncio.Task[None]

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.bus.cancel()


def test_a_bus_whose_connection_ends_while_it_loses_the_lease_ends() -> None:
    """Both happen at once when a suspended process continues. Otherwise no other connection is opened."""

    async def end() -> None:
        lease: Any = Lease()
        part: Any = Part()
        part.bus = asyncio.create_task(ServerBus("pbx1", lease, part, part, part).run())
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(part.bus, 5)

    asyncio.run(end())


def test_an_unexpected_error_of_a_part_ends_the_bus() -> None:
    class Broken(Part):
        async def run(self) -> None:
            raise ZeroDivisionError

    async def fail() -> None:
        lease: Any = Lease()
        part: Any = Broken()
        with pytest.raises(ExceptionGroup) as failed:
            await asyncio.wait_for(ServerBus("pbx1", lease, part, part, part).run(), 5)
        assert failed.value.subgroup(ZeroDivisionError)

    asyncio.run(fail())
