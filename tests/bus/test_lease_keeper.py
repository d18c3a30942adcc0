"""The lease of a server with a bucket that is a stand-in."""

from __future__ import annotations

import asyncio

import pytest

from amid.bus.lease_keeper import LeaseKeeper, LeaseLost


class Bucket:
    """Gives the lease, and answers no renewal."""

    async def create(self, server: str, value: bytes) -> int:
        return 1

    async def update(self, server: str, value: bytes, last: int) -> int:
        raise TimeoutError


async def no_bucket() -> None:
    raise TimeoutError


def test_an_instance_that_cannot_renew_its_lease_is_not_the_owner() -> None:
    """JetStream may have no leader while the connection continues, so `status` still shows the owner."""

    async def lose() -> None:
        keeper = LeaseKeeper(Bucket(), no_bucket, 0.2, "pbx1", "a")  # type: ignore[arg-type]
        assert keeper.owner == ""
        await keeper.acquire()
        assert keeper.owner == "a"
        with pytest.raises(LeaseLost):
            await keeper.keep()
        assert keeper.owner == ""

    asyncio.run(lose())
