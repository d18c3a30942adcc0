"""The part of a call's lateness that the machine and the load cause, not amid.

Two things are measured every few milliseconds: the delay of the load's own loop, and the time for
which threads of the load, the broker and the readers were ready but had no CPU, from the kernel's
`schedstat`. Only with both can a promise of 50 ms be judged on two noisy cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from amid.client import AsyncClient
from amid.errors import AmidError

BEAT = 0.02
"""Seconds between two looks."""
TRANSIT = 0.1
"""Seconds from its begin in which a request may be held up on its way to the broker, whose clock starts then."""


class Held(NamedTuple):
    """Seconds lost within this period."""

    since: float
    until: float
    seconds: float

    def overlaps(self, since: float, until: float) -> bool:
        return self.since <= until and since <= self.until


class Lateness:
    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._amid: list[int] = []
        self._waited: dict[Path, int] = {}
        self._held: deque[Held] = deque(maxlen=2000)

    async def find_processes(self) -> None:
        """Track the processes of amid that a call passes."""
        while True:
            with contextlib.suppress(AmidError):
                processes = (await self._client.status(timeout=1.0))["processes"]  # none if the supervisor cannot write
                self._amid = [one["pid"] for one in processes if one["name"].startswith(("broker", "reader"))]
            await asyncio.sleep(0.5)

    async def look(self) -> None:
        """Wait for the next look, and take it."""
        began = time.monotonic()
        await asyncio.sleep(BEAT)
        now = time.monotonic()
        lost = [now - began - BEAT, *self._without_cpu()]
        self._held += [Held(began - seconds, now, seconds) for seconds in lost if seconds > 0.001]

    def of(self, began: float, due: float, ended: float) -> float:
        """Seconds of a call's lateness that are not amid's."""
        return sum(one.seconds for one in self._held if one.overlaps(began, began + TRANSIT) or one.overlaps(due, ended))

    def _without_cpu(self) -> list[float]:
        """For each thread, the seconds that it had waited for a CPU when it got one, since the last look."""
        before, self._waited = self._waited, {}
        for process in ("self", *self._amid):
            for file in Path(f"/proc/{process}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    self._waited[file] = int(file.read_text().split()[1])
        return [(now - before.get(file, now)) / 1e9 for file, now in self._waited.items()]
