"""What must hold of every event: as Asterisk sent it, under its true number, once and in order, or told as a gap of the right size.

The truth is the PBX's log of each session. An epoch is one session; its event `amid:connected` has number 1, and the PBX's events
follow, with `amid:booted` among them at most. So the number of an event is known from its place in the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amid.client.feed import Event
from amid.events.sequence import Gap
from tests.simulation.loop import Scheduler
from tests.simulation.pbx import SimulatedPbx

OFFSETS = (2, 3)
"""What is added to a place in the log, from 0: `amid:connected` is before it, and perhaps `amid:booted`."""


@dataclass
class Epoch:
    """session: of the PBX. known: what stood under each number. offsets: the lowest and highest number with each."""

    session: int
    known: dict[int, Any] = field(default_factory=dict)
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)


class Position:
    """Where a subscriber is with one server. seq: the last number that it has or was told of; nths: the same by name."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.seq: int | None = None
        self.nths: dict[str, int | None] = {}
        self.is_over = False
        self.is_first = True


class EventJudge:
    def __init__(self, scheduler: Scheduler, pbxs: dict[str, SimulatedPbx]) -> None:
        self._scheduler = scheduler
        self._pbxs = pbxs
        self._epochs: dict[tuple[str, int], Epoch] = {}
        self._positions: dict[tuple[str, str], Position] = {}
        self.events = self.gaps = self.missed = 0

    # ── what comes over the wire ──

    def check_body(self, body: dict[str, Any]) -> None:
        """An event as it was published or replayed: what it says must be true."""
        server, number, name, fields = body["server"], body["seq"], body["event"], body["fields"]
        index = int(fields.get("PbxIndex", -1))
        identity = name, fields.get("PbxSession"), index, body["nth"]
        epoch = self._epochs.get((server, body["epoch"]))
        if epoch is None:
            epoch = self._epochs[server, body["epoch"]] = Epoch(-1)
        if epoch.known.setdefault(number, identity) != identity:
            self._fail(server, f"number {number} of epoch {body['epoch']} is {identity} and {epoch.known[number]}")
        if index >= 0:
            self._check_place(epoch, server, number, index, int(fields["PbxSession"]), name)
            nth = self._pbxs[server].logs[epoch.session].nths[index]
            if body["nth"] != nth:
                self._fail(server, f"{name}, number {number}, has nth {body['nth']}; it is {nth}")

    def check_replay(self, subscriber: str, after: int, events: list[dict[str, Any]]) -> None:
        """The events in an answer to `replay` begin behind `after`, and none is missing between them."""
        if [body["seq"] for body in events] != list(range(after + 1, after + 1 + len(events))):
            self._fail(subscriber, f"replay behind {after} gave {[body['seq'] for body in events]}")
        for body in events:
            self.check_body(body)

    def _check_place(self, epoch: Epoch, server: str, number: int, index: int, session: int, name: str) -> None:
        if epoch.session < 0:
            epoch.session = session
        log = self._pbxs[server].logs[session].names
        if epoch.session != session or log[index] != name:
            self._fail(server, f"number {number}, {name}, is event {index} of session {session}, and not of {epoch.session}")
        offset = number - index
        low, high = epoch.offsets.get(offset, (number, number))
        epoch.offsets[offset] = min(low, number), max(high, number)
        ranges = [epoch.offsets[one] for one in sorted(epoch.offsets)]
        if not set(epoch.offsets) <= set(OFFSETS) or (len(ranges) == 2 and ranges[0][1] >= ranges[1][0]):
            self._fail(server, f"event {index} of session {session} has number {number}; numbers so far {epoch.offsets}")

    # ── what a client gives its program ──

    def check_item(self, subscriber: str, names: frozenset[str], item: Event | Gap) -> None:
        """An event or a gap, in the order in which the subscriber has them."""
        self._scheduler.decide(f"{subscriber} {type(item).__name__} {item.epoch} {item.event or ''}")
        position = self._positions.get((subscriber, item.server))
        if position is None:
            position = self._positions[subscriber, item.server] = Position(item.epoch)
        elif item.epoch != position.epoch:
            position = self._begin_epoch(position, subscriber, item)
        if isinstance(item, Event):
            self.events += 1
            self._take_event(position, subscriber, names, item)
        else:
            self.gaps += 1
            self.missed += item.missed or 0
            self._take_gap(position, subscriber, item)

    def _begin_epoch(self, before: Position, subscriber: str, item: Event | Gap) -> Position:
        if item.epoch < before.epoch or not before.is_over:
            self._fail(subscriber, f"epoch {item.epoch} follows {before.epoch}, whose end was not told: {item}")
        position = self._positions[subscriber, item.server] = Position(item.epoch)
        position.seq, position.is_first = 0, False
        return position

    def _take_event(self, position: Position, subscriber: str, names: frozenset[str], event: Event) -> None:
        if position.is_over:
            self._fail(subscriber, f"{event} comes behind the end of its epoch")
        if not names:
            if position.seq is not None and event.seq != position.seq + 1:
                self._fail(subscriber, f"number {event.seq} follows {position.seq}")
        else:
            last = position.nths.get(event.event, None if position.is_first else 0)
            if last is not None and event.nth != last + 1:
                self._fail(subscriber, f"{event.event} with nth {event.nth} follows {last}")
            position.nths[event.event] = event.nth
        position.seq = event.seq

    def _take_gap(self, position: Position, subscriber: str, gap: Gap) -> None:
        if gap.until is None:
            position.is_over = True
        elif gap.event is None:
            if (position.seq is not None and gap.after != position.seq) or gap.missed != gap.until - gap.after:
                self._fail(subscriber, f"{gap} comes behind number {position.seq}")
            position.seq = gap.until
        else:
            last = position.nths.get(gap.event, None if position.is_first else 0)
            position.nths[gap.event] = None if last is None or gap.missed is None else last + gap.missed

    # ── the end ──

    def finish(self, subscriber: str, server: str, names: frozenset[str]) -> None:
        """All is well again: the subscriber must have had everything of the present session, or been told."""
        log, position = self._pbxs[server].event_log, self._positions.get((subscriber, server))
        if log is None:
            self._fail(server, "has no event session at the end")
            return
        if position is None or position.is_over or (position.is_first and names):
            return
        if names:
            wrong = {name: nth for name, nth in position.nths.items() if nth is not None and nth != log.counts[name]}
            if wrong:
                self._fail(subscriber, f"has of {server} {wrong}, and the PBX has sent {log.counts}")
        elif position.seq not in [len(log.names) - 1 + offset for offset in OFFSETS]:
            self._fail(subscriber, f"is at number {position.seq} of {server}, and the PBX has sent {len(log.names)} events")

    def _fail(self, whom: str, what: str) -> None:
        self._scheduler.fail(f"events of {whom}: {what}")
