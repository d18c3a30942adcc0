"""Activities over time without a clock or threads: generators that yield the time to wait.

A task yields seconds (`NEVER` for no limit) and continues when they have passed or when it is
woken. An interrupted task gets an exception at its yield, when no other task runs. Tasks therefore
never re-enter each other, and time passes only in `run(now)`.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import math
from collections.abc import Generator

NEVER = math.inf
Steps = Generator[float, None, None]


class Task:
    """A running generator. `due` is when it continues, in the time of `Tasks.now`."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.due = NEVER
        self.interruption: BaseException | None = None
        self.ended = False


class Tasks:
    """All tasks, in order of time and, at the same time, in order of scheduling."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Task]] = []
        self._order = itertools.count()

    def start(self, steps: Steps) -> Task:
        """Start a task at the next `run`, so that the caller completes its own step first."""
        task = Task(steps)
        self._schedule(task, self.now)
        return task

    def wake(self, task: Task | None) -> None:
        if task is not None and not task.ended:
            self._schedule(task, self.now)

    def interrupt(self, task: Task, reason: BaseException) -> None:
        if task.interruption is None:
            task.interruption = reason
            self.wake(task)

    def next_due(self) -> float:
        """The time of the next step, or NEVER."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else NEVER

    def run(self, now: float) -> None:
        """Run all steps that are due by `now`, each at its own time."""
        while self.next_due() <= now:
            due, _, task = heapq.heappop(self._heap)
            self.now = max(self.now, due)
            self._step(task)
        self.now = max(self.now, now)

    def _schedule(self, task: Task, due: float) -> None:
        task.due = due
        if due < NEVER:
            heapq.heappush(self._heap, (due, next(self._order), task))

    def _drop_stale(self) -> None:
        while self._heap and (self._heap[0][2].ended or self._heap[0][0] != self._heap[0][2].due):
            heapq.heappop(self._heap)

    def _step(self, task: Task) -> None:
        task.due, reason = NEVER, None
        if inspect.getgeneratorstate(task.steps) != inspect.GEN_CREATED:
            # A new task starts first, so that its `finally` can handle the interruption.
            reason, task.interruption = task.interruption, None
        try:
            wait = task.steps.throw(reason) if reason else next(task.steps)
        except StopIteration:
            task.ended = True
        else:
            if task.due == NEVER:  # unless its own step has woken it
                self._schedule(task, self.now if task.interruption else self.now + wait)
