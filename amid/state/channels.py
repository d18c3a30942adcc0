"""Channels and bridges.

Nearly every event about a channel has a snapshot of the channel (asterisk/asterisk,
main/manager_channels.c, ast_manager_build_channel_state_string_prefix), so most events are handled
in the same way. The exceptions:

* Events of a channel arrive after its Hangup. Channels that have ended are therefore remembered,
  and once all channels were listed, only Newchannel creates one.
* When a Linkedid changes, VarSet is the only event that shows it.
* Pickup has an outdated snapshot. Those of DialBegin, DialState, DialEnd, HangupRequest and
  SoftHangupRequest may be newer than the list of channels, such as a caller ID that no event has
  reported yet. All of these events are ignored: what they show, other events report.
* CoreShowChannels may name a bridge that the channel has left (parked, then transferred blindly)
  until the channel hangs up.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from amid.state.headers import Block, Fields, integer, text
from amid.state.model import CHANNEL_MEMBERS, Model, Thing

_SNAPSHOT = Block(
    *("Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName", "ConnectedLineNum", "ConnectedLineName"),
    *("Language", "AccountCode", "Context", "Exten", "Priority", "Uniqueid", "Linkedid"),
    unused=("ChannelState", "Language"),
)
_MEMBERS = (
    *("name", "state", "caller", "caller_name", "connected", "connected_name"),
    *("account", "context", "exten", "priority", "uniqueid", "linkedid"),
)
"""The members of a channel that a snapshot has, in its order."""
_PRIORITY = _MEMBERS.index("priority")
_UNIQUEID = _MEMBERS.index("uniqueid")
_members_of = itemgetter(*_MEMBERS)

_CALL_MEMBERS = frozenset({"caller", "caller_name", "connected", "connected_name", "context", "exten"})
"""Members of a channel that a call may have too."""

_BRIDGE = Block("BridgeUniqueid", "BridgeType", "BridgeTechnology", "BridgeCreator", "BridgeName")
_CALL = Block("Uniqueid", "Linkedid")


def snapshot(fields: Fields) -> tuple[Any, ...]:
    """The values of _MEMBERS."""
    values = _SNAPSHOT.read(fields)
    return (*values[:_PRIORITY], integer(values[_PRIORITY]), *values[_PRIORITY + 1 :])


def put_channel(model: Model, uniqueid: str, values: Thing, since: float) -> None:
    """Create a channel, or give new values to members of it. since: when it began, or was answered
    if the state is new."""
    known = model.get("channel", uniqueid)
    if known is None:
        new = {"bridge": "", "held": False, "since": since, "answered": since if values["state"] == "Up" else None}
        values = {"uniqueid": uniqueid, **new, **values}
        _join_call(model, uniqueid, values["linkedid"])
    elif values.get("linkedid", known["linkedid"]) != known["linkedid"]:
        _leave_call(model, uniqueid, known["linkedid"])
        _join_call(model, uniqueid, values["linkedid"])
    elif not _CALL_MEMBERS.isdisjoint(values):
        model.stale_calls[known["linkedid"]] = None
    if known is not None and values.get("state") == "Up" and known["state"] != "Up":
        values["answered"] = since
    model.put("channel", uniqueid, values)
    if uniqueid in model.dependents:
        update_dependents(model, uniqueid)


def _join_call(model: Model, uniqueid: str, linkedid: str) -> None:
    model.call_channels.setdefault(linkedid, {})[uniqueid] = None
    model.stale_calls[linkedid] = None


def _leave_call(model: Model, uniqueid: str, linkedid: str) -> None:
    channels = model.call_channels[linkedid]
    del channels[uniqueid]
    if not channels:
        del model.call_channels[linkedid]
    model.stale_calls[linkedid] = None


def update_dependents(model: Model, uniqueid: str) -> None:
    """Copy the channel's name and caller to the things that belong to the channel."""
    channel = model.get("channel", uniqueid)
    if channel is not None:
        values = {"channel": channel["name"], **{name: channel[name] for name in CHANNEL_MEMBERS}}
        for kind, thing_id in model.dependents.get(uniqueid, ()):
            model.put(kind, thing_id, values)


