"""Events of one client that wait for answers.

On Asterisk no event comes between an action and its answer, and the events that an action causes
come after the answer. amid has separate sessions for events and for actions, so an event may arrive
before the answer of the action that caused it. Events therefore wait for the actions that were open
when they arrived, at most `hold_s`. A program would take an event with the ActionID of an open
action for its answer, also if another program caused it: it waits at most `hold_own_s`, as do the
events after it. When they have more than `hold_bytes`, the first ones wait no longer: a client that
gets too much at once looks like one that does not read.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from amid.manager.event_block import NONE, Events
from amid.manager.manager import Limits
from amid.manager.open_actions import OpenActions


class _HeldEvents(NamedTuple):
    """newest: number of the last action that was open when the events arrived. causes: numbers of the
    actions whose ActionIDs they have. until, until_own: when they wait no longer, in monotonic
    seconds."""

    newest: int
    causes: list[int]
    until: float
    until_own: float
    events: Events

    def waits_until(self, actions: OpenActions, now: float) -> float | None:
        """None if they need not wait any longer."""
        if now < self.until and actions.oldest is not None and self.newest >= actions.oldest:
            return self.until
        return self.until_own if now < self.until_own and any(map(actions.get, self.causes)) else None


class Outbox:
    """next_deadline: when `release` is due even if no answer arrives; infinite if it holds no events.
    held_bytes: of all events."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: deque[_HeldEvents] = deque()
        self.held_bytes = 0
        self.next_deadline = math.inf

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, events: Events, newest: int, causes: list[int], now: float) -> None:
        held = _HeldEvents(newest, causes, now + self._limits.hold_s, now + self._limits.hold_own_s, events)
        self._held.append(held)
        self.held_bytes += len(events.data)
        if self.held_bytes > self._limits.hold_bytes:
            self.next_deadline = now
        elif len(self._held) == 1:
            self.next_deadline = held.until

    def release(self, actions: OpenActions, now: float) -> Events:
        """Remove the events that need not wait any longer, and return them."""
        ready: list[Events] = []
        self.next_deadline = math.inf
        while self._held:
            first = self._held[0]
            until = first.waits_until(actions, now) if self.held_bytes <= self._limits.hold_bytes else None
            if until is not None:
                self.next_deadline = until
                break
            ready.append(self._held.popleft().events)
            self.held_bytes -= len(first.events.data)
        if not ready:
            return NONE
        return Events(b"".join(each.data for each in ready), sum(each.number for each in ready))
