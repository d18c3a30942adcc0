"""The watch over one child: the table has an answer to all that can happen, and its answers replace what hangs or dies."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from amid.supervision.backoff import Backoff
from amid.supervision.watch import Do, Limits, State, Watch

NOW = 1000.0
LIMITS = Limits(silence=2.0, boot=15.0, stop=3.0)


def waiting() -> Watch:
    return Watch(LIMITS, Backoff(0.1, 30.0, random.Random(1)), NOW)


def booting() -> Watch:
    watch = waiting()
    assert watch.tick(NOW) is Do.SPAWN
    return watch


def up() -> Watch:
    watch = booting()
    assert watch.beat(NOW) is Do.NOTHING
    return watch


def test_a_child_is_started_at_once_and_once() -> None:
    watch = waiting()
    assert watch.tick(NOW) is Do.SPAWN
    assert (watch.state, watch.restarts, watch.tick(NOW)) == (State.BOOTING, 0, Do.NOTHING)


def test_before_the_first_beat_the_boot_grace_holds() -> None:
    watch = booting()
    assert watch.tick(NOW + 14.9) is Do.NOTHING
    assert watch.tick(NOW + 15.0) is Do.KILL


def test_each_beat_gives_two_seconds_more() -> None:
    watch = up()
    for tenth in range(100):
        now = NOW + tenth / 10
        assert watch.beat(now) is Do.NOTHING
        assert watch.tick(now + 1.9) is Do.NOTHING
    assert watch.tick(now + 2.0) is Do.KILL
    assert watch.state is State.KILLING


def test_a_killed_child_is_reaped_before_its_successor_starts() -> None:
    watch = up()
    watch.tick(NOW + 2.0)
    assert watch.tick(NOW + 2.1) is Do.NOTHING
    assert watch.exit(NOW + 2.2) is Do.NOTHING
    assert watch.tick(NOW + 2.2) is Do.NOTHING, "not without the back-off"
    assert watch.tick(NOW + 2.4) is Do.SPAWN
    assert watch.restarts == 1


def test_beats_that_were_in_the_pipe_do_not_save_a_child_that_is_being_killed() -> None:
    watch = up()
    watch.tick(NOW + 2.0)
    watch.beat(NOW + 2.1)
    assert watch.state is State.KILLING


def test_a_kill_that_does_not_work_is_tried_again() -> None:
    watch = up()
    assert watch.tick(NOW + 2.0) is Do.KILL
    assert watch.tick(NOW + 4.9) is Do.NOTHING
    assert watch.tick(NOW + 5.0) is Do.KILL


def test_one_that_dies_again_and_again_waits_longer_each_time_for_ever() -> None:
    watch, now, waits = waiting(), NOW, list[float]()
    for _ in range(50):
        assert watch.tick(now) is Do.SPAWN
        watch.exit(now)
        assert watch.deadline is not None
        waits.append(watch.deadline - now)
        now = watch.deadline
    assert waits[0] <= 0.1 and waits[5] > 1.0
    assert max(waits) <= 30.0 and min(waits[10:]) >= 15.0


def test_a_restart_that_was_asked_for_does_not_wait() -> None:
    watch = up()
    assert watch.restart(NOW + 1) is Do.TERM
    assert watch.exit(NOW + 1.5) is Do.NOTHING
    assert watch.tick(NOW + 1.5) is Do.SPAWN


def test_a_child_that_does_not_end_when_asked_to_is_killed_and_replaced() -> None:
    watch = up()
    watch.restart(NOW)
    assert watch.tick(NOW + 2.9) is Do.NOTHING
    assert watch.tick(NOW + 3.0) is Do.KILL
    watch.exit(NOW + 3.1)
    assert watch.tick(NOW + 3.1) is Do.SPAWN


def test_a_child_that_leaves_is_not_replaced() -> None:
    watch = up()
    assert watch.leave(NOW) is Do.TERM
    assert watch.exit(NOW + 1) is Do.NOTHING
    assert (watch.state, watch.deadline) == (State.DOWN, None)


def test_a_child_that_does_not_leave_is_killed() -> None:
    watch = up()
    watch.leave(NOW)
    assert watch.tick(NOW + 3.0) is Do.KILL
    watch.exit(NOW + 3.1)
    assert watch.state is State.DOWN


def test_one_that_waits_to_be_started_leaves_without_a_process() -> None:
    watch = waiting()
    assert watch.leave(NOW) is Do.NOTHING
    assert watch.state is State.DOWN


def test_leaving_wins_over_a_restart_and_a_kill_that_are_under_way() -> None:
    for before in (Watch.restart, lambda watch, now: watch.tick(now + 2.0)):
        watch = up()
        before(watch, NOW)
        watch.leave(NOW + 2.5)
        watch.exit(NOW + 2.6)
        assert watch.state is State.DOWN


@pytest.mark.parametrize(("make", "grace"), [(up, 2.0), (booting, 15.0)])
def test_nobody_is_judged_for_time_in_which_the_supervisor_was_away(make: Callable[[], Watch], grace: float) -> None:
    watch = make()
    back = NOW + 100.0
    watch.amnesty(back)
    assert watch.tick(back + grace - 0.1) is Do.NOTHING
    assert watch.tick(back + grace) is Do.KILL


def test_new_limits_hold_from_now_on() -> None:
    watch = up()
    watch.judge_by(Limits(silence=60.0), NOW + 1)
    assert watch.tick(NOW + 60.9) is Do.NOTHING
    assert watch.tick(NOW + 61.0) is Do.KILL


class Child(RuleBasedStateMachine):
    """A supervisor and a child that does whatever a process can do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.watch = waiting()
        self.alive = False
        self.termed = self.killed = False
        self.left = False

    def do(self, do: Do) -> None:
        match do:
            case Do.SPAWN:
                assert not self.alive, "a second process while the first one lives"
                assert not self.left, "started again after it left"
                self.alive, self.termed, self.killed = True, False, False
            case Do.TERM:
                assert self.alive
                self.termed = True
            case Do.KILL:
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
        self.do(self.watch.leave(self.now))

    @rule()
    def amnesty(self) -> None:
        self.watch.amnesty(self.now)

    @invariant()
    def there_is_always_a_next_step(self) -> None:
        assert (self.watch.deadline is None) == (self.watch.state is State.DOWN)
        assert self.alive == (self.watch.state not in (State.WAITING, State.DOWN))

    def teardown(self) -> None:
        """However it stands: a child that never says anything more is killed in bounded time, and replaced unless it left."""
        for _ in range(3):
            if self.watch.deadline is not None:
                self.now = max(self.now, self.watch.deadline)
                self.do(self.watch.tick(self.now))
            if self.alive and self.killed:
                self.end()
        assert self.watch.state is State.DOWN if self.left else self.watch.restarts >= 0


TestChild = Child.TestCase
TestChild.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