def remove_channel(model: Model, uniqueid: str) -> None:
    known = model.get("channel", uniqueid)
    model.last_left.pop(uniqueid, None)
    if known is None:
        return
    _leave_bridge(model, uniqueid, known["bridge"])
    _leave_call(model, uniqueid, known["linkedid"])
    model.remove("channel", uniqueid)


# ── events ──


def new_channel(model: Model, fields: Fields, time: float) -> None:
    model.channels_announced = True
    values = snapshot(fields)
    uniqueid = values[_UNIQUEID]
    if uniqueid not in model.tombstones:
        put_channel(model, uniqueid, dict(zip(_MEMBERS, values, strict=True)), time)


def update_channel(model: Model, fields: Fields, time: float) -> str:
    """Update the channel of an event, and return its Uniqueid."""
    values = snapshot(fields)
    uniqueid: str = values[_UNIQUEID]
    known = model.kinds["channel"].get(uniqueid)
    if known is not None:
        before = _members_of(known)
        if values != before:
            new = {name: value for name, value, old in zip(_MEMBERS, values, before, strict=True) if value != old}
            put_channel(model, uniqueid, new, time)
    elif uniqueid and not model.channels_listed and uniqueid not in model.tombstones:
        put_channel(model, uniqueid, dict(zip(_MEMBERS, values, strict=True)), time)
    return uniqueid


def update_linkedid(model: Model, fields: Fields, time: float) -> None:
    uniqueid, linkedid = _CALL.read(fields)
    known = model.get("channel", uniqueid)
    if known is not None and linkedid and known["linkedid"] != linkedid:
        put_channel(model, known["uniqueid"], {"linkedid": linkedid}, time)


def rename_channel(model: Model, fields: Fields, time: float) -> None:
    known = model.get("channel", text(fields, "Uniqueid"))
    if known is not None:
        put_channel(model, known["uniqueid"], {"name": text(fields, "Newname")}, time)


def end_channel(model: Model, fields: Fields, time: float) -> None:
    uniqueid = text(fields, "Uniqueid")
    model.add_tombstone(uniqueid)
    remove_channel(model, uniqueid)


def hold(model: Model, fields: Fields, time: float) -> None:
    _set_held(model, fields, True)


def unhold(model: Model, fields: Fields, time: float) -> None:
    _set_held(model, fields, False)


def _set_held(model: Model, fields: Fields, held: bool) -> None:
    uniqueid = text(fields, "Uniqueid")
    if model.get("channel", uniqueid) is not None:
        model.put("channel", uniqueid, {"held": held})


# ── bridges ──


def put_bridge(model: Model, fields: Fields, time: float) -> str:
    """Create or update a bridge from its snapshot in an event or a list, and return its id."""
    bridge: str
    bridge, kind, technology, creator, name = _BRIDGE.read(fields)
    if not bridge or bridge in model.tombstones:
        return bridge
    values: Thing = {"type": kind, "technology": technology, "creator": creator, "name": name}
    if model.get("bridge", bridge) is None:
        values = {"uniqueid": bridge, **values, "channels": [], "since": time}
    model.put("bridge", bridge, values)
    return bridge


def end_bridge(model: Model, fields: Fields, time: float) -> None:
    bridge = text(fields, "BridgeUniqueid")
    model.add_tombstone(bridge)
    known = model.get("bridge", bridge)
    for uniqueid in known["channels"] if known is not None else ():
        if model.get("channel", uniqueid) is not None:
            _set_bridge(model, uniqueid, "")
    model.remove("bridge", bridge)


def enter_bridge(model: Model, fields: Fields, time: float) -> None:
    bridge, uniqueid = put_bridge(model, fields, time), update_channel(model, fields, time)
    join_bridge(model, uniqueid, bridge)


