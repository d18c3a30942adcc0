"""Takes a sample of each server every 15 seconds (`sample_buffer`).

Sampling starts with the first request for the samples, so a gateway whose page nobody opens asks
the daemon nothing. It then continues until the gateway ends, so that an hour is there at the next
request.
"""

from __future__ import annotations

import asyncio

from amid.client import AsyncClient
from amid.client.results import Server
from amid.errors import AmidError
from amid.gateway.sample_buffer import INTERVAL_S, SampleBuffer

ANSWER_S = 5.0
"""Timeout in seconds for each answer of the daemon."""


class Sampler:
    """`buffer` has the samples. `run` must run as a task; it waits for `start`."""

    def __init__(self, client: AsyncClient) -> None:
        self.buffer = SampleBuffer()
        self._client = client
        self._started = asyncio.Event()

    def start(self) -> None:
        """Start sampling; without effect if it has started."""
        self._started.set()

    async def run(self) -> None:
        """Sample until cancelled."""
        await self._started.wait()
        now = asyncio.get_running_loop().time
        next_at = now()
        while True:
            await self._sample_all()
            next_at = max(next_at + INTERVAL_S, now())
            await asyncio.sleep(next_at - now())

    async def _sample_all(self) -> None:
        try:
            servers = await self._client.servers(timeout=ANSWER_S)
        except AmidError:
            return  # the page shows that the daemon does not answer
        await asyncio.gather(*map(self._sample, servers))

    async def _sample(self, server: Server) -> None:
        name = server["name"]
        calls = waiting = None
        try:
            if server["state"] == "up":
                state = await self._client.state(name, ["calls", "callers"], timeout=ANSWER_S)
                calls, waiting = len(state["calls"]), len(state["callers"])
        except AmidError:
            pass  # the state is being loaded or is lost; the sample has None
        self.buffer.add(name, calls, waiting, (server["epoch"], server["seq"]), asyncio.get_running_loop().time())
