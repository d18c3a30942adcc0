"""Which lost events to fetch once more, and when to stop asking: pure, between `Gaps`, which sees a loss, and `replay`.

A gap becomes a range of numbers. It is asked for page by page, until it is whole or the daemon does not hold the rest. Where the
daemon holds only the end of a range, it says which number is the oldest, and the asking goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from amid.errors import AmidError
from amid.events.sequence import Gap

PAGE = 1000
"""Events asked for at a time: a reader takes some ten milliseconds to encode so many, and serves others between two pages."""
TRIES = 8
"""How often a page is asked for when it is refused for now: its reader or the broker may just have been replaced. A try that
failed otherwise counts for half of them."""
PAUSE_S = 0.5
"""Seconds between two such tries."""

FOR_NOW = frozenset({"not_connected", "busy", "unreachable"})
"""Errors that come at once and may be over in a moment."""

FINAL = frozenset({"gone", "unknown_server", "invalid_params", "unknown_method", "denied"})
"""Errors that asking again would not change."""


class Ask(NamedTuple):
    """The arguments of `replay`."""

    server: str
    epoch: int
    after: int
    limit: int = PAGE


@dataclass
class _Range:
    """Behind `after`, not behind `until`; None is to the epoch's end."""

    server: str
    epoch: int
    after: int
    until: int | None
    tries: int = TRIES

    def whole(self) -> bool:
        return self.until is not None and self.after >= self.until


class Recovery:
    """Give it gaps with `begin`; while `ask` is not None, call `replay` with it and give `page` or `refused` what came."""

    def __init__(self) -> None:
        self._ranges: deque[_Range] = deque()
        self.pause = 0.0
        """Seconds to wait before `ask` is asked."""

    @property
    def ask(self) -> Ask | None:
        if not self._ranges:
            return None
        first = self._ranges[0]
        return Ask(first.server, first.epoch, first.after)

    def begin(self, gaps: Iterable[Gap]) -> None:
        """Gaps in several names of one epoch are one range, so that their events come in order."""
        for gap in gaps:
            last = self._ranges[-1] if self._ranges else None
            if last and (last.server, last.epoch) == (gap.server, gap.epoch):
                last.after = min(last.after, gap.after)
                last.until = None if last.until is None or gap.until is None else max(last.until, gap.until)
            else:
                self._ranges.append(_Range(gap.server, gap.epoch, gap.after, gap.until))

    def page(self, events: list[dict[str, Any]], more: bool) -> list[dict[str, Any]]:
        """Those events of a page that lie in the range."""
        first, self.pause = self._ranges[0], 0.0
        wanted = [event for event in events if event["seq"] > first.after and (first.until is None or event["seq"] <= first.until)]
        if wanted:
            first.after = wanted[-1]["seq"]
        if not more or not wanted or first.whole():
            self._ranges.popleft()
        return wanted

    def refused(self, error: AmidError) -> None:
        first, for_now = self._ranges[0], error.kind in FOR_NOW
        first.tries -= 1 if for_now else TRIES // 2
        self.pause = PAUSE_S if for_now else 0.0
        if error.oldest is not None and error.oldest > first.after + 1 and (first.until is None or error.oldest <= first.until):
            first.after = error.oldest - 1
            first.tries = TRIES
        elif error.kind in FINAL or first.tries <= 0:
            self._ranges.popleft()
