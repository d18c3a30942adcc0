"""The table of actions that request lists, answered from a folded state.

A list has what the events have shown since the recording began: a queue whose members and callers
had no event is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from amid.simulator.actions.answer import Answer, Item
from amid.simulator.model import UNKNOWN
from amid.simulator.wire import Header
from amid.state.model import Model, Thing
from amid.state.queues import MEMBER_STATUS

STATES = (
    *("Down", "Rsrvd", "OffHook", "Dialing", "Ring", "Ringing", "Up", "Busy", "Dialing Offhook", "Pre-ring"),
    "Unknown",
)
"""States of channels by number (asterisk/asterisk, include/asterisk/channelstate.h)."""

List = Callable[[Answer, Model, float], None]
"""Answers an action. The last argument is the recorded time, in seconds since 1970."""


def core_show_channels(answer: Answer, model: Model, now: float) -> None:
    items: Iterator[Item] = (
        (
            "CoreShowChannel",
            [
                *_snapshot(channel),
                ("Application", ""),
                ("ApplicationData", ""),
                ("Duration", _clock(now - channel["since"])),
                ("BridgeId", channel["bridge"]),
            ],
        )
        for channel in model.kinds["channel"].values()
    )
    answer.listing("Channels will follow", "CoreShowChannelsComplete", items)


def bridge_list(answer: Answer, model: Model, now: float) -> None:
    items: Iterator[Item] = (
        (
            "BridgeListItem",
            [
                ("BridgeUniqueid", bridge["uniqueid"]),
                ("BridgeType", bridge["type"]),
                ("BridgeTechnology", bridge["technology"]),
                ("BridgeCreator", bridge["creator"] or UNKNOWN),
                ("BridgeName", bridge["name"] or UNKNOWN),
                ("BridgeNumChannels", str(len(bridge["channels"]))),
            ],
        )
        for bridge in model.kinds["bridge"].values()
    )
    answer.listing("Bridge listing will follow", "BridgeListComplete", items)


def queue_status(answer: Answer, model: Model, now: float) -> None:
    answer.listing("Queue status will follow", "QueueStatusComplete", _queue_items(answer, model, now), last=True)


def queue_summary(answer: Answer, model: Model, now: float) -> None:
    def item(queue: str) -> list[Header]:
        members, callers = _of_queue(model, "member", queue), _of_queue(model, "caller", queue)
        available = [one for one in members if one["status"] == "not in use" and not one["paused"]]
        longest = max((now - one["since"] for one in callers), default=0.0)
        counts = {"LoggedIn": len(members), "Available": len(available), "Callers": len(callers), "HoldTime": 0, "TalkTime": 0}
        return [("Queue", queue), *((name, str(count)) for name, count in counts.items()), ("LongestHoldTime", str(int(longest)))]

    items: list[Item] = [("QueueSummary", item(queue)) for queue in _queues(answer, model)]
    answer.listing("Queue summary will follow", "QueueSummaryComplete", items, last=True)


def device_state_list(answer: Answer, model: Model, now: float) -> None:
    items: list[Item] = [
        ("DeviceStateChange", [("Device", one["device"]), ("State", one["state"])]) for one in model.kinds["device"].values()
    ]
    answer.listing("Device State Changes will follow", "DeviceStateListComplete", items)


def extension_state_list(answer: Answer, model: Model, now: float) -> None:
    names = {"Exten": "exten", "Context": "context", "Hint": "hint", "Status": "status", "StatusText": "state"}
    items: list[Item] = [
        ("ExtensionStatus", [(name, str(one[member])) for name, member in names.items()]) for one in model.kinds["hint"].values()
    ]
    answer.listing("Extension Statuses will follow", "ExtensionStateListComplete", items)


def parked_calls(answer: Answer, model: Model, now: float) -> None:
    items: list[Item] = []
    for one in model.kinds["parked"].values():
        channel = model.get("channel", one["uniqueid"])
        parkee = _snapshot(channel, "Parkee") if channel is not None else [("ParkeeUniqueid", one["uniqueid"])]
        space = [("ParkerDialString", one["parker"]), ("Parkinglot", one["lot"]), ("ParkingSpace", one["space"])]
        items.append(("ParkedCall", [*parkee, *space, ("ParkingDuration", str(int(now - one["since"])))]))
    total = [("Total", str(len(items)))]
    answer.listing("Parked calls will follow", "ParkedCallsComplete", items, extra=total, last=True)


def confbridge_list_rooms(answer: Answer, model: Model, now: float) -> None:
    rooms = model.kinds["conference"].values()
    if not rooms:
        return answer.error("No active conferences.")
    items: list[Item] = []
    for room in rooms:
        parties = [one for one in model.kinds["participant"].values() if one["conference"] == room["name"]]
        flags = [(name, _yes(room[name.lower()])) for name in ("Locked", "Muted")]
        items.append(("ConfbridgeListRooms", [("Conference", room["name"]), ("Parties", str(len(parties))), *flags]))
    answer.listing("Confbridge conferences will follow", "ConfbridgeListRoomsComplete", items)


def confbridge_list(answer: Answer, model: Model, now: float) -> None:
    name = answer.get("Conference")
    if model.get("conference", name) is None:
        return answer.error("No Conference by that name found.")
    items: list[Item] = []
    for one in model.kinds["participant"].values():
        channel = model.get("channel", one["uniqueid"])
        if one["conference"] == name and channel is not None:
            flags = [(flag, _yes(one[flag.lower()])) for flag in ("Admin", "Muted", "Talking")]
            answered = ("AnsweredTime", str(int(now - one["since"])))
            items.append(("ConfbridgeList", [("Conference", name), *flags, answered, *_snapshot(channel)]))
    answer.listing("Confbridge user list will follow", "ConfbridgeListComplete", items)


LISTS: dict[str, List] = {
    "coreshowchannels": core_show_channels,
    "bridgelist": bridge_list,
    "queuestatus": queue_status,
    "queuesummary": queue_summary,
    "devicestatelist": device_state_list,
    "extensionstatelist": extension_state_list,
    "parkedcalls": parked_calls,
    "confbridgelistrooms": confbridge_list_rooms,
    "confbridgelist": confbridge_list,
}


def _snapshot(channel: Thing, prefix: str = "") -> list[Header]:
    """The headers that describe a channel, in the order of Asterisk."""
    state = channel["state"]
    headers = {
        "Channel": channel["name"],
        "ChannelState": str(STATES.index(state) if state in STATES else STATES.index("Unknown")),
        "ChannelStateDesc": state,
        "CallerIDNum": channel["caller"] or UNKNOWN,
        "CallerIDName": channel["caller_name"] or UNKNOWN,
        "ConnectedLineNum": channel["connected"] or UNKNOWN,
        "ConnectedLineName": channel["connected_name"] or UNKNOWN,
        "Language": "en",
        "AccountCode": channel["account"],
        "Context": channel["context"],
        "Exten": channel["exten"],
        "Priority": str(channel["priority"]),
        "Uniqueid": channel["uniqueid"],
        "Linkedid": channel["linkedid"],
    }
    return [(prefix + name, _text(value)) for name, value in headers.items()]


def _queue_items(answer: Answer, model: Model, now: float) -> Iterator[Item]:
    for queue in _queues(answer, model):
        callers = _of_queue(model, "caller", queue)
        counts = dict.fromkeys(("Holdtime", "TalkTime", "Completed", "Abandoned", "ServiceLevel", "Weight"), "0")
        yield (
            "QueueParams",
            [("Queue", queue), ("Max", "0"), ("Strategy", "ringall"), ("Calls", str(len(callers))), *counts.items()],
        )
        for member in _of_queue(model, "member", queue):
            yield "QueueMember", _member(member)
        for caller in sorted(callers, key=lambda one: one["position"]):
            names = {"Position": "position", "Channel": "channel", "Uniqueid": "uniqueid"}
            identity = [("CallerIDNum", caller["caller"] or UNKNOWN), ("CallerIDName", _text(caller["caller_name"]) or UNKNOWN)]
            waits = ("Wait", str(int(now - caller["since"])))
            yield "QueueEntry", [("Queue", queue), *((name, str(caller[key])) for name, key in names.items()), *identity, waits]


def _member(member: Thing) -> list[Header]:
    names = {"Queue": "queue", "Name": "name", "Location": "interface", "StateInterface": "device", "Membership": "membership"}
    counts = {"Penalty": "penalty", "CallsTaken": "calls_taken", "LastCall": "last_call", "LastPause": "last_pause"}
    headers = [(name, _text(member[key])) for name, key in names.items()] + [
        (name, str(member[key])) for name, key in counts.items()
    ]
    flags = [("InCall", str(int(member["in_call"]))), ("Paused", str(int(member["paused"])))]
    status = ("Status", str(MEMBER_STATUS.index(member["status"])))
    return [*headers, *flags, status, ("PausedReason", _text(member["paused_reason"]))]


def _queues(answer: Answer, model: Model) -> list[str]:
    """The names of the requested queues. No event shows a queue without a member or caller."""
    known = {one["queue"] for kind in ("member", "caller") for one in model.kinds[kind].values()}
    return sorted(name for name in known if answer.get("Queue") in ("", name))


def _of_queue(model: Model, kind: str, queue: str) -> list[Thing]:
    return [one for one in model.kinds[kind].values() if one["queue"] == queue]


def _yes(value: bool) -> str:
    return "Yes" if value else "No"


def _clock(seconds: float) -> str:
    total = max(0, int(seconds))
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
