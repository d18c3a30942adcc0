"""Calls through amid: originated, queued, conferenced, parked, redirected, recorded and hung up,
and their lists and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.callers import Action, Dealer
from tests.conformance.conftest import Phone
from tests.conformance.listeners import Listener
from tests.conformance.pbx import SERVER
from tests.daemon import Daemon, eventually

STREAM = f"stream.{SERVER}."
MEMBERS = ("Local/member@calls", "Local/member2@calls")


@pytest.fixture
def stream(daemon: Daemon) -> Iterator[Listener]:
    with Listener(daemon, "stream", STREAM) as listener:
        yield listener


def events(daemon: Daemon, action: str, **fields: Any) -> list[dict[str, Any]]:
    """A list's items; none when Asterisk answers an Error, as some lists do when they are empty."""
    reply = daemon.request("action", {"action": action, "fields": fields})
    items: list[dict[str, Any]] = reply.get("result", {}).get("events", [])
    return items


# --- Originate ---


def test_a_synchronous_originate_waits_for_the_answer(daemon: Daemon, phone: Phone) -> None:
    result = daemon.action("Originate", {"Channel": "Local/answer@calls/n", "Application": "Wait", "Data": 60})
    assert result["response"]["Message"] == "Originate successfully queued"
    eventually(lambda: len(phone.channels()) == 2, "both halves are listed")


