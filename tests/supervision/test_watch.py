"""The watch over one child: every event has an action, and hanging or dead children are replaced."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from amid.supervision.backoff import Backoff
from amid.supervision.watch import Command, Limits, State, Watch

NOW = 1000.0
LIMITS = Limits(silence_s=2.0, boot_s=15.0, stop_s=3.0)


def waiting() -> Watch:
    return Watch(LIMITS, Backoff(0.1, 30.0), NOW)


def booting() -> Watch:
    watch = waiting()
    assert watch.tick(NOW) is Command.SPAWN
    return watch


def up() -> Watch:
    watch = booting()
    assert watch.beat(NOW) is Command.NOTHING
    return watch


def test_a_child_is_started_at_once_and_once() -> None:
    watch = waiting()
    assert watch.tick(NOW) is Command.SPAWN
    assert (watch.state, watch.restarts, watch.tick(NOW)) == (State.BOOTING, 0, Command.NOTHING)


def test_before_the_first_heartbeat_boot_grace_applies() -> None:
    watch = booting()
    assert watch.tick(NOW + 14.9) is Command.NOTHING
    assert watch.tick(NOW + 15.0) is Command.KILL


def test_each_heartbeat_extends_the_deadline_by_two_seconds() -> None:
    watch = up()
    for tenth in range(100):
        now = NOW + tenth / 10
        assert watch.beat(now) is Command.NOTHING
        assert watch.tick(now + 1.9) is Command.NOTHING
    assert watch.tick(now + 2.0) is Command.KILL
    assert watch.state is State.KILLING


def test_a_killed_child_is_reaped_before_its_successor_starts() -> None:
    watch = up()
    watch.tick(NOW + 2.0)
    assert watch.tick(NOW + 2.1) is Command.NOTHING
    assert watch.exit(NOW + 2.2) is Command.NOTHING
    assert watch.tick(NOW + 2.2) is Command.NOTHING, "not without the back-off"
    assert watch.tick(NOW + 2.4) is Command.SPAWN
    assert watch.restarts == 1


def test_buffered_heartbeats_do_not_save_a_child_that_is_being_killed() -> None:
    watch = up()
    watch.tick(NOW + 2.0)
    watch.beat(NOW + 2.1)
    assert watch.state is State.KILLING


def test_an_unsuccessful_kill_is_repeated() -> None:
    watch = up()
    assert watch.tick(NOW + 2.0) is Command.KILL
    assert watch.tick(NOW + 4.9) is Command.NOTHING
    assert watch.tick(NOW + 5.0) is Command.KILL


def test_a_crashing_child_is_restarted_with_growing_delay() -> None:
    watch, now, waits = waiting(), NOW, list[float]()
    for _ in range(50):
        assert watch.tick(now) is Command.SPAWN
        watch.exit(now)
        waits.append(watch.deadline - now)
        now = watch.deadline
    assert waits[0] <= 0.1 and waits[5] > 1.0
    assert max(waits) <= 30.0 and min(waits[10:]) >= 15.0


def test_a_requested_restart_is_immediate() -> None:
    watch = up()
    assert watch.restart(NOW + 1) is Command.TERM
    assert watch.exit(NOW + 1.5) is Command.NOTHING
    assert watch.tick(NOW + 1.5) is Command.SPAWN


def test_a_child_that_does_not_end_when_asked_to_is_killed_and_replaced() -> None:
    watch = up()
    watch.restart(NOW)
    assert watch.tick(NOW + 2.9) is Command.NOTHING
    assert watch.tick(NOW + 3.0) is Command.KILL
    watch.exit(NOW + 3.1)
    assert watch.tick(NOW + 3.1) is Command.SPAWN


def test_a_removed_child_is_not_replaced() -> None:
    watch = up()
    assert watch.shut_down(NOW) is Command.TERM
    assert watch.exit(NOW + 1) is Command.NOTHING
    assert (watch.state, watch.deadline) == (State.DOWN, math.inf)


def test_a_removed_child_that_does_not_end_is_killed() -> None:
    watch = up()
    watch.shut_down(NOW)
    assert watch.tick(NOW + 3.0) is Command.KILL
    watch.exit(NOW + 3.1)
    assert watch.state is State.DOWN


def test_a_child_waiting_to_start_is_removed_without_a_process() -> None:
    watch = waiting()
    assert watch.shut_down(NOW) is Command.NOTHING
    assert watch.state is State.DOWN


def test_removal_overrides_a_pending_restart_or_kill() -> None:
    for before in (Watch.restart, lambda watch, now: watch.tick(now + 2.0)):
        watch = up()
        before(watch, NOW)
        watch.shut_down(NOW + 2.5)
        watch.exit(NOW + 2.6)
        assert watch.state is State.DOWN


@pytest.mark.parametrize(("make", "grace"), [(up, 2.0), (booting, 15.0)])
def test_time_while_the_supervisor_was_suspended_does_not_count(make: Callable[[], Watch], grace: float) -> None:
    watch = make()
    back = NOW + 100.0
    watch.extend_deadlines(back)
    assert watch.tick(back + grace - 0.1) is Command.NOTHING
    assert watch.tick(back + grace) is Command.KILL


def test_new_limits_take_effect_at_once() -> None:
    watch = up()
    watch.set_limits(Limits(silence_s=60.0), NOW + 1)
    assert watch.tick(NOW + 60.9) is Command.NOTHING
    assert watch.tick(NOW + 61.0) is Command.KILL


class Child(RuleBasedStateMachine):
    """A supervisor and a child that does whatever a process can do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.watch = waiting()
        self.alive = False
        self.termed = self.killed = False
        self.left = False

    def do(self, do: Command) -> None:
        match do:
            case Command.SPAWN:
                assert not self.alive, "a second process while the first one lives"
                assert not self.left, "started again after it left"
                self.alive, self.termed, self.killed = True, False, False
            case Command.TERM:
                assert self.alive
                self.termed = True
            case Command.KILL:
                assert self.alive
                self.killed = True

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 2.5, 20.0]))
    def time(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.watch.tick(self.now))

    @precondition(lambda self: self.alive)
    @rule()
    def beat(self) -> None:
        self.do(self.watch.beat(self.now))

    @precondition(lambda self: self.alive)
    @rule()
    def end(self) -> None:
        self.alive = False
        self.do(self.watch.exit(self.now))

    @rule()
    def restart(self) -> None:
        self.do(self.watch.restart(self.now))

    @rule()
    def leave(self) -> None:
        self.left = True
        self.do(self.watch.shut_down(self.now))

    @rule()
    def extend_deadlines(self) -> None:
        self.watch.extend_deadlines(self.now)

    @invariant()
    def there_is_always_a_next_step(self) -> None:
        assert (self.watch.deadline == math.inf) == (self.watch.state is State.DOWN)
        assert self.alive == (self.watch.state not in (State.WAITING, State.DOWN))

    def teardown(self) -> None:
        """From any state: a child that stays silent is killed in bounded time, and replaced unless
        it was removed."""
        for _ in range(3):
            if self.watch.deadline < math.inf:
                self.now = max(self.now, self.watch.deadline)
                self.do(self.watch.tick(self.now))
            if self.alive and self.killed:
                self.end()
        assert self.watch.state is State.DOWN if self.left else self.watch.restarts >= 0


TestChild = Child.TestCase
TestChild.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
