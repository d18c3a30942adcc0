"""Pauses between reads of the event session, so that each read of a storm has many events.

A read and its messages cost the reader and each consumer some 200 µs, whether they carry one event
or a hundred. An event after silence is read at once. Events that then follow closely wait 2 ms, and
up to 10 ms while the storm lasts. A stream that fills its reads by itself is not delayed.
"""

from __future__ import annotations

MIN_S = 0.002
MAX_S = 0.010

GROWTH = 0.1
"""Length of a pause, of the time since the storm began."""

GATHERED_BYTES = 32_768
"""Bytes a pause may gather: far less than the kernel holds, so that Asterisk never waits to write."""

FULL_RATE = 10_000_000
"""Bytes a second, some 25,000 events, from which reads are large without a pause."""


class ReadPauses:
    """Decides from the times and sizes of the reads of one session."""

    def __init__(self) -> None:
        self._last = self._began = float("-inf")
        self._pause = MIN_S

    def after(self, size: int, now: float) -> float:
        """Seconds to pause after `size` bytes were read at the monotonic time `now`; 0 for none."""
        since, self._last = now - self._last, now
        if since >= 2 * self._pause:
            self._began, self._pause = now, MIN_S
            return 0.0
        if size >= FULL_RATE * since:
            return 0.0
        growing = max(MIN_S, GROWTH * (now - self._began))
        self._pause = min(growing, MAX_S, GATHERED_BYTES * since / size)
        return self._pause
