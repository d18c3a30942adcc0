"""What each event means, and how it is described to a person: two tables.

`RULES` has the events whose meaning is in their own headers; all others are methods of
`amid.history.fold`. The headers are those of Asterisk 16 to 22, as its manager events document
them, and as recorded from both versions.
"""

from __future__ import annotations

from typing import NamedTuple

VOICEMAIL = frozenset({"VoiceMail", "MinivmRecord"})
"""Applications that record a message."""
TONES = {"Busy": "busy", "Congestion": "congestion"}
"""Applications that only play a tone, and its name."""

DIAL_ENDS = {
    "BUSY": ("busy", "busy"),
    "NOANSWER": ("no_answer", "no answer"),
    "CANCEL": ("stop", ""),
    "CHANUNAVAIL": ("unreachable", "failed"),
    "CONGESTION": ("unreachable", "failed"),
    "INVALIDARGS": ("unreachable", "failed"),
    "DONTCALL": ("rejected", "failed"),
    "TORTURE": ("rejected", "failed"),
}
"""`DialStatus` of the manager event DialEnd -> kind of the step, and outcome of the call."""
PRELIMINARY = frozenset(outcome for _, outcome in DIAL_ENDS.values())
"""Outcomes that the next party that is called may change."""


class Rule(NamedTuple):
    """One event as one step. parties: the prefixes of the headers of its channels (`""` for
    `Channel`, `Parkee` for `ParkeeChannel`). details: name -> header. goes_on: the call continues,
    so an earlier request to end it no longer counts.
    """

    kind: str
    parties: tuple[str, ...]
    details: dict[str, str]
    goes_on: bool = False


RULES = {
    "QueueCallerJoin": Rule("queue_join", ("",), {"queue": "Queue", "position": "Position"}, True),
    "QueueCallerAbandon": Rule("abandon", ("",), {"queue": "Queue", "seconds": "HoldTime"}),
    "AgentCalled": Rule("agent_call", ("", "Dest"), {"queue": "Queue", "agent": "MemberName"}, True),
    "AgentConnect": Rule("agent_answer", ("", "Dest"), {"queue": "Queue", "agent": "MemberName", "seconds": "HoldTime"}, True),
    "AgentComplete": Rule("agent_complete", ("",), {"queue": "Queue", "agent": "MemberName", "reason": "Reason"}),
    "AgentRingNoAnswer": Rule("agent_no_answer", ("", "Dest"), {"queue": "Queue", "agent": "MemberName"}, True),
    "Hold": Rule("hold", ("",), {}),
    "Unhold": Rule("unhold", ("",), {}),
    "BlindTransfer": Rule("blind_transfer", ("Transferer", "Transferee"), {"to": "Extension", "result": "Result"}, True),
    "AttendedTransfer": Rule(
        "attended_transfer", ("OrigTransferer", "Transferee", "TransferTarget"), {"result": "Result", "type": "DestType"}, True
    ),
    "ParkedCall": Rule("park", ("Parkee",), {"space": "ParkingSpace"}, True),
    "UnParkedCall": Rule("unpark", ("Retriever", "Parkee"), {"space": "ParkingSpace"}, True),
    "ParkedCallTimeOut": Rule("park_timeout", ("Parkee",), {"space": "ParkingSpace"}, True),
    "ParkedCallGiveUp": Rule("park_give_up", ("Parkee",), {"space": "ParkingSpace"}),
    "ConfbridgeJoin": Rule("conference_join", ("",), {"conference": "Conference"}, True),
    "ConfbridgeLeave": Rule("conference_leave", ("",), {"conference": "Conference"}),
    "Pickup": Rule("pickup", ("", "Target"), {}, True),
    "ChanSpyStart": Rule("spy", ("Spyer", "Spyee"), {}),
    "ChanSpyStop": Rule("spy_stop", ("Spyer", "Spyee"), {}),
}

PHRASES = {
    "call": "{0} calls {to}",
    "pbx_call": "the PBX calls {0}",
    "dial": "{1} is called",
    "ring": "{0} rings",
    "answer": "{1} answers after {seconds} s",
    "busy": "{1} is busy",
    "no_answer": "{1} does not answer within {seconds} s",
    "stop": "{1} stops ringing",
    "unreachable": "{1} cannot be reached",
    "rejected": "{1} rejects the call",
    "forward": "{1} forwards the call to {to}",
    "queue_join": "{0} waits in queue {queue}, position {position}",
    "abandon": "{0} gives up waiting in queue {queue} after {seconds} s",
    "queue_exit": "{0} leaves queue {queue}",
    "agent_call": "queue {queue} calls {agent}",
    "agent_answer": "{agent} answers; {0} waited {seconds} s",
    "agent_no_answer": "{agent} does not answer",
    "talk": "{all} talk",
    "hold": "{0} puts the call on hold",
    "unhold": "{0} takes the call off hold",
    "blind_transfer": "{0} transfers {1} to {to}",
    "attended_transfer": "{0} connects {1} with {2}",
    "transfer_failed": "{0} fails to transfer {1}",
    "park": "{0} is parked in space {space}",
    "unpark": "{0} takes {1} from parking space {space}",
    "park_timeout": "{0} was parked in space {space} for too long",
    "park_give_up": "{0} gives up waiting in parking space {space}",
    "conference_join": "{0} joins conference {conference}",
    "conference_leave": "{0} leaves conference {conference}",
    "pickup": "{0} picks up the call to {1}",
    "spy": "{0} listens to {1}",
    "spy_stop": "{0} stops listening to {1}",
    "voicemail": "{0} is sent to voicemail {mailbox}",
    "tone": "{0} hears the {tone} tone",
    "hang_up": "{0} hangs up",
    "gap": "{missed} are missing here",
    "late": "the beginning of this call was not recorded",
    "restart": "Asterisk stops",
}
"""Kind of a step -> its line in a ladder. {0}, {1}: the parties; {all}: all of them."""
