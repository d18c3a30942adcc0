"""The delay before the next try: doubling, bounded, and random, so
that clients do not retry in step."""

from __future__ import annotations

import random


class Backoff:
    """`next` gives the delay in seconds; `settled` resets it after a try that lasted long enough."""

    STABLE_S = 10.0

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._delay = min_s

    def next(self) -> float:
        """Between half of the delay and all of it. The delay then doubles, up to `max_s`."""
        delay = self._delay
        self._delay = min(self._delay * 2, self._max_s)
        return delay * (0.5 + random.random() / 2)

    def settled(self, held_s: float) -> None:
        """The last try lasted `held_s` seconds. STABLE_S or more resets the delay."""
        if held_s >= self.STABLE_S:
            self._delay = self._min_s