def test_an_unanswered_originate_fails(daemon: Daemon, phone: Phone) -> None:
    fields = {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Data": 60, "Timeout": 300}
    error = daemon.failure("Originate", fields)
    assert error["data"]["kind"] == "action_failed" and error["data"]["sent"] is True
    assert error["data"]["response"]["Message"] == "Originate failed"


def test_until_the_call_is_answered(daemon: Daemon, phone: Phone) -> None:
    fields = {"Channel": "Local/answer@calls/n", "Application": "Wait", "Data": 60, "Async": True, "ActionID": "mine"}
    result = daemon.action("Originate", fields, until="OriginateResponse")
    assert result["response"]["Message"] == "Originate successfully queued"
    until = result["until"]
    assert (until["Event"], until["Response"], until["Reason"]) == ("OriginateResponse", "Success", "4")
    assert (until["ActionID"], result["response"]["ActionID"]) == ("mine", "mine")
    eventually(lambda: until["Channel"] in [channel["Channel"] for channel in phone.channels()], "the channel is listed")


@pytest.mark.parametrize("exten", ["nowhere", "noanswer"])
def test_until_the_call_has_failed(daemon: Daemon, phone: Phone, exten: str) -> None:
    fields = {"Channel": f"Local/{exten}@calls/n", "Application": "Wait", "Data": 60, "Async": True, "Timeout": 300}
    result = daemon.action("Originate", fields, until="OriginateResponse")
    assert result["until"]["Response"] == "Failure"
    assert result["until"]["ActionID"] == result["action_id"]


def test_until_times_out(daemon: Daemon, phone: Phone) -> None:
    fields = {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Data": 60, "Async": True}
    error = daemon.failure("Originate", fields, until="OriginateResponse", timeout=0.3)
    assert (error["data"]["kind"], error["data"]["sent"]) == ("timeout", True)


def test_the_events_of_a_call(stream: Listener, phone: Phone) -> None:
    channel = phone.call("answer")
    phone.daemon.action("Hangup", {"Channel": channel, "Cause": 17})
    hangup = stream.until_event("Hangup", Channel=channel)
    assert (hangup["fields"]["Cause"], hangup["fields"]["Cause-txt"]) == ("17", "User busy")
    life = [event["event"] for event in stream.events if event["fields"].get("Channel") == channel]
    life.remove("OriginateResponse")  # it does not wait for the channel's own events: another thread of Asterisk's sends it
    assert life[0] == "Newchannel" and life[-1] == "Hangup" and "Newstate" in life
    assert stream.topics == {STREAM}


# --- Hangup and Redirect ---


def test_hangup(daemon: Daemon, stream: Listener, phone: Phone) -> None:
    channel = phone.call("answer")
    assert daemon.action("Hangup", {"Channel": channel})["response"]["Message"] == "Channel Hungup"
    stream.until_event("Hangup", Channel=channel)
    eventually(lambda: not phone.channels(), "both ends are gone")
    error = daemon.failure("Hangup", {"Channel": channel})
    assert error["data"]["response"]["Message"] == "No such channel"


def test_hangup_by_pattern(daemon: Daemon, phone: Phone) -> None:
    for _ in range(2):
        phone.call("answer")
    result = daemon.action("Hangup", {"Channel": "/^Local/"})
    assert {event["Event"] for event in result["events"]} == {"ChannelHungup"}
    assert len({event["Channel"].partition(";")[0] for event in result["events"]}) == 2, "each call; a half may go with the other"
    assert result["complete"]["Event"] == "ChannelsHungupListComplete"
    assert result["complete"]["ListItems"] == str(len(result["events"]))


def test_redirect(daemon: Daemon, phone: Phone) -> None:
    channel = phone.call("answer")
    result = daemon.action("Redirect", {"Channel": channel, "Context": "calls", "Exten": "conf", "Priority": 1})
    assert result["response"]["Message"] == "Redirect successful"
    (guest,) = eventually(lambda: events(daemon, "ConfbridgeList", Conference="100"), "it is in the conference")
    assert guest["Channel"] == channel


# --- Queue, conference, parking ---


@pytest.fixture
def members(daemon: Daemon) -> Iterator[Callable[[bool], None]]:
    """Pause or unpause both members of the queue; they are unpaused at the end."""

    def pause(paused: bool) -> None:
        for member in MEMBERS:
            daemon.action("QueuePause", {"Queue": "support", "Interface": member, "Paused": paused})

    yield pause
    pause(False)


def test_queue(daemon: Daemon, stream: Listener, phone: Phone, members: Callable[[bool], None]) -> None:
    members(True)
    caller = phone.call("queue")
    join = stream.until_event("QueueCallerJoin", Channel=caller)
    assert (join["fields"]["Queue"], join["fields"]["Position"], join["fields"]["Count"]) == ("support", "1", "1")
    status = daemon.action("QueueStatus", {"Queue": "support"})
    assert [item["Event"] for item in status["events"]] == ["QueueParams", "QueueMember", "QueueMember", "QueueEntry"]
    assert [item["Paused"] for item in status["events"][1:3]] == ["1", "1"]
    assert (status["events"][3]["Channel"], status["events"][3]["Position"]) == (caller, "1")
    (summary,) = daemon.action("QueueSummary", {"Queue": "support"})["events"]
    assert (summary["Event"], summary["Callers"], summary["LoggedIn"], summary["Available"]) == ("QueueSummary", "1", "2", "0")
    members(False)
    connect = stream.until_event("AgentConnect", Channel=caller)
    assert connect["fields"]["Interface"] in MEMBERS
    stream.until_event("BridgeEnter", Channel=caller)
    daemon.action("Hangup", {"Channel": caller})
    stream.until_event("AgentComplete", Reason="caller")  # without the caller's headers in 16
    names = [event["event"] for event in stream.events]
    order = ["QueueCallerJoin", "AgentCalled", "QueueCallerLeave", "AgentConnect", "AgentComplete"]
    assert sorted(order, key=names.index) == order


def test_conference(daemon: Daemon, stream: Listener, phone: Phone) -> None:
    guests = {phone.call("conf"), phone.call("conf")}
    for guest in guests:
        stream.until_event("ConfbridgeJoin", Conference="100", Channel=guest)
    result = daemon.action("ConfbridgeList", {"Conference": "100"})
    assert {item["Channel"] for item in result["events"]} == guests
    assert result["complete"]["Event"] == "ConfbridgeListComplete" and result["complete"]["ListItems"] == "2"
    (room,) = daemon.action("ConfbridgeListRooms")["events"]
    assert (room["Conference"], room["Parties"]) == ("100", "2")
    phone.hang_up_all()
    stream.until_event("ConfbridgeEnd", Conference="100")
    error = eventually(lambda: daemon.failure("ConfbridgeListRooms"), "the room is gone")
    assert error["data"]["response"]["Message"] == "No active conferences."


def test_parking(daemon: Daemon, stream: Listener, phone: Phone) -> None:
    channel = phone.call("park")
    event = stream.until_event("ParkedCall", ParkeeChannel=channel)
    result = daemon.action("ParkedCalls")
    (item,) = result["events"]
    assert (item["ParkeeChannel"], item["ParkingSpace"]) == (channel, event["fields"]["ParkingSpace"])
    assert (result["complete"]["Event"], result["complete"]["Total"]) == ("ParkedCallsComplete", "1")
    phone.hang_up_all()
    stream.until_event("ParkedCallGiveUp", ParkeeChannel=channel)
    eventually(lambda: not daemon.action("ParkedCalls")["events"], "no call is parked")


# --- What the document amid starts from shows ---


def test_three_pings_at_once(daemon: Daemon) -> None:
    with Dealer(daemon) as dealer:
        for name in "ABC":
            dealer.send(name, Action("Ping", {"ActionID": name}))
        replies = dealer.all()
    assert {name: reply.result["response"]["ActionID"] for name, reply in replies.items()} == {"A": "A", "B": "B", "C": "C"}
    assert len({reply.result["action_id"] for reply in replies.values()}) == 3


def test_a_recording_with_a_ping_in_between(daemon: Daemon, phone: Phone) -> None:
    offered = {one["name"] for one in daemon.result("actions")}
    start, stop = ("Monitor", "StopMonitor") if "Monitor" in offered else ("MixMonitor", "StopMixMonitor")
    channel = phone.call("answer")
    with Dealer(daemon) as dealer:
        dealer.send("start", Action(start, {"Channel": channel, "File": "conformance.wav", "ActionID": "1001"}))
        dealer.send("ping", Action("Ping", {"ActionID": "1002"}))
        assert dealer.reply("start").result["response"]["ActionID"] == "1001"
        assert dealer.reply("ping").result["response"]["ActionID"] == "1002"
        dealer.send("stop", Action(stop, {"Channel": channel, "ActionID": "1003"}))
        assert dealer.reply("stop").result["response"]["ActionID"] == "1003"
        dealer.send("again", Action("StopMixMonitor", {"Channel": channel}))
        assert dealer.reply("again").kind == "action_failed"
