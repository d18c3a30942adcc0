"""How long to wait before the next try: doubling, bounded, and never in step with anybody else."""

from __future__ import annotations

import random


class Backoff:
    """`next` gives the delay in seconds; `settled` is told how long the last try held and starts over when that was long enough.

    rng: the module's own generator unless another is given; the simulation of the tests seeds it.
    """

    STABLE_S = 10.0

    def __init__(self, least: float, most: float, rng: random.Random | None = None) -> None:
        self._least = least
        self._most = most
        self._delay = least
        self._random = random.random if rng is None else rng.random

    def next(self) -> float:
        """Between half of the delay and the whole of it; then the delay doubles, up to `most`."""
        delay = self._delay
        self._delay = min(self._delay * 2, self._most)
        return delay * (0.5 + self._random() / 2)

    def settled(self, held: float) -> None:
        if held >= self.STABLE_S:
            self._delay = self._least