def join_bridge(model: Model, uniqueid: str, bridge: str) -> None:
    """Move a channel, if there is one, to this bridge from the one that it is in."""
    channel = model.get("channel", uniqueid)
    if channel is None:
        return
    if channel["bridge"] and channel["bridge"] != bridge:
        _leave_bridge(model, uniqueid, channel["bridge"])
    model.last_left.pop(uniqueid, None)
    known = model.get("bridge", bridge)
    if known is not None and uniqueid not in known["channels"]:
        model.put("bridge", bridge, {"channels": sorted([*known["channels"], uniqueid])})
    for other in known["channels"] if known is not None else ():
        _mark_call_stale(model, other)
    _set_bridge(model, uniqueid, bridge)


def leave_bridge(model: Model, fields: Fields, time: float) -> None:
    bridge, uniqueid = put_bridge(model, fields, time), update_channel(model, fields, time)
    part_bridge(model, uniqueid, bridge)


def part_bridge(model: Model, uniqueid: str, bridge: str) -> None:
    """Remove a channel, if there is one, from this bridge."""
    channel = model.get("channel", uniqueid)
    if channel is None:
        return
    model.last_left[uniqueid] = bridge
    _leave_bridge(model, uniqueid, bridge)
    if channel["bridge"] == bridge:
        _set_bridge(model, uniqueid, "")


def _leave_bridge(model: Model, uniqueid: str, bridge: str) -> None:
    known = model.get("bridge", bridge)
    if known is not None and uniqueid in known["channels"]:
        model.put("bridge", bridge, {"channels": [one for one in known["channels"] if one != uniqueid]})
        for other in known["channels"]:
            _mark_call_stale(model, other)


def _set_bridge(model: Model, uniqueid: str, bridge: str) -> None:
    model.put("channel", uniqueid, {"bridge": bridge})
    _mark_call_stale(model, uniqueid)


def _mark_call_stale(model: Model, uniqueid: str) -> None:
    channel = model.get("channel", uniqueid)
    if channel is not None:
        model.stale_calls[channel["linkedid"]] = None


# ── lists ──


def list_channel(model: Model, fields: Fields, time: float) -> None:
    """An item of CoreShowChannels. `join_listed_bridges` must follow. The list does not have when
    the channel was answered."""
    since = time - seconds_of(text(fields, "Duration"))
    values = dict(zip(_MEMBERS, snapshot(fields), strict=True))
    put_channel(model, values["uniqueid"], {**values, "bridge": text(fields, "BridgeId"), "answered": None}, since)


def join_listed_bridges(listed: Model, live: Model) -> None:
    """Give the listed bridges their channels. live: the model that the events have made.

    The list of bridges may lack a bridge that still has channels, until its BridgeDestroy: it is
    taken from `live`. A bridge that neither of them has, or that the channel has left, is removed
    from the channel.
    """
    members: dict[str, list[str]] = {}
    for uniqueid, channel in listed.kinds["channel"].items():
        bridge = channel["bridge"]
        if not bridge:
            continue
        left = live.last_left.get(uniqueid) == bridge
        if left or (listed.get("bridge", bridge) is None and live.get("bridge", bridge) is None):
            listed.put("channel", uniqueid, {"bridge": ""})
        else:
            listed.last_left.pop(uniqueid, None)
            members.setdefault(bridge, []).append(uniqueid)
    for bridge, uniqueids in members.items():
        values = {} if listed.get("bridge", bridge) is not None else dict(live.kinds["bridge"][bridge])
        listed.put("bridge", bridge, {**values, "channels": sorted(uniqueids)})


def seconds_of(duration: Any) -> int:
    """The seconds of "HH:MM:SS" or of a number of seconds."""
    total = 0
    for part in str(duration).split(":"):
        total = total * 60 + (int(part) if part.isdigit() else 0)
    return total
