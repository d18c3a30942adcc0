"""The supervision of one child as a table: (state, what happened) -> (new state, what to do).

A child proves that its *work loop* runs by writing to a pipe that belongs to this incarnation alone. Silence means SIGKILL, then
reap, then spawn, in that order: with ipc a second binder succeeds while a stopped first one still lives, and subscribers would stay
attached to a frozen publisher. Before the first beat the longer boot grace holds. A supervisor that was itself stopped must not
judge what it did not see: `amnesty` gives a fresh deadline.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from amid.supervision.backoff import Backoff


class State(enum.Enum):
    WAITING = "waiting"  # no process; one is started when the delay is over
    BOOTING = "booting"  # started, not a beat yet
    UP = "up"  # beating
    STOPPING = "stopping"  # asked to end, and to be started again
    KILLING = "killing"  # SIGKILL sent; not reaped yet
    LEAVING = "leaving"  # asked to end for good
    DOWN = "down"  # ended for good


class Do(enum.Enum):
    NOTHING = "nothing"
    SPAWN = "spawn"
    TERM = "term"
    KILL = "kill"


Cell = tuple[State, Do]

_TABLE: dict[tuple[State, str], Cell] = {
    (State.WAITING, "due"): (State.BOOTING, Do.SPAWN),
    (State.WAITING, "restart"): (State.WAITING, Do.NOTHING),
    (State.WAITING, "leave"): (State.DOWN, Do.NOTHING),
    (State.BOOTING, "beat"): (State.UP, Do.NOTHING),
    (State.BOOTING, "due"): (State.KILLING, Do.KILL),
    (State.BOOTING, "exit"): (State.WAITING, Do.NOTHING),
    (State.BOOTING, "restart"): (State.STOPPING, Do.TERM),
    (State.BOOTING, "leave"): (State.LEAVING, Do.TERM),
    (State.UP, "beat"): (State.UP, Do.NOTHING),
    (State.UP, "due"): (State.KILLING, Do.KILL),
    (State.UP, "exit"): (State.WAITING, Do.NOTHING),
    (State.UP, "restart"): (State.STOPPING, Do.TERM),
    (State.UP, "leave"): (State.LEAVING, Do.TERM),
    (State.STOPPING, "beat"): (State.STOPPING, Do.NOTHING),
    (State.STOPPING, "due"): (State.KILLING, Do.KILL),
    (State.STOPPING, "exit"): (State.WAITING, Do.NOTHING),
    (State.STOPPING, "restart"): (State.STOPPING, Do.NOTHING),
    (State.STOPPING, "leave"): (State.LEAVING, Do.NOTHING),
    (State.KILLING, "beat"): (State.KILLING, Do.NOTHING),
    (State.KILLING, "due"): (State.KILLING, Do.KILL),
    (State.KILLING, "exit"): (State.WAITING, Do.NOTHING),
    (State.KILLING, "restart"): (State.KILLING, Do.NOTHING),
    (State.KILLING, "leave"): (State.LEAVING, Do.NOTHING),
    (State.LEAVING, "beat"): (State.LEAVING, Do.NOTHING),
    (State.LEAVING, "due"): (State.LEAVING, Do.KILL),
    (State.LEAVING, "exit"): (State.DOWN, Do.NOTHING),
    (State.LEAVING, "restart"): (State.LEAVING, Do.NOTHING),
    (State.LEAVING, "leave"): (State.LEAVING, Do.NOTHING),
    (State.LEAVING, "rejoin"): (State.STOPPING, Do.NOTHING),
    (State.DOWN, "leave"): (State.DOWN, Do.NOTHING),
    (State.DOWN, "beat"): (State.DOWN, Do.NOTHING),
    (State.DOWN, "restart"): (State.DOWN, Do.NOTHING),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: silence before SIGKILL, the grace before the first beat, and the time to end when asked to."""

    silence: float = 2.0
    boot: float = 15.0
    stop: float = 2.0


class Watch:
    """One child. Every method takes `now` (monotonic seconds) and returns what must be done."""

    def __init__(self, limits: Limits, backoff: Backoff, now: float) -> None:
        self._limits = limits
        self._backoff = backoff
        self.state = State.WAITING
        self.deadline: float | None = now
        self.started = now
        self.restarts = -1
        self._asked = True

    def beat(self, now: float) -> Do:
        return self._happen("beat", now)

    def exit(self, now: float) -> Do:
        """The process has ended and has been reaped."""
        self._backoff.settled(now - self.started)
        return self._happen("exit", now)

    def restart(self, now: float) -> Do:
        """Replace the child, politely if it is well, without the back-off of one that failed."""
        self._asked = True
        return self._happen("restart", now)

    def leave(self, now: float) -> Do:
        """End the child for good."""
        return self._happen("leave", now)

    def rejoin(self, now: float) -> Do:
        """Start the child again when it has ended, although it was asked to end for good; it must be `LEAVING`."""
        self._asked = True
        return self._happen("rejoin", now)

    def tick(self, now: float) -> Do:
        """Judge time."""
        return self._happen("due", now) if self.deadline is not None and now >= self.deadline else Do.NOTHING

    def judge_by(self, limits: Limits, now: float) -> None:
        """Take new limits, from now on."""
        self._limits = limits
        self.amnesty(now)

    def amnesty(self, now: float) -> None:
        """The supervisor itself was away: nobody is judged for that time."""
        if self.state in (State.BOOTING, State.UP):
            self.deadline = now + (self._limits.boot if self.state is State.BOOTING else self._limits.silence)

    def _happen(self, what: str, now: float) -> Do:
        before = self.state
        self.state, do = _TABLE[before, what]
        if do is Do.SPAWN:
            self.started = now
            self.restarts += 1
            self._asked = False
        if self.state is not before or do is Do.KILL or (what == "beat" and self.state is State.UP):
            self.deadline = self._next_deadline(now)
        return do

    def _next_deadline(self, now: float) -> float | None:
        match self.state:
            case State.WAITING:
                return now if self._asked else now + self._backoff.next()
            case State.BOOTING:
                return now + self._limits.boot
            case State.UP:
                return now + self._limits.silence
            case State.DOWN:
                return None
            case _:
                return now + self._limits.stop
