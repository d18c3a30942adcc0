"""A call as it is folded from events: its legs, and the steps of its ladder."""

from __future__ import annotations

from typing import Any

import msgspec

from amid.history.event import Moment

MAX_STEPS = 2000
"""Steps kept for a call. A call that waits in a queue for hours has more; further ones are only
counted."""


class Leg(msgspec.Struct, eq=False):
    """One party of a call: a channel, or a pair of Local channels, both halves of which are the
    same party to a person.

    connects: a Local pair that only joins two channels, because its far half dials, or both halves
    are in bridges. dialled: it was called, by `caller` or, if that is None, by the PBX. announced:
    the legs that the ladder last showed as talking with it. Times are seconds since 1970, 0.0 for
    not yet.
    """

    channel: str
    call: Call
    number: str = ""
    name: str = ""
    caller: Leg | None = None
    agent: str = ""
    local: bool = False
    dialled: bool = False
    dialling_ended: bool = False
    connects: bool = False
    up: bool = False
    on_hold: bool = False
    asked_to_end: bool = False
    called_at: float = 0.0
    rang_at: float = 0.0
    waits_since: float = 0.0
    cause: int = 0
    cause_text: str = ""
    uniqueids: list[str] = []
    live: int = 0
    """How many of its channels have not hung up."""
    bridges: set[str] = set()
    talks_with: frozenset[Leg] | None = None
    announced: frozenset[Leg] | None = None

    @property
    def label(self) -> str:
        """How a person names it: name and number, or the channel without its serial number."""
        if self.number:
            return f"{self.name} ({self.number})" if self.name and self.name != self.number else self.number
        return self.name or self.channel.rpartition("-")[0] or self.channel

    @property
    def answers_for(self) -> str:
        """The queue member for which this leg is called, directly or through a Local pair."""
        return self.agent or (self.caller.agent if self.caller is not None and self.caller.connects else "")


class Step(msgspec.Struct, eq=False):
    """Something that happened. parties: who did it, and to whom. details: what else the phrase of
    its kind shows. hidden: the ladder omits it, because another step says the same."""

    at: Moment
    kind: str
    parties: tuple[Leg | None, ...]
    details: dict[str, Any]
    hidden: bool = False


class Call(msgspec.Struct, eq=False):
    """All channels that share a Linkedid, and those of calls that were joined to it (`joined`:
    their Linkedids).

    first, last: its first and last event. first_end: who first requested the end after everything
    else that happened: a leg, "pbx", "restart" or "agent"; "" if that was perhaps not recorded. late:
    its beginning was not recorded, the Newchannel of the channel whose Uniqueid is its Linkedid.
    has_gap: events of it are missing. changed: its summary differs from the one that was stored
    last; during the call, a mere count of events is no change.
    """

    linkedid: str
    first: Moment
    last: Moment
    began: float
    ended: float = 0.0
    legs: list[Leg] = []
    steps: list[Step] = []
    joined: list[str] = []
    numbers: set[str] = set()
    dialled: str = ""
    queue: str = ""
    agent: str = ""
    outcome: str = ""
    first_end: Leg | str = ""
    waited: float = 0.0
    answered_at: float = 0.0
    talked: float = 0.0
    talks_since: float = 0.0
    events: int = 0
    channels: int = 0
    left_out: int = 0
    late: bool = True
    has_gap: bool = False
    changed: bool = True

    def add(self, step: Step) -> None:
        self.changed = True
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step)
        else:
            self.left_out += 1

    @property
    def caller(self) -> Leg | None:
        """The party that began it: the first one; of a call that is recorded late, that may be any."""
        if self.late:
            return next((leg for leg in self.legs if self.linkedid in leg.uniqueids), None)
        return self.legs[0] if self.legs else None

    @property
    def is_over(self) -> bool:
        return not any([leg.live for leg in self.legs])
