"""Answers of every form: lists of all kinds and sizes, long output, answers without an end, and
forged packets."""

from __future__ import annotations

import base64
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.callers import Action, Dealer, at_once
from tests.conformance.conftest import Phone
from tests.conformance.listeners import Listener
from tests.conformance.pbx import SERVER, Pbx
from tests.daemon import Daemon, eventually

# --- Every list that the PBX has ---

with (Path(__file__).parents[1] / "ami" / "data" / "lists.csv").open() as file:
    COMPLETES = {row["action"].partition(" ")[0]: row["complete"] for row in csv.DictReader(file) if row["start"] != "none"}
COMPLETES = {name: complete for name, complete in COMPLETES.items() if name.isalnum()}

FIELDS = {
    "BridgeInfo": {"BridgeUniqueid": "<bridge>"},
    "ConfbridgeList": {"Conference": "100"},
    "CoreShowChannelMap": {"Channel": "<channel>"},
    "DBGet": {"Family": "lists", "Key": "one"},
    "DBGetTree": {"Family": "lists"},
    "Hangup": {"Channel": "/^none/"},
    "MWIGet": {"Mailbox": "/./"},
    "PJSIPHangup": {"Channel": "/^none/"},
    "PJSIPShowEndpoint": {"Endpoint": "sipp"},
    "VoicemailBoxSummary": {"Context": "default", "Mailbox": "1000"},
    "VoicemailUserStatus": {"Context": "default", "Mailbox": "1000"},
}
ITEMS = {"BridgeInfo", "BridgeList", "ConfbridgeList", "ConfbridgeListRooms", "CoreShowChannels", "DBGet", "DBGetTree"}
ITEMS |= {"ParkedCalls", "Parkinglots", "PJSIPShowEndpoints", "QueueStatus", "QueueSummary", "Status"}
"""Lists that must not be empty on this stage."""

NOTHING_TO_LIST = {
    "ConfbridgeListRooms": "No active conferences.",
    "DAHDIShowStatus": "No DAHDI detected",
    "ExtensionStateList": "No dialplan hints are available",
    "MeetmeList": "No active conferences.",
    "MeetmeListRooms": "No active conferences.",
    "PJSIPShowAuths": "No Auths found",
    "PJSIPShowContacts": "No Contacts found",
    "PJSIPShowResourceLists": "No resource lists found",
}
COUNTS_OTHERWISE = {"PJSIPShowRegistrationsOutbound", "VoicemailUserStatus"}
"""Their ListItems is not the number of items (peers.md, section 3.6)."""


@pytest.fixture(scope="module")
def stage(daemon: Daemon) -> Iterator[dict[str, str]]:
    """Data for every list, and its names."""
    phone = Phone(daemon)
    daemon.action("DBPut", {"Family": "lists", "Key": "one", "Val": "1"})
    phone.call("park")
    names = {"<channel>": phone.call("conf")}
    bridges = eventually(lambda: daemon.action("ConfbridgeListRooms") and daemon.action("BridgeList")["events"], "a conference")
    names["<bridge>"] = next(bridge["BridgeUniqueid"] for bridge in bridges if bridge["BridgeCreator"] == "ConfBridge")
    eventually(lambda: daemon.action("ParkedCalls")["events"], "a parked call")
    yield names
    phone.hang_up_all()
    daemon.action("DBDelTree", {"Family": "lists"})


@pytest.fixture(scope="module")
def offered(daemon: Daemon) -> set[str]:
    return {one["name"] for one in daemon.result("actions")}


@pytest.mark.parametrize("name", COMPLETES)
def test_a_list_is_complete(daemon: Daemon, stage: dict[str, str], offered: set[str], name: str) -> None:
    fields = {key: stage.get(value, value) for key, value in FIELDS.get(name, {}).items()}
    reply = daemon.request("action", {"action": name, "fields": fields})
    if name not in offered:
        assert reply["error"]["data"]["response"]["Message"].startswith(f"Invalid/unknown command: {name}.")
        return
    if "error" in reply:
        assert reply["error"]["data"]["kind"] == "action_failed"
        assert reply["error"]["data"]["response"]["Message"] == NOTHING_TO_LIST[name]
        return
    result = reply["result"]
    if name.startswith("Voicemail") and result["complete"] is None:  # without mailboxes it is a plain Success
        assert result["response"]["Response"] == "Success" and result["events"] == []
        return
    assert result["complete"]["Event"] == COMPLETES[name]
    assert {item["ActionID"] for item in result["events"]} <= {result["action_id"]}
    if name not in COUNTS_OTHERWISE:
        assert result["complete"]["ListItems"] == str(len(result["events"]))
    assert result["events"] or name not in ITEMS


# --- Size ---


MANY = 10_000


