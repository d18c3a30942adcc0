"""The deadlines of many calls, in order. Most are never reached."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    @property
    def call_id(self) -> int: ...
    @property
    def deadline(self) -> float: ...


T = TypeVar("T", bound=Timed)


class Deadlines(Generic[T]):
    """open_calls: by id. The deadline of one that has ended, or was extended, is dropped later:
    removing it from the heap at once takes too long."""

    def __init__(self, open_calls: Mapping[int, T]) -> None:
        self._open = open_calls
        self._heap: list[tuple[float, int]] = []

    def add(self, call: T) -> None:
        """Add an open call, or the new deadline of one."""
        heapq.heappush(self._heap, (call.deadline, call.call_id))
        if len(self._heap) > 2 * len(self._open) + 1000:  # most belong to calls answered long ago
            self._heap = sorted((one.deadline, one.call_id) for one in self._open.values())  # a sorted list is a heap

    def first(self) -> float | None:
        """The next deadline in monotonic seconds; None if nothing is open."""
        while self._heap and not self._is_valid(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_overdue(self, now: float) -> T | None:
        """Remove and return a call whose deadline has passed."""
        first = self.first()
        if first is None or first > now:
            return None
        return self._open[heapq.heappop(self._heap)[1]]

    def _is_valid(self, deadline: float, call_id: int) -> bool:
        call = self._open.get(call_id)
        return call is not None and call.deadline == deadline
