"""The rules for every event: as sent by Asterisk, with the correct number, once and in order, or
reported as a gap of the right size.

The reference is the PBX's log of each session. An epoch is one session; its event `amid:connected`
has number 1, followed by the PBX's events, with at most `amid:booted` among them. The number of an
event therefore follows from its place in the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from amid.client.event import Event
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


class Place:
    """Where a program is with one server. seq: the last number that it has or was told of, None before its first event; seqs: the
    last one of each name that it has seen, and None while an event of the name may be missing."""

    def __init__(self, epoch: int, seq: int | None) -> None:
        self.epoch = epoch
        self.seq = seq
        self.seqs: dict[str, int | None] = {}
        self.lost_some = seq is None
        """Whether the names that have not come may have been missed."""
        self.is_over = False


class EventJudge:
    def __init__(self, scheduler: Scheduler, pbxs: dict[str, SimulatedPbx]) -> None:
        self._scheduler = scheduler
        self._pbxs = pbxs
        self._epochs: dict[tuple[str, int], Epoch] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self.events = self.gaps = self.missed = 0

    # ── what comes over the wire ──

    def check_body(self, body: dict[str, Any]) -> None:
        """An event as it was published or replayed: what it says must be true."""
        server, number, name, fields = body["server"], body["seq"], body["event"], body["fields"]
        index = int(fields.get("PbxIndex", -1))
        identity = name, fields.get("PbxSession"), index, body["prev"]
        epoch = self._epochs.get((server, body["epoch"]))
        if epoch is None:
            epoch = self._epochs[server, body["epoch"]] = Epoch(-1)
        if epoch.known.setdefault(number, identity) != identity:
            self._fail(server, f"number {number} of epoch {body['epoch']} is {identity} and {epoch.known[number]}")
        if index >= 0:
            self._check_place(epoch, server, number, index, int(fields["PbxSession"]), name)
            before = self._pbxs[server].logs[epoch.session].befores[index]
            right = [0] if before is None else [before + offset for offset in OFFSETS]
            if body["prev"] not in right:
                self._fail(server, f"{name}, number {number}, has prev {body['prev']}; it is {right}")

    def check_page(self, program: str, names: frozenset[str], page: dict[str, Any], limit: int) -> None:
        """An answer of `events`: of one epoch, in order, not too long, with a cursor that is behind all of it."""
        numbers = [body["seq"] for body in page["events"]]
        if numbers != sorted(set(numbers)) or len(numbers) > limit or any(number > page["seq"] for number in numbers):
            self._fail(program, f"a page up to {page['seq']} of at most {limit} has {numbers}")
        for body in page["events"]:
            if body["epoch"] != page["epoch"] or (names and body["event"] not in names):
                self._fail(program, f"a page of {sorted(names)} in epoch {page['epoch']} has {body}")
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

    def check_item(self, program: str, names: frozenset[str], item: Event | Gap) -> None:
        """An event or a gap, in the order in which the program has them."""
        self._scheduler.decide(f"{program} {type(item).__name__} {item.epoch}")
        place = self._places.get((program, item.server))
        if place is None:
            place = self._places[program, item.server] = Place(item.epoch, None)
        elif item.epoch != place.epoch:
            if item.epoch < place.epoch or not place.is_over:
                self._fail(program, f"epoch {item.epoch} follows {place.epoch}, whose end was not told: {item}")
            place = self._places[program, item.server] = Place(item.epoch, 0)
        if isinstance(item, Event):
            self.events += 1
            self._take_event(place, program, names, item)
        else:
            self.gaps += 1
            self.missed += item.missed or 0
            self._take_gap(place, program, names, item)

    def _take_event(self, place: Place, program: str, names: frozenset[str], event: Event) -> None:
        if place.is_over:
            self._fail(program, f"{event} comes behind the end of its epoch")
        if place.seq is not None and (event.seq <= place.seq if names else event.seq != place.seq + 1):
            self._fail(program, f"number {event.seq} follows {place.seq}")
        before = place.seqs.get(event.event, None if place.lost_some else 0)
        if before is not None and event.prev != before:
            self._fail(program, f"{event.event} with prev {event.prev} follows number {before}")
        place.seqs[event.event] = place.seq = event.seq

    def _take_gap(self, place: Place, program: str, names: frozenset[str], gap: Gap) -> None:
        if gap.missed is None:
            place.is_over = True
            return
        place.seqs = dict.fromkeys(place.seqs)
        place.lost_some = True
        if not names:
            if place.seq is not None and gap.after != place.seq:
                self._fail(program, f"{gap} comes behind number {place.seq}")
            place.seq = gap.after + gap.missed

    # ── the end ──

    def finish(self, program: str, server: str, names: frozenset[str]) -> None:
        """After recovery: the program must have received everything of the current session, or been
        told about gaps."""
        log, place = self._pbxs[server].event_log, self._places.get((program, server))
        if log is None:
            self._fail(server, "has no event session at the end")
            return
        if place is None or place.is_over or place.seq is None:
            return
        if not names and place.seq not in [len(log.names) - 1 + offset for offset in OFFSETS]:
            self._fail(program, f"is at number {place.seq} of {server}, and the PBX has sent {len(log.names)} events")
        for name, seq in place.seqs.items() if names else ():
            last = log.last.get(name)
            if seq is not None and last is not None and seq not in [last + offset for offset in OFFSETS]:
                self._fail(program, f"has number {seq} of {name} of {server}, and the PBX has sent its last one as event {last}")

    def _fail(self, whom: str, what: str) -> None:
        self._scheduler.fail(f"events of {whom}: {what}")
