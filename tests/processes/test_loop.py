"""Alarm (a movable deadline), Soon (one call at the end of a pass) and run_together, on which the
processes build timers, writes and tasks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from amid.process.loop import Alarm, Soon, clock, run_together
from tests.daemon import BOUND_S
from tests.processes.on_loop import FACTORIES, Loop


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(request.param) as loop:
        yield loop


class Rung:
    """An alarm that notes when it has called."""

    def __init__(self, loop: Loop) -> None:
        self.times: list[float] = []
        self.alarm = Alarm(loop.loop, lambda: self.times.append(clock.monotonic()))


def test_an_alarm_fires_once_and_not_before_its_deadline(loop: Loop) -> None:
    rung = Rung(loop)
    deadlines = [clock.monotonic() + number / 1000 for number in range(1, 20)]
    for deadline in deadlines:
        before = len(rung.times)
        rung.alarm.set(deadline)
        loop.eventually(lambda before=before: len(rung.times) > before, "it has called")  # type: ignore[misc]
        assert rung.times[-1] >= deadline
    loop.run(asyncio.sleep(0.01))
    assert len(rung.times) == len(deadlines)


def test_a_deadline_in_the_past_is_due_at_once(loop: Loop) -> None:
    rung = Rung(loop)
    rung.alarm.set(0.0)
    assert rung.times == [], "but not before the caller is done"
    loop.eventually(lambda: rung.times, "it has called")


def test_a_deadline_that_moves_forward_replaces_the_later_one(loop: Loop) -> None:
    rung = Rung(loop)
    rung.alarm.set(clock.monotonic() + 10 * BOUND_S)
    rung.alarm.set(soon := clock.monotonic() + 0.01)
    loop.eventually(lambda: rung.times, "it has called")
    assert rung.times[0] >= soon
    loop.turn()
    assert len(rung.times) == 1


def test_a_later_deadline_may_fire_early_and_is_set_again(loop: Loop) -> None:
    """As owners do: check the time and set the alarm again. One timer may fire early twice, because
    uvloop's time is that of the last pass; four deadlines were set before the last."""
    late = clock.monotonic() + 0.05
    early: list[float] = []
    reached: list[float] = []

    def due() -> None:
        (reached if clock.monotonic() >= late else early).append(clock.monotonic())
        if not reached:
            alarm.set(late)

    alarm = Alarm(loop.loop, due)
    alarm.set(late - 0.04)
    for step in range(5):
        alarm.set(late - 0.04 + step / 100)
    loop.eventually(lambda: reached, "the last deadline")
    assert len(early) < 4


def test_a_cancelled_alarm_does_not_fire(loop: Loop) -> None:
    rung, other = Rung(loop), Rung(loop)
    deadline = clock.monotonic() + 0.005
    rung.alarm.set(deadline)
    rung.alarm.cancel()
    rung.alarm.cancel()
    other.alarm.set(deadline)
    other.alarm.cancel()
    last = Rung(loop)
    last.alarm.set(deadline + 0.01)
    loop.eventually(lambda: last.times, "the one behind them has called")
    assert rung.times == other.times == []
    rung.alarm.set(clock.monotonic())
    loop.eventually(lambda: rung.times, "it can be set again")


def test_an_alarm_can_be_set_in_its_callback(loop: Loop) -> None:
    calls: list[float] = []

    def due() -> None:
        calls.append(clock.monotonic())
        alarm.set(clock.monotonic() + 0.001)

    alarm = Alarm(loop.loop, due)
    alarm.set(clock.monotonic())
    loop.eventually(lambda: len(calls) >= 5, "five calls")
    alarm.cancel()


def test_soon_runs_once_at_the_end_of_the_pass(loop: Loop) -> None:
    order: list[str] = []
    soon = Soon(loop.loop, lambda: order.append("soon"))

    async def ask() -> None:
        for _ in range(3):
            soon()
        order.append("asked")
        await asyncio.sleep(0)
        order.append("next pass")

    loop.run(ask())
    assert order == ["asked", "soon", "next pass"]


