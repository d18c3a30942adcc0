"""The table of events and of what each one changes. Other events change nothing."""

from __future__ import annotations

from collections.abc import Callable

from amid.state import channels, conferences, devices, parking, queues, transfers
from amid.state.headers import Fields
from amid.state.model import Model

Step = Callable[[Model, Fields, float], object]
"""Applies one effect of an event. The last argument is when the event arrived, in seconds since
1970."""

_CHANNEL = (channels.update_channel,)
_MEMBER = (queues.put_member,)
_UNPARK = (parking.unpark,)

EVENTS: dict[str, tuple[Step, ...]] = {
    # channels
    "Newchannel": (channels.new_channel,),
    "Newstate": _CHANNEL,
    "NewCallerid": _CHANNEL,
    "NewConnectedLine": _CHANNEL,
    "NewAccountCode": _CHANNEL,
    "Newexten": (channels.update_channel, transfers.take_place),
    "MusicOnHoldStart": _CHANNEL,
    "MusicOnHoldStop": _CHANNEL,
    "Hold": (channels.update_channel, channels.hold),
    "Unhold": (channels.update_channel, channels.unhold),
    "Rename": (channels.rename_channel,),
    "VarSet": (channels.update_linkedid,),
    "AttendedTransfer": (transfers.transfer,),
    "Hangup": (
        transfers.take_place,
        transfers.yield_place,
        queues.leave_all_queues,
        parking.unpark_channel,
        channels.end_channel,
    ),
    # bridges
    "BridgeCreate": (channels.put_bridge,),
    "BridgeEnter": (channels.enter_bridge, queues.leave_all_queues),
    "BridgeLeave": (channels.leave_bridge,),
    "BridgeDestroy": (channels.end_bridge,),
    # queues
    "QueueMemberAdded": _MEMBER,
    "QueueMemberStatus": _MEMBER,
    "QueueMemberPause": _MEMBER,
    "QueueMemberPenalty": _MEMBER,
    "QueueMemberRinginuse": _MEMBER,
    "QueueMemberRemoved": (queues.end_member,),
    "QueueCallerJoin": (channels.update_channel, queues.join_queue),
    "QueueCallerLeave": (channels.update_channel, queues.leave_queue),
    "QueueCallerAbandon": (queues.abandon_queue,),
    "AgentComplete": (queues.complete_call,),
    # devices
    "DeviceStateChange": (devices.put_device,),
    "ExtensionStatus": (devices.put_hint,),
    "ContactStatus": (devices.put_contact,),
    "Registry": (devices.put_registration,),
    # parked calls and conferences
    "ParkedCall": (parking.park,),
    "ParkedCallSwap": (parking.park,),
    "UnParkedCall": _UNPARK,
    "ParkedCallGiveUp": _UNPARK,
    "ParkedCallTimeOut": _UNPARK,
    "ConfbridgeStart": (conferences.start_conference,),
    "ConfbridgeEnd": (conferences.end_conference,),
    "ConfbridgeJoin": (conferences.join_conference,),
    "ConfbridgeLeave": (conferences.leave_conference,),
    "ConfbridgeMute": (conferences.mute,),
    "ConfbridgeUnmute": (conferences.unmute,),
    "ConfbridgeTalking": (conferences.talk,),
}


def apply(model: Model, name: str, fields: Fields, time: float) -> None:
    """Apply an event. `derive_calls` must follow after the last one of several."""
    for step in EVENTS.get(name, ()):
        step(model, fields, time)