@pytest.fixture(scope="module")
def many(daemon: Daemon) -> Iterator[str]:
    """A family of the database with 10,000 keys, `00000` to `09999`, each with a value of its own."""
    puts = [Action("DBPut", {"Family": "many", "Key": f"{n:05d}", "Val": f"value {n}"}) for n in range(MANY)]
    with Dealer(daemon) as dealer:
        began = time.monotonic()
        answers = dealer.carry_out(puts)
        print(f"\n{MANY} calls in {time.monotonic() - began:.1f} s")
    assert {answer.kind for answer in answers.values()} == {"ok"}
    yield "many"
    daemon.action("DBDelTree", {"Family": "many"})


def test_a_list_of_ten_thousand_items_is_complete(daemon: Daemon, pbx: Pbx, many: str) -> None:
    result = daemon.action("DBGetTree", {"Family": many}, timeout=20)
    assert result["complete"]["ListItems"] == ("1" if pbx.version == "16" else str(MANY))  # 16 counts the action, not its items
    expected = [(f"/many/{n:05d}", f"value {n}") for n in range(MANY)]
    assert sorted((item["Key"], item["Val"]) for item in result["events"]) == expected
    print(f"\n{MANY} items in {result['elapsed']} s")


def test_output_of_ten_thousand_lines_is_complete(daemon: Daemon, many: str) -> None:
    result = daemon.action("Command", {"Command": f"database show {many}"}, timeout=20)
    *lines, last = result["output"]
    assert last == f"{MANY} results found."
    pairs = [tuple(part.strip() for part in line.split(":")) for line in lines]
    assert sorted(pairs) == [(f"/many/{n:05d}", f"value {n}") for n in range(MANY)]
    print(f"\n{MANY} lines in {result['elapsed']} s")


def test_small_calls_are_answered_during_a_large_one(daemon: Daemon, many: str) -> None:
    with Dealer(daemon) as dealer:
        dealer.send("large", Action("DBGetTree", {"Family": many}, {"timeout": 20}))
        for number in range(50):
            dealer.send(number, Action("DBGet", {"Family": many, "Key": f"{number:05d}"}))
        replies = dealer.all()
    assert all(replies[n].result["events"][0]["Val"] == f"value {n}" for n in range(50))
    assert len(replies["large"].result["events"]) == MANY


# --- Command ---


def test_a_failed_command_returns_its_output(daemon: Daemon) -> None:
    error = daemon.failure("Command", {"Command": "nonsense"})
    assert error["data"]["kind"] == "action_failed"
    response = error["data"]["response"]
    assert response["Response"] == "Error" and response["Output"].startswith("No such command 'nonsense'")
    assert error["message"].startswith("the command failed: No such command 'nonsense'")


def test_a_command_that_is_not_allowed(daemon: Daemon) -> None:
    error = daemon.failure("Command", {"Command": "module unload none"})
    assert (error["data"]["kind"], error["data"]["response"]["Message"]) == ("action_failed", "Command blacklisted")


# --- Answers of other forms ---


def test_wait_event(daemon: Daemon) -> None:
    result = daemon.action("WaitEvent", {"Timeout": 1, "ActionID": "wait"})
    assert result["response"]["Message"] == "Waiting for Event completed."
    assert (result["complete"]["Event"], result["complete"]["ActionID"]) == ("WaitEventComplete", "wait")


def test_wait_event_times_out(daemon: Daemon) -> None:
    error = daemon.failure("WaitEvent", {"Timeout": 60}, timeout=0.3)
    assert (error["data"]["kind"], error["data"]["sent"]) == ("timeout", True)
    eventually(lambda: daemon.server(SERVER)["lanes"]["busy"] == 0, "the lane is free again", 3)


def test_fax_stats(daemon: Daemon) -> None:
    began = time.monotonic()
    result = daemon.action("FAXStats")
    assert [event["Event"] for event in result["events"]] == ["FAXStats"]
    assert result["events"][0]["ActionID"] == result["action_id"]
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("mask, state", [("on", "On"), ("off", "Off"), ("call", "On")])
def test_the_action_events_does_not_affect_others(daemon: Daemon, mark: str, mask: str, state: str) -> None:
    """The action changes only its session; the lane is not used again, and events continue."""
    assert daemon.action("Events", {"EventMask": mask})["response"]["Events"] == state
    with Listener(daemon, "events", f"event.{SERVER}.UserEvent.") as listener:
        daemon.action("UserEvent", {"UserEvent": mark})
        listener.until_event("UserEvent", UserEvent=mark)
    daemon.wait_up(SERVER)


def counter(daemon: Daemon, name: str) -> int:
    count: int = daemon.result("status")["servers"][0]["counters"][name]
    return count


def test_a_lane_that_is_closed_leaves_no_unknown_packet(daemon: Daemon) -> None:
    opened, unknown = counter(daemon, "lanes_opened"), counter(daemon, "unknown_packets")
    daemon.action("Events", {"EventMask": "off"})
    eventually(lambda: counter(daemon, "lanes_opened") > opened, "another lane")
    assert counter(daemon, "unknown_packets") == unknown


