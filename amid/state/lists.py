"""The table of lists: the actions that load each group of kinds, and what their items change.

A list becomes a model of its own, item by item, so that a long one can be added in portions. The
events since the list are applied to it, and it is compared with the model that the events have
made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from amid.state import channels, conferences, devices, parking, queues
from amid.state.calls import derive_calls
from amid.state.headers import Fields
from amid.state.model import CHANNEL_MEMBERS, DEPENDENT_KINDS, Model, Thing

Step = Callable[[Model, Fields, float], object]
Item = tuple[str, Mapping[Any, Any]]
"""Name and headers of an item of a list."""
ThingKey = tuple[str, str]
"""Kind and id of a thing."""


class Listing(NamedTuple):
    """An action that returns a list. items: name of an item -> its effect. detail: an action to
    send for each item, as (action, its header, the item's header). configured: only a reload of a
    module changes what it shows, so a reconciliation does not request it."""

    action: str
    items: Mapping[str, Step]
    detail: tuple[str, str, str] | None = None
    configured: bool = False


class Group(NamedTuple):
    """Kinds that are loaded together. modules: modules of Asterisk whose reload may change them."""

    kinds: tuple[str, ...]
    listings: tuple[Listing, ...]
    modules: tuple[str, ...] = ()


GROUPS: dict[str, Group] = {
    "channels": Group(
        ("channel", "bridge"),
        (
            Listing("CoreShowChannels", {"CoreShowChannel": channels.list_channel}),
            Listing("BridgeList", {"BridgeListItem": channels.put_bridge}),
        ),
    ),
    "queues": Group(
        ("queue", "member", "caller"),
        (
            Listing(
                "QueueStatus",
                {"QueueParams": queues.list_queue, "QueueMember": queues.put_member, "QueueEntry": queues.list_caller},
            ),
        ),
        ("app_queue",),
    ),
    "devices": Group(("device",), (Listing("DeviceStateList", {"DeviceStateChange": devices.put_device}),)),
    "hints": Group(("hint",), (Listing("ExtensionStateList", {"ExtensionStatus": devices.put_hint}),), ("pbx_config",)),
    "contacts": Group(
        ("contact",),
        (
            Listing("PJSIPShowContacts", {"ContactList": devices.list_contact}),
            # It looks the contacts of each AOR up: 6.5 s for 10,000 AORs with contacts in a database.
            Listing("PJSIPShowAors", {"AorList": devices.list_aor}, configured=True),
        ),
        ("res_pjsip",),
    ),
    "registrations": Group(
        ("registration",),
        (Listing("PJSIPShowRegistrationsOutbound", {"OutboundRegistrationDetail": devices.list_registration}),),
        ("res_pjsip",),
    ),
    "parked": Group(("parked",), (Listing("ParkedCalls", {"ParkedCall": parking.park}),), ("res_parking",)),
    "conferences": Group(
        ("conference", "participant"),
        (
            Listing(
                "ConfbridgeListRooms",
                {"ConfbridgeListRooms": conferences.list_conference, "ConfbridgeList": conferences.join_conference},
                ("ConfbridgeList", "Conference", "Conference"),
            ),
        ),
        ("app_confbridge",),
    ),
}
ALL_GROUPS = tuple(GROUPS)

_STEPS = {name: step for group in GROUPS.values() for listing in group.listings for name, step in listing.items.items()}

UNLISTED = frozenset({"since", "answered", "held", "cause", "roundtrip_us"})
"""Members that lists do not have, or less precisely than events."""
_OF_CHANNEL = UNLISTED | {"channel", *CHANNEL_MEMBERS}
"""The same for things that belong to a channel: a queue's list may have an older caller ID than the
list of channels."""
LATE = frozenset(
    {"completed", "hold_time", "talk_time", "service_level_percent", "calls_taken", "in_call", "last_call", "last_pause"}
    | {"priority", "locked", "user_agent"}
)
"""Members that no event updates at once. A different value in a list is not a correction. The
priority of a channel grows when its Dial is answered, which the next event of the channel shows.
ConfbridgeLock and ConfbridgeUnlock cause no event; ContactStatus lacks the user agent."""
INCOMPLETE = frozenset({"device", "bridge"})
"""Kinds whose list lacks things that events report: bridges that are about to end, and devices
whose state is not cached (besides `devices.NOT_CACHED`)."""
_PARTS_OF_CALLS = frozenset(GROUPS["channels"].kinds)
STATISTICS = LATE | {"abandoned"}
"""Members of queues that Asterisk counts."""


def groups_of_module(module: str) -> list[str]:
    """The groups that a reload of an Asterisk module may change; all for a reload of all modules."""
    if module.lower() in ("", "all"):
        return list(ALL_GROUPS)
    return [name for name, group in GROUPS.items() if any(module.startswith(one) for one in group.modules)]


def add_items(listed: Model, items: Iterable[Item], time: float) -> None:
    """Add a portion of a list. time: when the list was requested, in seconds since 1970."""
    for name, fields in items:
        _STEPS[name](listed, fields, time)


def finish_lists(listed: Model, live: Model) -> None:
    """Connect what was listed. live: the model that events have made, which has the tombstones."""
    listed.tombstones = {thing: None for thing in live.tombstones if listed.get("bridge", thing) is None}
    listed.last_left = dict(live.last_left)
    channels.join_listed_bridges(listed, live)
    devices.complete_contacts(listed, live)
    for uniqueid in listed.dependents:
        channels.update_dependents(listed, uniqueid)


def complete_first_load(listed: Model, live: Model, groups: Iterable[str]) -> None:
    """Take from `live` what lists do not have, so that `listed` can be the model. groups: those that
    were listed. `derive_calls` must follow."""
    kinds = [kind for group in groups for kind in GROUPS[group].kinds]
    for group in GROUPS.values():
        for kind in group.kinds:
            for thing_id, known in live.kinds[kind].items():
                if kind not in kinds:
                    _put(listed, kind, thing_id, known)
                elif listed.get(kind, thing_id) is not None:
                    listed.put(kind, thing_id, _unlisted(known, listed.kinds[kind][thing_id]))
    listed.stale_queues |= live.stale_queues


def _unlisted(known: Thing, listed: Thing) -> Thing:
    """The members that events know better. An event in the middle of a channel's life does not show
    when the channel began and was answered."""
    late = {"since", "answered"} if known.get("since", 0.0) > listed.get("since", 0.0) else set()
    return {name: known[name] for name in UNLISTED if name in known and name not in late}


class Difference(NamedTuple):
    """A difference between the model and a list. was, now: the values of `member`, or, if `member`
    is "", whether the thing exists."""

    kind: str
    id: str
    member: str
    was: Any
    now: Any


def things_of(live: Model, listed: Model, groups: Iterable[str]) -> list[ThingKey]:
    """What either of them has in these groups."""
    things: list[ThingKey] = []
    for kind in [kind for group in groups for kind in GROUPS[group].kinds]:
        ours, theirs = live.kinds[kind], listed.kinds[kind]
        things += [(kind, thing) for thing in (*(thing for thing in ours if thing not in theirs), *theirs)]
    return things


def compare(live: Model, listed: Model, things: Iterable[ThingKey]) -> list[Difference]:
    """The differences of these things."""
    found: list[Difference] = []
    for kind, thing in things:
        known, values = live.get(kind, thing), listed.get(kind, thing)
        if known is None or values is None:
            if known is not values:
                found.append(Difference(kind, thing, "", known is not None, values is not None))
        elif known != values:
            unlisted = _OF_CHANNEL if kind in DEPENDENT_KINDS else UNLISTED
            names = [name for name, value in values.items() if known.get(name) != value and name not in unlisted]
            found += [Difference(kind, thing, name, known.get(name), values[name]) for name in names]
    return found


def correct(live: Model, listed: Model, differences: Iterable[Difference]) -> None:
    """Give `live` the values of `listed` where they differ."""
    differences = list(differences)
    for kind, thing, member, _, now in differences:
        if member:
            _put(live, kind, thing, {member: now})
        elif now:
            _put(live, kind, thing, dict(listed.kinds[kind][thing]))
        elif kind == "channel":
            channels.remove_channel(live, thing)
        else:
            live.remove(kind, thing)
    if any(one.kind in _PARTS_OF_CALLS for one in differences):
        live.stale_calls |= dict.fromkeys(live.call_channels)
        derive_calls(live)


def _put(live: Model, kind: str, thing: str, values: Thing) -> None:
    if kind == "channel":
        answered = live.kinds["channel"].get(thing, values).get("answered")
        channels.put_channel(live, thing, values, values.get("since", 0.0))
        live.put("channel", thing, {"answered": answered})
    else:
        live.put(kind, thing, values)
        if kind in DEPENDENT_KINDS:
            channels.update_dependents(live, live.kinds[kind][thing]["uniqueid"])


def is_correction(difference: Difference, stale_queues: Mapping[str, Any]) -> bool:
    """Whether the model was wrong. stale_queues: the queues whose statistics are out of date, which
    is known."""
    if difference.member in LATE or (difference.kind in INCOMPLETE and not difference.member):
        return False
    if difference.kind == "hint" and difference.now is False:  # Asterisk sends no event when it removes a hint
        return False
    return not (difference.kind == "queue" and difference.member in STATISTICS and difference.id in stale_queues)
