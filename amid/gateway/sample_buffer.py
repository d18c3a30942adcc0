"""Samples of the last hour for each server: calls, waiting callers and events per second. Pure: it
has no clock.

The page draws them as sparklines. They are kept in memory only.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

INTERVAL_S = 15.0
"""Seconds between two samples."""
MAX_SAMPLES = 240
"""Samples of one server: an hour."""


class Sample(NamedTuple):
    """calls, waiting: None if the state was unknown. events: per second; None if the epoch changed
    since the previous sample."""

    calls: int | None
    waiting: int | None
    events: float | None


class SampleBuffer:
    """The samples of each server, the oldest first."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[Sample]] = {}
        self._last: dict[str, tuple[int, int, float]] = {}

    def add(self, server: str, calls: int | None, waiting: int | None, cursor: tuple[int, int], now: float) -> None:
        """Add a sample. cursor: epoch and seq of the server's last event. now: monotonic seconds."""
        epoch, seq = cursor
        last_epoch, last_seq, last_time = self._last.get(server, (None, 0, now))
        rate = round((seq - last_seq) / (now - last_time), 1) if epoch == last_epoch and now > last_time else None
        self._last[server] = epoch, seq, now
        self._samples.setdefault(server, deque(maxlen=MAX_SAMPLES)).append(Sample(calls, waiting, rate))

    def report(self) -> dict[str, Any]:
        """The response of `/v1/samples`: `interval` in seconds, and for each server a list per field."""
        servers = {
            name: dict(zip(Sample._fields, map(list, zip(*samples, strict=True)), strict=True))
            for name, samples in self._samples.items()
        }
        return {"interval": INTERVAL_S, "servers": servers}