def test_soon_in_its_callback_runs_again_after_other_callbacks(loop: Loop) -> None:
    order: list[str] = []

    def again() -> None:
        order.append("soon")
        if order.count("soon") < 3:
            soon()
            loop.loop.call_soon(order.append, "other")

    soon = Soon(loop.loop, again)
    soon()
    loop.turn(6)
    assert order == ["soon", "other"] * 2 + ["soon"] or order == ["soon", "soon", "other", "soon", "other"]
    assert order.count("soon") == 3


def test_soon_works_after_a_failed_callback(loop: Loop) -> None:
    calls: list[int] = []

    def fails_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")

    soon = Soon(loop.loop, fails_once)
    soon()
    with pytest.raises(RuntimeError, match="a bug"):
        loop.turn()
    soon()
    loop.turn()
    assert len(calls) == 2


FAILING = """
import asyncio, sys
from amid.process import loop
async def main():
    asyncio.get_running_loop().call_soon(lambda: {fault})
    await asyncio.sleep(60 if {ends} else 0.05)
    print("went on")
loop.{run}(main())
"""
REPORTED = "asyncio.get_running_loop().call_exception_handler(dict(message='', exception=ConnectionResetError(), transport=None))"
FAULTS = {"a bug": ("1 / 0", True), "a connection that failed": (REPORTED, False)}


@pytest.mark.parametrize("run", ["run", "run_child"])
@pytest.mark.parametrize(("fault", "ends"), FAULTS.values(), ids=FAULTS)
def test_a_failed_callback_ends_the_process(run: str, fault: str, ends: bool) -> None:
    """A process with a failed part must not send heartbeats."""
    code = FAILING.format(fault=fault, ends=ends, run=run)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=BOUND_S * 3, env=environment)
    assert (done.returncode, done.stdout) == ((1, "") if ends else (0, "went on\n"))
    assert ("ZeroDivisionError" in done.stderr) == ends


class Parts:
    """Parts of `run_together`, which is the task `whole`."""

    def __init__(self) -> None:
        self.ended = 0
        self.whole: asyncio.Task[None]

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1

    async def cancel_whole(self) -> None:
        try:
            await self.wait()
        finally:
            self.whole.cancel()

    async def fail(self) -> None:
        raise ZeroDivisionError

    async def fail_when_cancelled(self) -> None:
        try:
            await self.wait()
        except asyncio.CancelledError:
            raise ZeroDivisionError from None

    async def end(self) -> None: ...

    async def run(self, *parts: Coroutine[Any, Any, None], cancel: bool = False) -> None:
        self.whole = asyncio.create_task(run_together(*parts))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if cancel:
            self.whole.cancel()
        await asyncio.wait_for(self.whole, BOUND_S)


def test_parts_end_with_the_first_of_them(loop: Loop) -> None:
    parts = Parts()
    loop.run(parts.run(parts.wait(), parts.end(), parts.wait()))
    assert parts.ended == 2


def test_all_errors_of_parts_are_raised(loop: Loop) -> None:
    parts = Parts()
    with pytest.raises(ExceptionGroup) as failed:
        loop.run(parts.run(parts.fail_when_cancelled(), parts.fail()))
    assert len(failed.value.exceptions) == 2


def test_a_cancellation_while_an_error_ends_the_parts_is_kept(loop: Loop) -> None:
    """`asyncio.TaskGroup` drops it before Python 3.13."""
    parts = Parts()
    with pytest.raises(asyncio.CancelledError):
        loop.run(parts.run(parts.cancel_whole(), parts.fail()))
    assert parts.ended == 1


def test_a_cancellation_whose_effect_on_a_part_is_an_error_is_kept(loop: Loop) -> None:
    parts = Parts()
    with pytest.raises(asyncio.CancelledError):
        loop.run(parts.run(parts.fail_when_cancelled(), cancel=True))
