"""Events of one client that wait for answers.

On Asterisk no event comes between an action and its answer, and the events that an action causes
come after the answer. amid has separate sessions for events and for actions, so an event may arrive
before the answer of the action that caused it. Events therefore wait for the actions that were open
when they arrived, at most `hold_s`. A program would take an event with the ActionID of an open
action for its answer, also if another program caused it: it waits at most `hold_own_s`, as do the
events after it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from amid.manager.event_block import NONE, Events
from amid.manager.open_actions import OpenActions


class _HeldEvents(NamedTuple):
    """newest: number of the last action that was open when the events arrived. cause: number of the
    action whose ActionID they have. until, until_own: when they wait no longer, in monotonic
    seconds."""

    newest: int
    cause: int | None
    until: float
    until_own: float
    events: Events


class Outbox:
    """next_deadline: when `release` is due even if no answer arrives. held_bytes: of all events."""

    def __init__(self, hold_s: float, hold_own_s: float) -> None:
        self._hold_s = hold_s
        self._hold_own_s = hold_own_s
        self._held: deque[_HeldEvents] = deque()
        self.held_bytes = 0
        self.next_deadline: float | None = None

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, events: Events, newest: int, cause: int | None, now: float) -> None:
        held = _HeldEvents(newest, cause, now + self._hold_s, now + self._hold_own_s, events)
        self._held.append(held)
        self.held_bytes += len(events.data)
        if len(self._held) == 1:
            self.next_deadline = held.until

    def release(self, actions: OpenActions, now: float) -> Events:
        """Remove the events that need not wait any longer, and return them."""
        ready: list[Events] = []
        self.next_deadline = None
        while self._held:
            first = self._held[0]
            if now < first.until and actions.oldest is not None and first.newest >= actions.oldest:
                self.next_deadline = first.until
                break
            if now < first.until_own and first.cause is not None and actions.forwarded(first.cause) is not None:
                self.next_deadline = first.until_own
                break
            ready.append(self._held.popleft().events)
        if not ready:
            return NONE
        released = Events(b"".join(each.data for each in ready), sum(each.number for each in ready))
        self.held_bytes -= len(released.data)
        return released
