"""Answers: framed lists, unusual answers, both dialects, and misbehaviour on demand."""

from __future__ import annotations

import pytest

from tests.simulator.dialogue import Dialogue, named
from tests.simulator.faults import Faults


@pytest.mark.parametrize(
    ("action", "complete"),
    [
        ("CoreShowChannels", "CoreShowChannelsComplete"),
        ("Status", "StatusComplete"),
        ("QueueStatus", "QueueStatusComplete"),
        ("QueueSummary", "QueueSummaryComplete"),
        ("BridgeList", "BridgeListComplete"),
        ("ParkedCalls", "ParkedCallsComplete"),
        ("Parkinglots", "ParkinglotsComplete"),
        ("PJSIPShowEndpoints", "EndpointListComplete"),
        ("DBGetTree", "DBGetTreeComplete"),
        ("DeviceStateList", "DeviceStateListComplete"),
        ("FAXSessions", "FAXSessionsComplete"),
    ],
)
def test_lists_are_framed(action: str, complete: str) -> None:
    dialogue = Dialogue()
    dialogue.ask("Originate", Channel="Local/500@default/n", Application="Echo", Async="true")
    dialogue.ask("DBPut", Family="f", Key="k", Val="v")
    first, *items, last = dialogue.ask(action, ActionID="a")
    assert first[:2] == [("Response", "Success"), ("ActionID", "a")]
    assert first[2][1].lower() == "start"
    assert last[:4] == [
        ("Event", complete),
        ("ActionID", "a"),
        ("EventList", "Complete"),
        ("ListItems", str(len(items))),
    ]
    assert all(("ActionID", "a") in item for item in items)


def test_database() -> None:
    dialogue = Dialogue()
    dialogue.ask("DBPut", Family="f", Key="a/b", Val="x: y ")
    assert named(dialogue.ask("DBGet", Family="f", Key="a/b"), "DBGetResponse")[0]["Val"] == "x: y "
    assert dict(dialogue.ask("DBGet", Family="f", Key="c")[0])["Message"] == "Database entry not found"
    assert len(named(dialogue.ask("DBGetTree", Family="f"), "DBGetTreeResponse")) == 1
    assert dict(dialogue.ask("DBDel", Family="f", Key="a/b")[0])["Response"] == "Success"
    assert dict(dialogue.ask("DBDel", Family="f", Key="a/b")[0])["Response"] == "Error"


@pytest.mark.parametrize("value", ["plain", "mü: x", "  lead", "a" * 900])
def test_bytes_survive(value: str) -> None:
    dialogue = Dialogue()
    raw = value.encode("latin-1")
    dialogue.raw(b"Action: Setvar\r\nVariable: V\r\nValue: " + raw + b"\r\n\r\n")
    assert b"Value: " + raw.lstrip() + b"\r\n" in dialogue.raw(b"Action: Getvar\r\nVariable: V\r\n\r\n")


def test_command() -> None:
    dialogue = Dialogue()
    answer = dialogue.ask("Command", Command="core show channels")[0]
    assert answer[:2] == [("Response", "Success"), ("Message", "Command output follows")]
    assert answer[-1] == ("Output", "0 calls processed")
    failed = dialogue.ask("Command", Command="nope nope")[0]
    assert failed[0] == ("Response", "Error")
    assert failed[2][1].startswith("No such command 'nope nope'")


def test_unusual_answers() -> None:
    dialogue = Dialogue()
    assert dialogue.raw(b"Action: QueueRule\r\n\r\n") == b"Response: Success\r\n\r\n\r\n"
    assert len(dialogue.ask("VoicemailUsersList")) == 1
    assert len(dialogue.ask("FAXStats")) == 2
    assert dict(dialogue.ask("ConfbridgeListRooms")[0])["Message"] == "No active conferences."
    assert dict(dialogue.ask("GetConfig", Filename="queues.conf")[0])["Line-000001-000000"] == "strategy=ringall"
    assert dialogue.ask("GetConfig", Filename="queues.conf", Category="x")[0][-1] == (
        "No categories found",
        "",
    )
    dialogue.pbx.phones.clear()
    assert dialogue.raw(b"Action: PJSIPShowEndpoints\r\n\r\n").endswith(b"No endpoints found\n\r\n\r\n")


def test_recording() -> None:
    dialogue = Dialogue(events="on", version=16)
    dialogue.ask("Originate", Channel="Local/400@default/n", Application="Echo", Async="true")
    name = next(iter(dialogue.pbx.channels))
    assert dict(dialogue.ask("Monitor", Channel=name)[0])["Message"] == "Started monitoring channel"
    assert dict(dialogue.ask("StopMonitor", Channel=name)[0])["Message"] == "Stopped monitoring channel"
    assert named(dialogue.ask("MixMonitor", Channel=name, File="x.wav"), "MixMonitorStart")
    assert dict(dialogue.ask("StopMixMonitor", Channel=name)[0])["Response"] == "Success"
    assert dict(Dialogue().ask("Monitor", Channel=name)[0])["Message"].startswith("Invalid/unknown command")


def test_answers_in_old_forms() -> None:
    dialogue = Dialogue(version=13)
    raw = dialogue.raw(b"Action: Command\r\nActionID: 4\r\nCommand: core show version\r\n\r\n")
    assert raw.startswith(b"Response: Follows\r\nPrivilege: Command\r\nActionID: 4\r\nAsterisk 13")
    assert raw.endswith(b"\n--END COMMAND--\r\n\r\n")
    first, *_, last = dialogue.ask("QueueStatus", ActionID="q")
    assert "EventList" not in dict(first)
    assert last == [("Event", "QueueStatusComplete"), ("ActionID", "q")]
    assert dict(dialogue.ask("CoreShowChannels")[0])["EventList"] == "start"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("silence", b""),
        ("duplicate", b"Response: Success\r\nActionID: 1\r\nMessage: m\r\n\r\n" * 2),
        ("wrong_actionid", b"Response: Success\r\nActionID: another\r\nMessage: m\r\n\r\n"),
        ("endless_line", b"x" * 1000),
    ],
)
def test_faults(kind: str, expected: bytes) -> None:
    dialogue = Dialogue(faults=Faults())
    dialogue.ask("SimFault", Kind=kind, Target="VoicemailUsersList", Size="1000")
    ordinary = b"There are no voicemail users currently defined."
    request = b"Action: VoicemailUsersList\r\nActionID: 1\r\n\r\n"
    assert dialogue.raw(request).replace(ordinary, b"m") == expected
    assert ordinary in dialogue.raw(request), "once only"


def test_delay_close_and_burst() -> None:
    dialogue = Dialogue(events="on", faults=Faults())
    dialogue.ask("SimFault", Kind="delay", Target="Ping", Seconds="3")
    assert dialogue.ask("Ping") == dialogue.later(2.9) == []
    assert ("Ping", "Pong") in dialogue.later(0.1)[0]
    burst = named(dialogue.ask("SimFault", Kind="burst", Count="1000"), "UserEvent")
    assert [event["Number"] for event in burst] == [str(n) for n in range(1, 1001)]
    dialogue.ask("SimFault", Kind="close", Target="*")
    assert dialogue.ask("Ping") == []
    assert dialogue.session.closed


def test_without_faults_there_is_no_simfault() -> None:
    assert dict(Dialogue().ask("SimFault", Kind="silence")[0])["Response"] == "Error"
