"""The event loop of a process: asyncio, on uvloop where it is available.

The processes wait only in this loop. `clock` is the only source of time: the simulation of the
tests replaces it with a virtual clock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # no build for this Python or machine; the standard library's loop is slower
    from asyncio import new_event_loop

log = logging.getLogger("amid.process")

LATE_S = 0.1
"""An alarm later than this finds out first what has arrived meanwhile."""


class Clock:
    """`monotonic` and `wall` return seconds, as the functions of the module `time` do."""

    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    wall: Callable[[], float] = staticmethod(time.time)


clock = Clock()


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` until it returns.

    A failed callback ends the process: a half-working process must not beat.
    """
    with _runner() as runner:
        runner.run(main)


def run_child(main: Coroutine[Any, Any, None], runner: asyncio.Runner | None = None) -> None:
    """Run `main`, and end the process without waiting for threads:
    a name lookup may hang for ever."""
    (runner or _runner()).run(main)
    logging.shutdown()
    os._exit(0)


def _runner() -> asyncio.Runner:
    runner = asyncio.Runner(loop_factory=new_event_loop)
    runner.get_loop().set_exception_handler(_end_process)
    return runner


def start_task(main: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task whose failure ends the process.

    asyncio itself would report the failure only when the task is garbage-collected.
    """
    task = asyncio.get_running_loop().create_task(main)
    task.add_done_callback(_check_task)
    return task


async def run_together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run until one of the parts ends or fails, then cancel the others and wait for them.

    Raises an `ExceptionGroup` of the errors. This is not `asyncio.TaskGroup`: before Python 3.13 that
    drops a cancellation that arrives while an error ends it, or whose effect on a task is an error.
    Then a caller that handles the error runs for ever.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    if errors := [error for error in ended if isinstance(error, Exception)]:
        raise ExceptionGroup("a part failed", errors)


def _check_task(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})


def _end_process(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if error is None or ("transport" in context and isinstance(error, OSError)):  # a failed connection, which its owner handles
        log.debug("%s: %s", context.get("message"), error)
        return
    try:
        log.critical("%s", context.get("message"), exc_info=error)
        logging.shutdown()
    finally:  # logging may fail for lack of memory
        os._exit(1)


class Soon:
    """Calls a function once at the end of the current pass of the
    loop, however often it is requested."""

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
        self._loop = loop
        self._function = function
        self._asked = False

    def __call__(self) -> None:
        if not self._asked:
            self._asked = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._asked = False
        self._function()


class Alarm:
    """Calls a function when a deadline has passed. A new deadline replaces the last one.

    The function may be called early, or although there is no deadline any more, because leaving a
    timer costs less than moving it with each message; it must then set the alarm again. If the
    process was suspended for longer than LATE_S, incoming data is read first: a peer counts as
    silent only after its messages were looked for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
        self._loop = loop
        self._function = function
        self._timer: asyncio.TimerHandle | None = None
        self._when = 0.0
        self._deferred = False

    def set(self, deadline: float | None) -> None:
        """deadline: monotonic seconds, or None."""
        if deadline is not None and (self._timer is None or deadline < self._when):
            self.cancel()
            self._when = deadline
            # uvloop's timers have a resolution of 1 ms and must not fire early
            self._timer = self._loop.call_later(max(0.0, deadline - clock.monotonic()) + 0.001, self._run)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._timer = None
        if not self._deferred and clock.monotonic() > self._when + LATE_S:
            self._deferred = True
            self._timer = self._loop.call_later(0, self._run)
            return
        self._deferred = False
        self._function()
