"""One server on one connection to NATS: its lease, and the tasks that run while it is held."""

from __future__ import annotations

import asyncio
import logging

from amid.bus.announcer import Announcer
from amid.bus.lease_keeper import LeaseKeeper, LeaseLost
from amid.bus.rpc_responder import RpcResponder
from amid.bus.stream_publisher import StreamPublisher

log = logging.getLogger("amid.bus")


class ServerBus:
    def __init__(
        self, server: str, lease: LeaseKeeper, publisher: StreamPublisher, responder: RpcResponder, announcer: Announcer
    ) -> None:
        self._server = server
        self._lease = lease
        self._publisher = publisher
        self._responder = responder
        self._announcer = announcer

    async def run(self) -> None:
        """Run until cancelled, and release the lease then."""
        try:
            while True:
                await self._lease.acquire()
                log.info("%s: took the lease; this amid serves it on NATS", self._server)
                await self._serve()
        finally:
            await self._lease.release()

    async def _serve(self) -> None:
        """Return when the lease is lost.

        Not with a `TaskGroup`: before Python 3.13 it drops a cancellation that arrives while an error
        ends it, as when a suspended process continues without lease and connection.
        """
        parts = (self._lease.keep(), self._publisher.run(), self._responder.run(), self._announcer.run())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, LeaseLost):
                raise error
        log.warning("%s: lost the lease; this amid is on standby", self._server)
