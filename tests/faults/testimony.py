"""Compares the witness with callers and subscribers, token by token.

A token is the text of a UserEvent. The witness, in a session of its own, sees every UserEvent that
Asterisk sent. So `sent: false` is wrong if it saw the token, a success is wrong if it did not, and
no token may be seen twice. A subscriber must have the tokens in the witness's order without holes,
as long as its own sequence has none. A disconnected witness proves nothing by its silence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from tests.faults.records import Call, Cut, Seen, Witnessed

T = TypeVar("T")

SETTLED = 60.0
"""Seconds after which neither side of a matter is still to come."""
KEPT = 180.0
"""Seconds after which a token is forgotten."""
LATE = 30.0
"""Seconds that an event may be on its way to a subscriber: a slow network holds up amid, and not the witness."""


class Heard(NamedTuple):
    """A token as a subscriber saw it; `run` is the piece of its sequence without holes."""

    event: Seen
    run: int


@dataclass
class Testimony:
    """Each method returns the violations that the record shows."""

    witnessed: dict[str, Witnessed] = field(default_factory=dict)
    _calls: dict[str, Call] = field(default_factory=dict)
    _unsettled: deque[Call] = field(default_factory=deque)
    _heard: dict[str, deque[Heard]] = field(default_factory=dict)
    _last: dict[str, tuple[int, Witnessed]] = field(default_factory=dict)
    _cuts: list[Cut] = field(default_factory=list)

    def __len__(self) -> int:
        waiting = len(self._unsettled) + sum(map(len, self._heard.values()))
        return len(self.witnessed) + len(self._calls) + len(self._cuts) + waiting

    def call(self, call: Call) -> list[str]:
        self._calls[call.token] = call
        self._unsettled.append(call)
        return self._lie(call) if call.token in self.witnessed else []

    def seen_by_witness(self, one: Witnessed) -> list[str]:
        if one.token in self.witnessed:
            return [f"carried out twice: {one.token}"]
        self.witnessed[one.token] = one
        call = self._calls.get(one.token)
        return self._lie(call) if call is not None else []

    def cut(self, cut: Cut) -> list[str]:
        """Replace an open interval by the same with its end."""
        self._cuts = [one for one in self._cuts if one.until is not None] + [cut]
        return []

    def heard(self, event: Seen, run: int) -> list[str]:
        self._heard.setdefault(event.subscriber, deque()).append(Heard(event, run))
        return []

    def settle(self, now: float) -> list[str]:
        """Judge what is ripe at `now`, and forget what is old."""
        found = [text for name, queue in self._heard.items() for text in self._in_order(name, queue, now)]
        while self._unsettled and self._unsettled[0].ended < now - SETTLED:
            found += self._settled(self._unsettled.popleft())
        self._forget(now - KEPT)
        return found

    def _lie(self, call: Call) -> list[str]:
        return [] if call.sent else [f"sent is false, and Asterisk carried it out: {call}"]

    def _settled(self, call: Call) -> list[str]:
        if call.kind != "ok" or call.token in self.witnessed or self._blind(call.began, call.ended):
            return []
        return [f"answered with success, and Asterisk never carried it out: {call}"]

    def _blind(self, since: float, until: float) -> bool:
        """Whether the witness was cut off at some time in between."""
        return any(cut.since <= until and since <= (math.inf if cut.until is None else cut.until) for cut in self._cuts)

    def _in_order(self, subscriber: str, queue: deque[Heard], now: float) -> list[str]:
        found = []
        while queue:
            witnessed = self.witnessed.get(queue[0].event.token)
            if witnessed is not None:
                found += self._follows(subscriber, queue.popleft(), witnessed)
            elif queue[0].event.at < now - SETTLED:
                found += self._unwitnessed(subscriber, queue.popleft())
            else:
                break
        return found

    def _follows(self, subscriber: str, heard: Heard, witnessed: Witnessed) -> list[str]:
        run, last = self._last.get(subscriber, (-1, witnessed))
        self._last[subscriber] = (heard.run, witnessed)
        if run != heard.run or last.session != witnessed.session or witnessed.number == last.number + 1:
            return []
        numbers = f"number {witnessed.number} and {last.number} of the witness"
        return [f"{subscriber} had {witnessed.token} behind {last.token}, {numbers}"]

    def _unwitnessed(self, subscriber: str, heard: Heard) -> list[str]:
        self._last.pop(subscriber, None)
        at = heard.event.at
        return [] if self._blind(at - LATE, at) else [f"{subscriber} had {heard.event.token}, which the witness never saw"]

    def _forget(self, before: float) -> None:
        self._cuts = [cut for cut in self._cuts if cut.until is None or cut.until > before]
        _drop(self._calls, lambda call: call.ended < before)
        _drop(self.witnessed, lambda one: one.at < before)


def _drop(tokens: dict[str, T], old: Callable[[T], bool]) -> None:
    """Take the old ones away; the oldest stands first."""
    while tokens and old(tokens[next(iter(tokens))]):
        del tokens[next(iter(tokens))]
