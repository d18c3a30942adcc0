"""One server on one connection to NATS: its lease, and the tasks that run while it is held."""

from __future__ import annotations

import logging

from amid.bus.announcer import Announcer
from amid.bus.lease_keeper import LeaseKeeper, LeaseLost
from amid.bus.rpc_responder import RpcResponder
from amid.bus.stream_publisher import StreamPublisher
from amid.process.loop import run_together

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
        """Return when the lease is lost."""
        try:
            await run_together(self._lease.keep(), self._publisher.run(), self._responder.run(), self._announcer.run())
        except* LeaseLost:
            log.warning("%s: lost the lease; this amid is on standby", self._server)