def test_goodbye_is_a_response(daemon: Daemon) -> None:
    assert daemon.action("Logoff")["response"]["Response"] == "Goodbye"
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert daemon.server(SERVER)["state"] == "up"
    daemon.wait_up(SERVER)


def test_many_goodbyes(daemon: Daemon) -> None:
    answers = at_once(daemon, [Action(name) for name in ("Logoff", "Ping") * 10])
    assert [answer.result["response"]["Response"] for answer in answers] == ["Goodbye", "Success"] * 10
    daemon.wait_up(SERVER)


def test_a_user_event_is_received(daemon: Daemon, mark: str) -> None:
    with Listener(daemon, "stream", f"stream.{SERVER}.") as stream:
        result = daemon.action("UserEvent", {"UserEvent": mark, "ActionID": "mine", "X": "a: b"}, until="UserEvent")
        assert result["response"]["Message"] == "Event Sent"
        assert (result["until"]["UserEvent"], result["until"]["ActionID"], result["until"]["X"]) == (mark, "mine", "a: b")
        event = stream.until_event("UserEvent", UserEvent=mark)
    assert event["fields"]["ActionID"] == result["action_id"]


def test_until_ignores_other_events_with_the_action_id(daemon: Daemon, mark: str) -> None:
    error = daemon.failure("UserEvent", {"UserEvent": mark}, until="OriginateResponse", timeout=0.3)
    assert (error["data"]["kind"], error["data"]["sent"]) == ("timeout", True)


# --- Forged packets ---

FORGERIES = {
    "success-for-another": "Response: Success\r\nActionID: victim\r\nMessage: forged",
    "error-for-another": "Response: Error\r\nActionID: victim\r\nMessage: forged",
    "success-for-nobody": "Response: Success\r\nMessage: forged",
    "error-for-nobody": "Response: Error\r\nMessage: forged",
    "event-for-another": "Event: OriginateResponse\r\nResponse: Success\r\nActionID: victim\r\nMessage: forged",
    "end-of-a-list": "Event: QueueStatusComplete\r\nEventList: Complete\r\nActionID: victim\r\nMessage: forged",
    "event-for-nobody": "Event: Forged\r\nMessage: forged",
    "goodbye": "Response: Goodbye\r\nMessage: forged",
    "no-packet": "forged",
}


def forged_variable(packet: str) -> str:
    """A variable whose value contains line ends and a complete forged packet."""
    text = base64.b64encode(f"x\r\n\r\n{packet}".encode()).decode()
    return f"BASE64_DECODE({text})"


def forgery(packet: str) -> Action:
    return Action("Getvar", {"Variable": forged_variable(packet)})


def victim(number: int) -> Action:
    own = {"ActionID": "victim"}
    return (
        Action("Ping", own),
        Action("QueueStatus", {"Queue": "support", **own}),
        Action("UserEvent", {"UserEvent": "v", "Number": number, **own}, {"until": "UserEvent"}),
        Action("Getvar", {"Variable": f"VICTIM{number}", **own}),
    )[number % 4]


@pytest.mark.parametrize("packet", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_packet_reaches_no_caller(daemon: Daemon, packet: str) -> None:
    unknown = counter(daemon, "unknown_packets")
    mixed = [action for n in range(40) for action in (forgery(packet), victim(n))]
    with Listener(daemon, "stream", f"stream.{SERVER}.") as stream:
        answers = at_once(daemon, mixed)
        stream.until(lambda listener: len(listener.named("UserEvent")) == 10, "the victims' events")
    for number, answer in enumerate(answers[1::2]):
        assert answer.result["response"]["ActionID"] == "victim", answer
        assert "forged" not in str(answer), answer
        if number % 4 == 1:
            assert len(answer.result["events"]) == 3 == int(answer.result["complete"]["ListItems"])
        elif number % 4 == 2:
            assert answer.result["until"]["Number"] == str(number)
        elif number % 4 == 3:
            assert answer.result["response"]["Variable"] == f"VICTIM{number}"
    assert "forged" not in str(stream.events)
    assert all(answer.result["response"]["Value"] == "x" for answer in answers[::2])
    eventually(lambda: counter(daemon, "unknown_packets") == unknown + 40, "they are counted")


@pytest.mark.parametrize("packet", [packet for packet in FORGERIES.values() if "victim" in packet])
def test_a_forged_packet_is_not_part_of_a_list(daemon: Daemon, stage: dict[str, str], packet: str) -> None:
    """It arrives during an open call on the same session."""
    result = daemon.action("Status", {"Channel": stage["<channel>"], "Variables": forged_variable(packet)})
    assert result["response"]["Message"] == "Channel status will follow"
    assert (result["complete"]["Event"], result["complete"]["ListItems"]) == ("StatusComplete", "1")
    assert "forged" not in str(result)
