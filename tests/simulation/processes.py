"""The supervisor's part, by its own rules (`amid.supervision.watch`): starts, watches, kills and
replaces a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from amid.process.child import BEAT_S
from amid.supervision.backoff import Backoff
from amid.supervision.watch import Command, Limits, State, Watch
from tests.simulation.loop import ProcessLoop
from tests.simulation.net import Network

BACKOFF_S = (0.1, 2.0)
START_S = (0.03, 0.4)
"""Seconds from exec to the first callback."""
LOOK_S = 0.1


class Child:
    """In the place of `amid.process.child.Child`, with all that a process calls of it."""

    def __init__(self, loop: ProcessLoop, settings: msgspec.Struct, on_line: Callable[[str], object]) -> None:
        self.settings = settings
        self.ended = asyncio.Event()
        self.orphaned = False
        self._loop = loop
        self._on_line = on_line
        self._on_settings: Callable[[Any], object] | None = None
        self._unread: msgspec.Struct | None = None

    def start(self, on_settings: Callable[[Any], object]) -> None:
        self._on_settings = on_settings
        if self._unread is not None:
            self.configure(self._unread)
        self._beat()

    def configure(self, settings: msgspec.Struct) -> None:
        """A new configuration arrives; it is read when the process has started."""
        on_settings = self._on_settings
        if on_settings is None:
            self._unread = settings
        else:
            self._loop.call_soon(lambda: on_settings(settings))

    def report_problem(self, subject: str, problem: str) -> None:
        pass

    def send(self, line: str) -> None:
        self._loop.scheduler.after(0.0, self._on_line, line)

    def _beat(self) -> None:
        self.send("")
        self._loop.call_later(BEAT_S, self._beat)


Main = Callable[[ProcessLoop, Child], Coroutine[Any, Any, None]]


class Process:
    """One child of the supervisor and its successors. main: what it runs; settings: made for each start."""

    def __init__(self, network: Network, name: str, settings: Callable[[], msgspec.Struct], main: Main) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self.name = name
        self._settings = settings
        self._main = main
        self._random = self._scheduler.generator(f"process {name}")
        self._watch = self._new_watch()
        self._starts = 0
        self._is_starting = False
        self.loop: ProcessLoop | None = None
        self.child: Child | None = None
        self.away: list[tuple[float, float]] = []
        """When it was not there, or stood still: from, to."""
        self._away_since: float | None = self._scheduler.now
        self._look()

    def is_running(self) -> bool:
        return self.loop is not None and self.loop.alive and not self.loop.stopped

    def away_between(self, begin: float, end: float) -> float:
        """Seconds of this time in which it was not running."""
        spans = [*self.away, (self._away_since, end)] if self._away_since is not None else self.away
        return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in spans[-50:])

    # ── faults ──

    def crash(self) -> None:
        if self.loop is not None and self.loop.alive:
            self.loop.kill()

    def hang(self, seconds: float) -> None:
        if self.loop is not None and self.is_running():
            self._leave()
            self.loop.stop_process()
            self._scheduler.after(seconds, self._continue, self.loop)

    def replace(self) -> None:
        """As the method `restart` has it done."""
        self._do(self._watch.restart(self._scheduler.now))

    def configure(self) -> None:
        """Tell it its settings as they are now."""
        if self._is_starting:
            self._next_settings = self._settings()
        elif self.child is not None and self.loop is not None and self.loop.alive:
            self.child.configure(self._settings())

    def leave(self) -> None:
        """It is removed from the configuration."""
        self._do(self._watch.shut_down(self._scheduler.now))

    def rejoin(self) -> None:
        """It is added to the configuration again."""
        if self._watch.state is State.LEAVING:
            self._do(self._watch.rejoin(self._scheduler.now))
        else:
            self._watch = self._new_watch()

    # ── the supervisor ──

    def _new_watch(self) -> Watch:
        return Watch(Limits(), Backoff(*BACKOFF_S), self._scheduler.now)

    def _continue(self, loop: ProcessLoop) -> None:
        if loop.alive and loop.stopped:
            loop.continue_process()
            self._return()

    def _look(self) -> None:
        self._do(self._watch.tick(self._scheduler.now))
        self._scheduler.after(LOOK_S, self._look)

    def _do(self, what: Command) -> None:
        if what is Command.SPAWN:
            self._starts += 1
            self._is_starting = True
            self._next_settings = self._settings()
            self._scheduler.after(self._random.uniform(*START_S), self._start, self._starts)
        elif self._is_starting and what in (Command.TERM, Command.KILL):
            self._is_starting = False
            self._exited()
        elif what is Command.TERM and self.child is not None:
            self.child.ended.set()
        elif what is Command.KILL:
            self.crash()
        if what is not Command.NOTHING:
            self._scheduler.decide(f"{what.value} {self.name}")

    def _start(self, number: int) -> None:
        if number != self._starts or not self._is_starting:
            return
        self._is_starting = False
        loop = self.loop = ProcessLoop(self._scheduler, f"{self.name}.{self._starts}", self._network)
        child = self.child = Child(loop, self._next_settings, lambda line: self._hear(loop, line))
        loop.on_exit[self._exited] = None
        loop.start(lambda: self._main(loop, child))
        self._return()

    def _hear(self, loop: ProcessLoop, line: str) -> None:
        if loop is self.loop and loop.alive and not line:
            self._do(self._watch.beat(self._scheduler.now))

    def _exited(self) -> None:
        self._leave()
        self._scheduler.decide(f"{self.name} is gone")
        self._scheduler.after(0.001, lambda: self._do(self._watch.exit(self._scheduler.now)))

    def _leave(self) -> None:
        if self._away_since is None:
            self._away_since = self._scheduler.now

    def _return(self) -> None:
        if self._away_since is not None:
            self.away.append((self._away_since, self._scheduler.now))
            self._away_since = None
