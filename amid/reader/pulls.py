"""The method `events`: each request is answered with the events after its cursor, or waits for one.

Stored events are encoded in portions between the reader's other work. A page can take 0.1 s, and
many may be requested at once; encoding them in one step would delay calls and events, and the
reader would be killed as hung.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from amid.events.replay_buffer import Cursor, ReplayBuffer
from amid.process.loop import Alarm, Soon, clock
from amid.reader.publisher import Publisher
from amid.reader.result_encoder import Deliver
from amid.rpc import result
from amid.rpc.deadlines import Deadlines
from amid.rpc.messages import Failure, PullEvents

PORTION = 500
"""Events encoded in one step, which takes some 2 ms."""
PASS_S = 0.01
"""Time for all pulls in one pass of the reader's loop."""
GROWTH_GRACE_S = 0.01
"""A page grows at most this long after its timeout. Shortly after, the
broker answers with the same cursor."""
MAX_ANSWER_BYTES = 1024 * 1024
"""Bytes of events at which an answer ends, even below its limit of events."""


class _Pull:
    """One request: its cursor, and the encoded part of its answer.

    names: case-folded, empty for all. has_waited: whether it is in `Pulls._waiting_for`.
    """

    def __init__(self, request: PullEvents, cursor: Cursor) -> None:
        self.request = request
        self.call_id = request.call_id
        self.deadline = request.end
        self.cursor = cursor
        self.names = frozenset(name.casefold() for name in request.names)
        self.missed: int | None = 0
        self.events = result.EncodedEvents(request.as_json)
        self.has_waited = False

    @property
    def is_empty(self) -> bool:
        """Whether its answer has neither an event nor the end of an epoch yet."""
        return not self.events.count and self.missed is not None

    @property
    def may_be_recorded(self) -> bool:
        """Whether the recorder may answer it, because nothing is in its answer yet."""
        return self.request.recorded and not self.events.count and self.missed == 0

    @property
    def remaining(self) -> int:
        """How many more events it may get."""
        return self.request.limit - self.events.count if self.events.size < MAX_ANSWER_BYTES else 0


