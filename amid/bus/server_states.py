"""The states of the servers, polled from the daemon once a second for all tasks of the bus."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from amid.bus.local_broker import LocalBroker
from amid.errors import AmidError
from amid.outage import WITHIN_DAEMON_S, Outage

log = logging.getLogger("amid.bus")

POLL_S = 1.0


class ServerStates:
    """views: the results of the method `servers`, by name; empty while the daemon does not answer.
    updated: set, and replaced by a new event, after each poll."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker
        self.views: dict[str, dict[str, Any]] = {}
        self.updated = asyncio.Event()

    def is_up(self, server: str) -> bool:
        """Whether calls can be executed."""
        return self.views.get(server, {}).get("state") == "up"

    async def run(self) -> None:
        """Poll until cancelled."""
        outage = Outage(log, "servers: no states, retrying", "servers: states resumed", WITHIN_DAEMON_S)
        while True:
            try:
                self.views = {view["name"]: view for view in await self._broker.call("servers", {}, POLL_S)}
                outage.succeeded()
            except AmidError as error:
                outage.failed(error.message)
                self.views = {}
            self.updated.set()
            self.updated = asyncio.Event()
            await asyncio.sleep(POLL_S)
