"""The events of one server on their way to its files, as pure code.

A page of events becomes a batch: the events to store, the calls that changed, and the gaps. The
batch includes the number up to which events were read, so that events that could not be stored are
requested again.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from amid.events.replay_buffer import Cursor
from amid.history.event import Event, decode_array, split
from amid.history.fold import Fold
from amid.history.ladder import summary
from amid.history.model import Call
from amid.recorder.day_file import Batch, CallRow, GapRow, StoredEvent, stored


class Page(msgspec.Struct):
    """An answer to `events` (see the contract). events: the packed array."""

    epoch: int
    seq: int
    events: msgspec.Raw
    missed: int | None
    more: bool


class Recording:
    """leave_out: names of events that are folded, but not stored."""

    def __init__(self, server: str, leave_out: Iterable[str]) -> None:
        self.server = server
        self._leave_out = frozenset(leave_out)
        self._fold = Fold()
        self._cursor: Cursor | None = None
        self.needs_channel_list = False
        """Whether channels may have hung up in a gap. `hang_up` is due for those that Asterisk does
        not list."""

    @property
    def cursor(self) -> Cursor | None:
        """The last event that was read; None for "from now on"."""
        return self._cursor

    @property
    def live_channels(self) -> frozenset[str]:
        return self._fold.live_channels

    def resume(self, cursor: Cursor | None, calls: Fold) -> None:
        """Continue after `cursor`. calls: those that were open there."""
        self._fold = calls
        self._cursor = cursor
        self.needs_channel_list = bool(self.live_channels)  # the recorder may have ended after a gap, before it had the list
        for call in self._fold.calls.values():
            call.changed = False

    def feed_page(self, page: Page, now: float) -> Batch:
        """Fold the events after the cursor. now: the time of a gap with no event after it yet."""
        events = decode_array(page.events)
        gaps = self._gaps_before(page, events[0].time if events else now)
        first = self._first_of(page, events)
        kept: list[StoredEvent] = []
        left_out_names: set[str] = set()
        feed, leave_out = self._fold.feed, self._leave_out
        for event, packed in zip(events, split(page.events), strict=True):
            linkedids = feed(event, packed)
            if event.event not in leave_out:
                kept.append(stored(event, packed, linkedids))
            else:
                left_out_names.add(event.event.casefold())
        if events:
            self._fold.expire(events[-1].time)
        self._cursor = Cursor(page.epoch, page.seq)
        return Batch(first, self._cursor, kept, self._changed_calls(), gaps, left_out_names)

    def hang_up(self, gone: Iterable[str], time: float) -> Batch:
        """End channels (Uniqueids) that hung up in a gap: no Hangup came, and Asterisk does not
        list them."""
        self.needs_channel_list = False
        self._fold.hang_up_unlisted(self._fold.live_channels - set(gone), time)
        cursor = self._cursor or Cursor(0, 0)
        return Batch(cursor.seq + 1, cursor, calls=self._changed_calls())

    def open_calls(self) -> list[CallRow]:
        return [self._row(call) for call in dict.fromkeys(self._fold.calls.values()) if not call.ended]

    def _changed_calls(self) -> list[CallRow]:
        changed = [call for call in dict.fromkeys(self._fold.calls.values()) if call.changed]
        for call in changed:
            call.changed = False
        return [self._row(call) for call in changed]

    def _row(self, call: Call) -> CallRow:
        last = Cursor(*call.last.number) if call.ended else None
        return CallRow(summary(call, self.server), Cursor(*call.first.number), last)

    def _first_of(self, page: Page, events: list[Event]) -> int:
        """The number from which on all events of a page are there."""
        if page.missed == 0 and self._cursor is not None:
            return self._cursor.seq + 1
        return events[0].seq if events else page.seq + 1

    def _gaps_before(self, page: Page, time: float) -> list[GapRow]:
        """The events that are missing before a page, which begins at `time`. They are stored with it:
        a recorder that is killed after it does not request them again."""
        if page.missed == 0 or self._cursor is None:
            return []
        gap = GapRow(*self._cursor, page.missed, time, "")
        self.needs_channel_list = True
        self._fold.add_gap(gap.epoch, gap.after, gap.missed, time)
        return [gap]
