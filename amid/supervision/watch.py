"""The supervision of one child as a table: (state, event) -> (new state, command).

A child proves that its *work loop* runs by writing to its own pipe. Silence means SIGKILL, then
reap, then spawn, in this order: with ipc a second bind succeeds while a stopped process still has
the socket, and subscribers would stay attached to the frozen one. Before the first beat the longer
boot grace applies. A supervisor that was suspended has seen no beats, so it must not act on their
absence: `extend_deadlines` gives every child new deadlines.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from amid.supervision.backoff import Backoff


class State(enum.Enum):
    """The state of one child."""

    WAITING = "waiting"  # no process; one starts when the delay is over
    BOOTING = "booting"  # started, no beat yet
    UP = "up"  # beating
    STOPPING = "stopping"  # SIGTERM sent; it will be started again
    KILLING = "killing"  # SIGKILL sent; not reaped yet
    LEAVING = "leaving"  # SIGTERM sent; it will not be started again
    DOWN = "down"  # ended, and not started again


class Command(enum.Enum):
    """What the supervisor must do now."""

    NOTHING = "nothing"
    SPAWN = "spawn"
    TERM = "term"
    KILL = "kill"


_TABLE: dict[tuple[State, str], tuple[State, Command]] = {
    (State.WAITING, "due"): (State.BOOTING, Command.SPAWN),
    (State.WAITING, "shut_down"): (State.DOWN, Command.NOTHING),
    (State.BOOTING, "beat"): (State.UP, Command.NOTHING),
    (State.BOOTING, "due"): (State.KILLING, Command.KILL),
    (State.BOOTING, "exit"): (State.WAITING, Command.NOTHING),
    (State.BOOTING, "restart"): (State.STOPPING, Command.TERM),
    (State.BOOTING, "shut_down"): (State.LEAVING, Command.TERM),
    (State.UP, "due"): (State.KILLING, Command.KILL),
    (State.UP, "exit"): (State.WAITING, Command.NOTHING),
    (State.UP, "restart"): (State.STOPPING, Command.TERM),
    (State.UP, "shut_down"): (State.LEAVING, Command.TERM),
    (State.STOPPING, "due"): (State.KILLING, Command.KILL),
    (State.STOPPING, "exit"): (State.WAITING, Command.NOTHING),
    (State.STOPPING, "shut_down"): (State.LEAVING, Command.NOTHING),
    (State.KILLING, "due"): (State.KILLING, Command.KILL),
    (State.KILLING, "exit"): (State.WAITING, Command.NOTHING),
    (State.KILLING, "shut_down"): (State.LEAVING, Command.NOTHING),
    (State.LEAVING, "due"): (State.LEAVING, Command.KILL),
    (State.LEAVING, "exit"): (State.DOWN, Command.NOTHING),
    (State.LEAVING, "rejoin"): (State.STOPPING, Command.NOTHING),
}
"""An event that is not listed for a state changes nothing: a late beat, or a restart of a child that restarts already."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Silence before SIGKILL, the grace before the first beat,
    and the time to end after SIGTERM."""

    silence_s: float = 2.0
    boot_s: float = 15.0
    stop_s: float = 2.0


class Watch:
    """One child.

    Every method takes `now` (monotonic seconds) and returns the command to carry out.
    """

    def __init__(self, limits: Limits, backoff: Backoff, now: float) -> None:
        self._limits = limits
        self._backoff = backoff
        self.state = State.WAITING
        self.deadline = now
        """When `tick` is due; never for a child that is down."""
        self.started = now
        self.restarts = -1
        self._asked = True

    def beat(self, now: float) -> Command:
        """The child has written to its pipe."""
        return self._apply("beat", now)

    def exit(self, now: float) -> Command:
        """The process has ended and has been reaped."""
        self._backoff.settled(now - self.started)
        return self._apply("exit", now)

    def restart(self, now: float) -> Command:
        """Replace the child: SIGTERM if it is well, and no back-off."""
        self._asked = True
        return self._apply("restart", now)

    def shut_down(self, now: float) -> Command:
        """End the child and do not start it again."""
        return self._apply("shut_down", now)

    def rejoin(self, now: float) -> Command:
        """Start the child again after it has ended. It must be `LEAVING`."""
        self._asked = True
        return self._apply("rejoin", now)

    def tick(self, now: float) -> Command:
        """Act on a deadline that has passed."""
        return self._apply("due", now) if now >= self.deadline else Command.NOTHING

    def set_limits(self, limits: Limits, now: float) -> None:
        """Apply new limits."""
        self._limits = limits
        self.extend_deadlines(now)

    def extend_deadlines(self, now: float) -> None:
        """The supervisor was suspended: give the child a new deadline."""
        if self.state in (State.BOOTING, State.UP):
            self.deadline = self._next_deadline(now)

    def _apply(self, what: str, now: float) -> Command:
        before = self.state
        self.state, command = _TABLE.get((before, what), (before, Command.NOTHING))
        if command is Command.SPAWN:
            self.started = now
            self.restarts += 1
            self._asked = False
        if self.state is not before or command is Command.KILL or (what == "beat" and self.state is State.UP):
            self.deadline = self._next_deadline(now)
        return command

    def _next_deadline(self, now: float) -> float:
        match self.state:
            case State.WAITING:
                return now if self._asked else now + self._backoff.next()
            case State.BOOTING:
                return now + self._limits.boot_s
            case State.UP:
                return now + self._limits.silence_s
            case State.DOWN:
                return math.inf
            case _:
                return now + self._limits.stop_s
