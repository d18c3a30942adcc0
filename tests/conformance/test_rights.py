"""Rights on real Asterisks: denied actions do not reach the PBX, as a relay in front of it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.asterisk.raw import Raw
from tests.asterisk.recorder import Recorder
from tests.asterisk.server import Asterisk
from tests.conformance.listeners import Listener
from tests.conftest import StartDaemon
from tests.daemon import Daemon
from tests.rpc.test_policy import SENT_AS_THEY_ARE, SPELLINGS

OWN = {"login", "challenge", "ping", "coresettings", "events", "logoff", "listcommands"}
"""What amid itself sends."""

MARK = "mark-of-the-caller"
"""Stands in every field that a caller here sends."""

FIELDS: dict[str, Any] = dict.fromkeys(
    """
    AllVariables Application Channel Channel1 Channel2 Code Command Conference Context Data Destination Endpoint Exten Family File
    Filename Interface Key Mailbox Message Module Options Provider Queue RecordFile Registration To TimeoutChannel URI UserEvent
    Variable Variables
    """.split(),  # noqa: SIM905
    MARK,
)
CALLERS: dict[str, tuple[dict[str, list[str]], set[str]]] = {
    "one rule": ({"allow": ["QueueStatus"]}, {"queuestatus"}),
    "a wildcard": ({"allow": ["Queue*"]}, {
        "queuechangeprioritycaller", "queuelog", "queuememberringinuse", "queuepause", "queuepenalty", "queuereload", "queueremove",
        "queuereset", "queuerule", "queuestatus", "queuesummary", "queuewithdrawcaller",
    }),
    "patterns alone": ({"allow": ["Originate: *@sales", "Command: core show *", "Getvar: CDR(*)"]}, set()),
    "a deny of all": ({"allow": ["*"], "deny": ["*"]}, set()),
    "a deny behind an allow": ({"allow": ["Queue*"], "deny": ["Queue*"]}, set()),
}  # fmt: skip


@pytest.fixture
def recorder(asterisk: Asterisk) -> Iterator[Recorder]:
    with Recorder(asterisk) as recorder:
        yield recorder


def offered(asterisk: Asterisk) -> list[str]:
    with Raw(asterisk) as raw:
        return [name for name, _ in raw.answer("ListCommands") if name not in ("Response", "ActionID")]


def outcome(daemon: Daemon, action: str, fields: dict[str, Any]) -> str:
    """The kind of the error, or "done"."""
    reply = daemon.request("action", {"action": action, "fields": fields, "timeout": 10})
    return "done" if "result" in reply else str(reply["error"]["data"]["kind"])


@pytest.mark.parametrize(("lists", "allowed"), CALLERS.values(), ids=CALLERS)
def test_only_allowed_actions_reach_asterisk(
    asterisk: Asterisk, recorder: Recorder, daemon_for: StartDaemon, lists: dict[str, list[str]], allowed: set[str]
) -> None:
    """Every action that this Asterisk offers, each with all fields that could reach something."""
    daemon = daemon_for({"pbx1": recorder.table}, callers__local=lists)
    outcomes = {action: outcome(daemon, action, FIELDS) for action in offered(asterisk)}
    assert len(outcomes) > 100
    reached = {action for action, kind in outcomes.items() if kind != "denied"}
    assert {action.lower() for action in reached} == allowed & {action.lower() for action in outcomes}
    assert set(recorder.actions()) - OWN == {action.lower() for action in reached}
    if not allowed:
        assert MARK.encode() not in recorder.sent()


def test_a_caller_without_rules_reaches_no_guarded_target(asterisk: Asterisk, recorder: Recorder, daemon_for: StartDaemon) -> None:
    """`allow = []`: fields that would run a shell, read passwords or call an address stay here."""
    daemon = daemon_for({"pbx1": recorder.table}, callers__local={"allow": []})
    guarded: list[tuple[str, dict[str, Any]]] = [
        ("AGI", {"Channel": "x", "Command": f"EXEC System {MARK}"}),
        ("ConfbridgeStartRecord", {"Conference": "1", "RecordFile": f"x.wav,,{MARK}"}),
        ("CreateConfig", {"Filename": MARK}),
        ("DialplanExtensionAdd", {"Extension": "1", "Context": MARK, "Priority": 1, "Application": "System"}),
        ("GetConfig", {"Filename": MARK}),
        ("GetConfigJSON", {"Filename": MARK}),
        ("Getvar", {"Variable": f"SHELL({MARK})"}),
        ("MessageSend", {"To": f"pjsip:sip:{MARK}@example.com", "Body": "x"}),
        ("MixMonitor", {"Channel": "x", "File": "x.wav", "Command": MARK}),
        ("ModuleLoad", {"LoadType": "load", "Module": MARK}),
        ("Monitor", {"Channel": "x", "File": f'";{MARK};"'}),
        ("Originate", {"Channel": "Local/1@x", "Application": "System", "Data": MARK}),
        ("Originate", {"Channel": "Local/1@x", "Application": "Wait", "Variable": rf"CONFBRIDGE(bridge\,record_command)={MARK}"}),
        ("Originate", {"Channel": f"PJSIP/sipp/sip:{MARK}@example.com", "Application": "Wait"}),
        ("PJSIPShowAuths", {"X": MARK}),
        ("PJSIPShowEndpoint", {"Endpoint": MARK}),
        ("Park", {"Channel": MARK, "TimeoutChannel": "Local/1@x"}),
        ("Setvar", {"Variable": f"FILE({MARK})", "Value": "x"}),
        ("Status", {"Variables": f"SHELL({MARK})"}),
        ("UpdateConfig", {"SrcFilename": MARK, "DstFilename": MARK}),
    ]
    for action, fields in guarded:
        failure = daemon.failure(action, fields)
        assert (failure["data"]["kind"], failure["data"]["sent"]) == ("denied", False), action
        assert 'to allow it: allow = ["*", "' in failure["message"]
    assert MARK.encode() not in recorder.sent()
    daemon.action("UserEvent", {"UserEvent": MARK})
    assert MARK.encode() in recorder.sent()


def test_no_spelling_of_a_denied_action_reaches_asterisk(recorder: Recorder, daemon_for: StartDaemon) -> None:
    daemon = daemon_for({"pbx1": recorder.table}, callers__local={"deny": ["Originate"]})
    for spelling in SPELLINGS:
        assert outcome(daemon, spelling, {"Channel": f"Local/{MARK}@calls", "Application": "Wait"}) == "denied", repr(spelling)
    for spelling in SENT_AS_THEY_ARE:
        fields = {"Channel": f"Local/{MARK}@calls", "Application": "Wait"}
        assert outcome(daemon, spelling, fields) in ("invalid_params", "action_failed"), repr(spelling)
    assert "originate" not in recorder.actions()


SESSION: list[tuple[str, dict[str, Any]]] = [
    ("Events", {"EventMask": "on"}),
    ("Events", {"EventMask": "call"}),
    ("Filter", {"Operation": "Add", "Filter": "!Event: UserEvent"}),
    ("Challenge", {"AuthType": "MD5"}),
    ("Login", {"Username": "limited", "Secret": "wrong"}),
    ("Login", {"Username": "limited", "Events": "on"}),
    ("Logoff", {}),
    ("WaitEvent", {"Timeout": 0}),
]


def test_session_actions_do_not_affect_later_callers(asterisk: Asterisk, daemon_for: StartDaemon) -> None:
    """One lane, so that the next caller has the very session on which the action was."""
    table = {"host": asterisk.host, "port": asterisk.port, "username": asterisk.username, "secret": asterisk.secret, "lanes": 1}
    daemon = daemon_for({"pbx1": table})
    with Listener(daemon, "events", "event.pbx1.UserEvent.") as listener:
        for number, (action, fields) in enumerate(SESSION):
            if action == "Login":
                fields = {"Secret": asterisk.secret, **fields}
            kind = outcome(daemon, action, fields)
            assert kind in ("done", "action_failed"), (action, kind)
            assert daemon.action("CoreStatus")["response"]["Response"] == "Success", f"{action} took rights away"
            assert daemon.action("UserEvent", {"UserEvent": f"after{number}"})["events"] == [], f"{action} brought events"
            assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        listener.until_event("UserEvent", UserEvent=f"after{len(SESSION) - 1}")
        heard = [event["fields"]["UserEvent"] for event in listener.events]
        assert [name for name in heard if name.startswith("after")] == [f"after{number}" for number in range(len(SESSION))]
