"""The model of one PBX: things by kind and id, each a map of plain values, and their changes.

A thing keeps the set of members that it was created with, so a client that merges each change into
its copy has the same maps. Values are replaced, never modified in place: a shallow copy of a thing
is a snapshot of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from amid.wire import STATE_KINDS

MAX_TOMBSTONES = 10_000
"""Ended channels and bridges that are remembered."""

DEPENDENT_KINDS = frozenset({"caller", "parked", "participant"})
"""Kinds whose things belong to a channel, `uniqueid`, and repeat its name and CHANNEL_MEMBERS."""
CHANNEL_MEMBERS = ("caller", "caller_name")

MEMBERS: dict[str, tuple[str, ...]] = {
    "channel": (
        *("uniqueid", "name", "linkedid", "state", "caller", "caller_name", "connected", "connected_name", "account"),
        *("context", "exten", "priority", "bridge", "held", "since", "answered"),
    ),
    "call": (
        *("linkedid", "channels", "caller", "caller_name", "connected", "connected_name", "context", "exten", "talking", "since"),
    ),
    "bridge": ("uniqueid", "type", "technology", "creator", "name", "channels", "since"),
    "queue": (
        *("name", "strategy", "max", "weight", "waiting", "completed", "abandoned", "hold_time", "talk_time"),
        *("service_level", "service_level_percent"),
    ),
    "member": (
        *("queue", "interface", "name", "device", "membership", "penalty", "status", "paused", "paused_reason", "in_call"),
        *("calls_taken", "last_call", "last_pause"),
    ),
    "caller": ("queue", "uniqueid", "channel", "caller", "caller_name", "position", "since"),
    "device": ("device", "state"),
    "hint": ("exten", "context", "hint", "status", "state"),
    "contact": ("aor", "uri", "endpoint", "status", "roundtrip_us", "user_agent"),
    "registration": ("name", "client", "server", "status", "cause"),
    "parked": ("uniqueid", "channel", "caller", "caller_name", "lot", "space", "parker", "since"),
    "conference": ("name", "locked", "muted", "since"),
    "participant": ("conference", "uniqueid", "channel", "caller", "caller_name", "admin", "muted", "talking", "since"),
}
"""Kind -> the members of its things, besides `id`."""

Thing = dict[str, Any]


class Change(NamedTuple):
    """New values of members of a thing; `set` is None if it has ended."""

    kind: str
    id: str
    set: Thing | None


class Model:
    """kinds: kind -> id -> thing, which has its id as the member `id`."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, Thing]] = {kind: {} for kind in STATE_KINDS}
        self.channels_listed = False
        """Whether all channels are known, so that only Newchannel creates one."""
        self.channels_announced: bool | None = None
        """Whether Newchannel arrives for new channels; None while it is not known."""
        self.tombstones: dict[str, None] = {}
        """Ids of channels and bridges that have ended: events of them may still arrive."""
        self.last_left: dict[str, str] = {}
        """Uniqueid -> the bridge that the channel left last, which a list may still name."""
        self.replacing: dict[str, str] = {}
        """Uniqueid of a channel that an attended transfer moves -> of the channel whose place it takes."""
        self.configured_contacts: dict[str, None] = {}
        """Ids of the contacts that are configured in an AOR."""
        self.call_channels: dict[str, dict[str, None]] = {}
        """Linkedid -> Uniqueids."""
        self.stale_calls: dict[str, None] = {}
        """Linkedids of calls to derive again."""
        self.stale_queues: dict[str, None] = {}
        """Queues whose statistics have changed since they were listed."""
        self.queue_callers: dict[str, dict[str, None]] = {}
        """Queue -> ids of its callers."""
        self.dependents: dict[str, dict[tuple[str, str], None]] = {}
        """Uniqueid -> kind and id of each thing that belongs to the channel."""
        self._changes: dict[tuple[str, str], Thing | None] = {}
        self._created: set[tuple[str, str]] = set()

    def get(self, kind: str, thing_id: str) -> Thing | None:
        return self.kinds[kind].get(thing_id)

    def put(self, kind: str, thing_id: str, values: Thing) -> None:
        """Create a thing, or give new values to members of it."""
        known = self.kinds[kind].get(thing_id)
        if known is None:
            self._create(kind, thing_id, values)
            return
        new = {name: value for name, value in values.items() if name not in known or known[name] != value}
        if not new:
            return
        known.update(new)
        changed = self._changes.get((kind, thing_id))
        if changed is None:
            self._changes[kind, thing_id] = new
        else:
            changed.update(new)

    def _create(self, kind: str, thing_id: str, values: Thing) -> None:
        self.kinds[kind][thing_id] = {"id": thing_id, **values}
        if (kind, thing_id) not in self._changes:
            self._created.add((kind, thing_id))
        changed = self._changes[kind, thing_id] = dict(values)
        changed.pop("id", None)
        if kind in DEPENDENT_KINDS:
            self.dependents.setdefault(values["uniqueid"], {})[kind, thing_id] = None
        if kind == "caller":
            self.queue_callers.setdefault(values["queue"], {})[thing_id] = None

    def remove(self, kind: str, thing_id: str) -> None:
        """End a thing, if it exists."""
        ended = self.kinds[kind].pop(thing_id, None)
        if ended is None:
            return
        if kind in DEPENDENT_KINDS:
            _remove_from(self.dependents, ended["uniqueid"], (kind, thing_id))
        if kind == "caller":
            _remove_from(self.queue_callers, ended["queue"], thing_id)
        if (kind, thing_id) in self._created:  # no change has reported it
            self._created.remove((kind, thing_id))
            del self._changes[kind, thing_id]
        else:
            self._changes[kind, thing_id] = None

    def add_tombstone(self, thing_id: str) -> None:
        self.tombstones[thing_id] = None
        if len(self.tombstones) > MAX_TOMBSTONES:
            del self.tombstones[next(iter(self.tombstones))]

    def take_changes(self) -> list[Change]:
        """The changes since the last call, at most one of each thing."""
        changes = [Change(kind, thing_id, values) for (kind, thing_id), values in self._changes.items()]
        self._changes = {}
        self._created.clear()
        return changes


def _remove_from(index: dict[str, dict[Any, None]], key: str, member: Any) -> None:
    members = index[key]
    del members[member]
    if not members:
        del index[key]