class Pulls:
    """All requests without an answer yet. deliver: takes the answers. pass_on: takes the requests
    for events that the recorder may have, and a cursor to continue from. is_backlogged: whether
    answers must wait until `work_soon` is called."""

    def __init__(
        self,
        publisher: Publisher,
        deliver: Deliver,
        pass_on: Callable[[int, Cursor], object],
        is_backlogged: Callable[[], bool],
    ) -> None:
        self._publisher = publisher
        self._buffer: ReplayBuffer = publisher.buffer
        self._deliver = deliver
        self._pass_on = pass_on
        self._is_backlogged = is_backlogged
        loop = asyncio.get_running_loop()
        self.work_soon = Soon(loop, self._work)
        """Continues after a backlog."""
        self._alarm = Alarm(loop, self._end_overdue)
        self._ready: deque[_Pull] = deque()
        self._behind: deque[_Pull] = deque()
        """Requests with many events to read. One of them and one of `_ready` grow at a time, so that
        programs that were away delay no others."""
        self._open: dict[int, _Pull] = {}
        self._waiting: dict[int, _Pull] = {}
        self._ends = Deadlines(self._waiting)
        self._waiting_for: dict[str, dict[int, _Pull]] = {}
        """Waiting requests by the names that they wait for; "" for all events. A request that was
        resumed is removed at its next step: removing the names of many at once takes too long."""
        publisher.on_publish = self._wake

    def add(self, request: PullEvents) -> None:
        """Answer this request when its turn comes."""
        cursor = self._buffer.cursor if request.epoch is None else Cursor(request.epoch, request.seq)
        self.forget(request.call_id)  # the broker sends it again after the link was lost
        pull = self._open[request.call_id] = _Pull(request, cursor)
        is_near = cursor.epoch == self._buffer.cursor.epoch and cursor.seq >= self._buffer.cursor.seq - PORTION
        (self._ready if is_near else self._behind).append(pull)
        self.work_soon()

    def forget(self, call_id: int) -> None:
        """The caller no longer waits for this answer."""
        self._open.pop(call_id, None)
        pull = self._waiting.pop(call_id, None)
        if pull is not None:
            self._ready.append(pull)
            self.work_soon()

    def forget_all(self) -> None:
        """The broker that sent them has ended."""
        for call_id in list(self._open):
            self.forget(call_id)

    # ── waiting ──

    def _wait(self, pull: _Pull) -> None:
        self._waiting[pull.call_id] = pull
        pull.has_waited = True
        for name in pull.names or ("",):
            self._waiting_for.setdefault(name, {})[pull.call_id] = pull
        self._ends.add(pull)
        self._alarm.set(self._ends.first())

    def _remove_names(self, pull: _Pull) -> None:
        """Remove a request that waited from `_waiting_for`."""
        pull.has_waited = False
        for name in pull.names or ("",):
            same = self._waiting_for[name]
            del same[pull.call_id]
            if not same:
                del self._waiting_for[name]

    def _wake(self, first: int, names: list[str]) -> None:
        """Resume requests that wait for these names.

        The events were published from number `first` on.
        """
        if not self._waiting:
            return
        woken = [pull for call_id, pull in self._waiting_for.get("", {}).items() if call_id in self._waiting]
        if len(woken) < len(self._waiting):
            for name in dict.fromkeys(map(str.casefold, names)):  # in a fixed order, for the simulation of the tests
                woken += self._waiting_for.get(name, {}).values()
        before = Cursor(self._buffer.cursor.epoch, first - 1)
        for pull in dict.fromkeys(woken):
            if self._waiting.pop(pull.call_id, None) is None:
                continue  # resumed before, and not removed from its names yet
            if pull.cursor.epoch == before.epoch:
                pull.cursor = before  # no event of its names came before these
            self._ready.append(pull)
        if woken:
            self.work_soon()

    def _end_overdue(self) -> None:
        now, end = clock.monotonic(), self._buffer.cursor
        while (pull := self._ends.pop_overdue(now)) is not None:
            del self._waiting[pull.call_id]
            if pull.cursor.epoch == end.epoch:
                pull.cursor = end
            self._ready.append(pull)
        self._alarm.set(self._ends.first())
        self._work()

    # ── working ──

    def _work(self) -> None:
        """Encode for `PASS_S`."""
        end = clock.monotonic() + PASS_S
        if self._is_backlogged():
            return
        while self._ready or self._behind:
            for queue in (self._ready, self._behind):
                if queue and self._is_done(queue[0]):
                    queue.popleft()
            if clock.monotonic() >= end:
                self.work_soon()
                return

    def _is_done(self, pull: _Pull) -> bool:
        """Take the next step of a request; True after the last one."""
        if pull.has_waited:
            self._remove_names(pull)
        return self._open.get(pull.call_id) is not pull or self._advance(pull)

    def _advance(self, pull: _Pull) -> bool:
        """Encode the next events; True once the pull is answered or waits."""
        if clock.monotonic() >= pull.request.deadline:  # the broker has answered
            del self._open[pull.call_id]
            return True
        try:
            page = self._buffer.read(pull.cursor, min(PORTION, pull.remaining), pull.names)
        except ValueError as error:
            return self._deliver_once(pull, None, Failure("invalid_params", f"`after`: {error}", False))
        if pull.may_be_recorded and page.missed != 0 and not self._buffer.holds_end_of(pull.cursor):
            self._open.pop(pull.call_id)
            self._pass_on(pull.call_id, pull.cursor)
            return True
        if (pull.events.count and page.cursor.epoch != pull.cursor.epoch) or (page.missed and not pull.is_empty):
            return self._answer(pull, more=True)  # the next answer reports the missing events
        pull.cursor = page.cursor
        pull.missed = None if page.missed is None or pull.missed is None else pull.missed + page.missed
        if page.events:
            pull.events.add(self._publisher.as_published(page.cursor.epoch, page.events))
        now = clock.monotonic()
        if page.more and pull.remaining and now < pull.deadline + GROWTH_GRACE_S:
            return False
        if page.more or pull.events.count or now >= pull.deadline:
            return self._answer(pull, page.more)
        self._wait(pull)
        return True

    def _answer(self, pull: _Pull, more: bool) -> bool:
        return self._deliver_once(pull, pull.events.page(self._publisher.server, *pull.cursor, pull.missed, more), None)

    def _deliver_once(self, pull: _Pull, answer: bytes | None, failure: Failure | None) -> bool:
        del self._open[pull.call_id]
        self._deliver(pull.call_id, answer, failure)
        return True
