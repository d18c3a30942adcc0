"""Random faults. The seed chooses their rate; in some seeds there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.pbx import SimulatedPbx

if TYPE_CHECKING:
    from tests.simulation.world import World

PACES_S = (0.0, 1.0, 4.0, 15.0)
"""Seconds between two faults; 0 for none."""
SECONDS = (0.02, 0.2, 1.0, 2.5, 7.0, 20.0)
"""How long one lasts."""
SHARE = 0.4
"""Of the faults, those that a seed has: a few alone meet in ways that they do not among all others."""
STORM = 2000
"""Events at once."""


class Faults:
    """`is_on`: whether more will come. `count`: how many came. only: the names of those that come, once a second."""

    def __init__(self, world: World, only: tuple[str, ...] = ()) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._random = self._scheduler.generator("faults")
        self._pace = 1.0 if only else self._random.choice(PACES_S)
        faults = self._all()
        names = only or [name for name in faults if self._random.random() < SHARE]
        self._faults = {name: faults[name] for name in names}
        self.is_on = self._pace > 0 and bool(self._faults)
        self.count = 0
        if self.is_on:
            self._plan()

    def _all(self) -> dict[str, Callable[[float], object]]:
        world, choose = self._world, self._random.choice
        pbxs = list(world.pbxs.values())
        return {
            "a reader crashes": lambda _: choose(world.readers).crash(),
            "a reader hangs": lambda seconds: choose(world.readers).hang(seconds),
            "a reader is replaced": lambda _: choose(world.readers).replace(),
            "the broker crashes": lambda _: world.broker.crash(),
            "the broker hangs": lambda seconds: world.broker.hang(seconds),
            "the broker is replaced": lambda _: world.broker.replace(),
            "a PBX drops a connection": lambda _: choose(pbxs).drop_one(),
            "a PBX hangs": lambda seconds: choose(pbxs).hang(seconds),
            "a PBX restarts": lambda seconds: self._restart_pbx(choose(pbxs), seconds),
            "a connection stalls": lambda seconds: world.network.stall(seconds),
            "there is no route": self._cut_route,
            "a server leaves the configuration": world.lose_server,
            "a subscriber stalls": lambda seconds: choose(world.subscribers).stall(seconds),
            "a caller stalls": lambda seconds: choose(world.callers).stall(seconds),
            "a caller leaves": lambda _: choose(world.callers).disconnect(),
            "an event storm": lambda _: choose(pbxs).emit(STORM),
        }

    def _plan(self) -> None:
        self._scheduler.after(self._random.expovariate(1 / self._pace), self._happen)

    def _happen(self) -> None:
        if not self.is_on:
            return
        name, fault = self._random.choice(list(self._faults.items()))
        seconds = self._random.choice(SECONDS)
        self._scheduler.decide(f"fault: {name} ({seconds:g} s)")
        self._world.judge.note_fault(seconds)
        self.count += 1
        fault(seconds)
        self._plan()

    def _cut_route(self, seconds: float) -> None:
        self._world.network.no_route_until = self._scheduler.now + seconds

    def _restart_pbx(self, pbx: SimulatedPbx, seconds: float) -> None:
        pbx.stop()
        self._scheduler.after(seconds, pbx.start)
