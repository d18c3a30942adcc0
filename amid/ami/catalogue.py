"""The actions whose answers have no marked end, and the quick actions (`is_quick`).

Every other answer has a marked end: one response, or a list framed by `EventList: start` and
`EventList: Complete`. Behind the actions below the lane sends a Ping. Asterisk serves a session
strictly in sequence, so the answer to the Ping proves that the answer before it is complete (see
`exchange`).

Names are in lower case. Sources: main/manager.c, apps/app_queue.c, apps/app_voicemail.c,
res/res_fax.c, channels/chan_iax2.c and chan_dahdi.c, res/res_xmpp.c of branches 1.8 to 23.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amid.ami.action import BLANKS, wire_bytes

WAIT_EVENT = "waitevent"
"""Responds when an event has come, then sends the events without ActionID, then WaitEventComplete.
Input on the session ends the wait, so no Ping may follow it."""

UNMARKED_LISTS = {
    "agents": "AgentsComplete",
    "bridgeinfo": "BridgeInfoComplete",
    "dahdishowchannels": "DAHDIShowChannelsComplete",
    "dbget": "DBGetComplete",
    "iaxpeerlist": "PeerlistComplete",
    "konferencelist": "ConferenceListComplete",
    "parkedcalls": "ParkedCallsComplete",
    "parkinglots": "ParkinglotsComplete",
    "prishowspans": "PRIShowSpansComplete",
    "queuestatus": "QueueStatusComplete",
    "queuesummary": "QueueSummaryComplete",
    "sippeerstatus": "SIPpeerstatusComplete",
    "status": "StatusComplete",
    "voicemailuserslist": "VoicemailUserEntryComplete",
    WAIT_EVENT: "WaitEventComplete",
}
"""Lists without the EventList marker before Asterisk 13.2: action -> its closing event.
VoicemailUsersList still answers with a plain Success and nothing else when there are no users."""

SINGLE_EVENT = {"faxsession": "FAXSession", "faxstats": "FAXStats"}
"""Action -> the one event that follows its response. There is no completion."""

SEVERAL_RESPONSES = frozenset({"jabbersend", "moduleload", "pridebugset", "pridebugfileset"})
"""More than one response to one action. If any of them is an Error, that is the outcome."""

EARLY_RESPONSE = frozenset({"userevent"})
"""The response comes before the event. The caller's next action may be on another session, so
without a Ping its event could overtake this one."""

MAYBE_NO_RESPONSE = frozenset({"dataget", "events", "iaxnetstats", "queues"})
"""Raw text, an event alone, or nothing at all in place of a response."""

ITEMS_WITHOUT_ACTION_ID = frozenset({"iaxpeers", WAIT_EVENT})

CHANGES_SESSION = frozenset({"challenge", "events", "filter", "login", "logoff"})
"""These change or end the session that they run on, so the lane is
closed after them and replaced."""


def is_quick(action: str, fields: Mapping[Any, Any]) -> bool:
    """Whether Asterisk answers at once, so that other actions may be pipelined behind this one.

    fields: as `encode_action` takes them.
    """
    conditions = QUICK.get(action.lower()) if action.isascii() else None
    if not conditions:
        return conditions is not None
    return all(holds(_values(header, fields)) for header, holds in conditions.items())


def _values(header: bytes, fields: Mapping[Any, Any]) -> list[bytes]:
    """The values of a header in lower case, without the leading blanks that Asterisk skips."""
    named = (value for name, value in fields.items() if wire_bytes(name).lower() == header)
    each = (item for value in named for item in (value if isinstance(value, list | tuple) else (value,)))
    return [wire_bytes(item).lstrip(BLANKS).lower() for item in each]


def _is_true(values: list[bytes]) -> bool:
    return len(values) == 1 and values[0] in (b"yes", b"true", b"y", b"t", b"1", b"on")  # ast_true, main/utils.c


def _is_one(values: list[bytes]) -> bool:
    return len(values) == 1 and values[0] != b""


def _is_one_name(values: list[bytes]) -> bool:
    return _is_one(values) and not values[0].startswith(b"/")


def _has_no_function(values: list[bytes]) -> bool:
    return not any(parenthesis in value for value in values for parenthesis in (b"(", b")"))


QUICK: dict[str, dict[bytes, Callable[[list[bytes]], bool]]] = {
    "coresettings": {},
    "corestatus": {},
    "dbdel": {},
    "dbget": {},
    "dbput": {},
    "extensionstate": {},
    "getvar": {b"variable": _has_no_function},
    "hangup": {b"channel": _is_one_name},  # a pattern, /…/, is compared with all channels
    "originate": {b"async": _is_true},  # a synchronous one is answered when the call is
    "ping": {},
    "presencestate": {},
    "queueadd": {},
    "queuepause": {},
    "queuepenalty": {},
    "queueremove": {},
    "queuestatus": {b"queue": _is_one},
    "queuesummary": {b"queue": _is_one},
    "setvar": {b"variable": _has_no_function},
    "status": {b"channel": _is_one, b"variables": _has_no_function},
    "userevent": {},
}
"""Actions that Asterisk answers from memory, at once, and with a marked end since 13.2: action ->
header -> the condition on its values.

Not quick: a function in place of a variable, which can run for any time; an answer that grows with
the PBX (CoreShowChannels, Status of all channels, DeviceStateList, QueueStatus of all queues,
PJSIPShow…, ListCommands), which gains little from a saved round trip; MailboxStatus and
MailboxCount, which read files, a database or an IMAP server. Where queues or the AstDB are slow
(realtime, a slow disk), the lane stops pipelining after 10 ms (`lane.PIPELINE_WITHIN_S`).

Milliseconds in a storm of calls, the larger of Asterisk 16.28 and 22.10, 660 runs each, each
followed by a Ping. tests/asterisk/test_quick.py measures them; the machine alone accounts for the
figures of Ping.

    action           p50   p99   max       action           p50   p99   max       action           p50   p99   max
    CoreSettings    0.12  1.31  2.84       Hangup          0.24  1.72  3.44       QueueRemove     0.29  1.82  5.83
    CoreStatus      0.13  1.37  3.68       Originate       0.31  1.51  2.74       QueueStatus     0.22  3.00  4.51
    DBDel           0.18  1.45  2.55       Ping            0.27  1.72  5.52       QueueSummary    0.20  1.48  4.45
    DBGet           0.16  1.39  4.96       PresenceState   0.30  1.34  2.95       Setvar          0.17  1.69  5.24
    DBPut           0.15  1.38  3.18       QueueAdd        0.46  1.63  2.11       Status          0.22  1.60  3.92
    ExtensionState  0.16  1.35  2.61       QueuePause      0.35  1.87  3.51       UserEvent       0.20  2.23  3.05
    Getvar          0.14  1.41  5.51       QueuePenalty    0.19  2.22  2.78

p99 of some slow actions with 24 channels: CoreShowChannels 3.1 to 21.9, Status of all channels 3.3
to 6.9, ListCommands 3.9 to 16.1, PJSIPShowEndpoint 2.1 to 8.2.
"""
