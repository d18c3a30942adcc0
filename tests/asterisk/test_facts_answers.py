"""The answers and events of real Asterisks on which amid's sessions are built, checked on each
version without amid.

As in `test_facts.py`, a failure after an upgrade shows which assumption of amid is no longer true.
"""

from __future__ import annotations

import base64
import signal
import time
from collections.abc import Callable

import pytest

from tests.asterisk.raw import Packet, Raw, error, eventually, request
from tests.asterisk.server import Asterisk

# --- Answers that are no list, or not only one packet ---


@pytest.mark.parametrize(
    "action, fields, message",
    [
        ("ConfbridgeListRooms", {}, "No active conferences."),
        ("ConfbridgeList", {"Conference": "9"}, "No active conferences."),
        ("DBGet", {"Family": "none", "Key": "none"}, "Database entry not found"),
        ("Hangup", {"Channel": "/*(/"}, "Regex compile failed on: /*(/"),
        ("Hangup", {"Channel": "none"}, "No such channel"),
        ("ParkedCalls", {"ParkingLot": "none"}, "Requested parking lot could not be found."),
        ("ShowDialPlan", {"Context": "none"}, "Did not find context none"),
        ("Status", {"Channel": "none"}, "No such channel"),
    ],
)
def test_a_list_action_may_answer_error(session: Raw, action: str, fields: dict[str, str], message: str) -> None:
    assert session.ask(action, **fields) == [error(message, "fact")]


@pytest.mark.parametrize(
    "action, message",
    [
        ("PJSIPShowAuths", "No Auths found"),
        ("PJSIPShowContacts", "No Contacts found"),
        ("PJSIPShowResourceLists", "No resource lists found"),
    ],
)
def test_a_trailing_line_feed_makes_an_empty_packet(session: Raw, action: str, message: str) -> None:
    assert session.ask(action) == [error(message, "fact"), Packet()]


def test_a_plain_success_is_documented_as_a_list(asterisk: Asterisk, session: Raw) -> None:
    answer = session.answer("VoicemailUserStatus", Context="default", Mailbox="77")
    found = {"22": "There is no voicemail user of the given info.", "16": "Invalid/unknown command: "}
    assert str(answer.message).startswith(found[asterisk.version])
    assert answer["EventList"] is None


def test_one_event_without_a_completion_event(session: Raw) -> None:
    response, event = session.ask("FAXStats")
    assert (response["EventList"], event["Event"], event["ActionID"]) == (None, "FAXStats", "fact")


def test_three_errors_for_one_action(session: Raw) -> None:
    answers = session.ask("ModuleLoad")
    assert [answer["Response"] for answer in answers] == ["Error"] * 3
    assert {answer["ActionID"] for answer in answers} == {"fact"}


def test_hangup_by_regex_lists_the_channels(session: Raw, channel: str) -> None:
    _, *items, last = session.ask("Hangup", Channel="/^Local/")
    assert {item["Event"] for item in items} == {"ChannelHungup"}, "one or two: a half may go with the other"
    assert (last["Event"], last["ListItems"]) == ("ChannelsHungupListComplete", str(len(items)))


# --- Command ---


def test_command_has_an_output_header_for_each_line(session: Raw) -> None:
    answer = session.answer("Command", Command="core show uptime")
    assert (answer["Response"], answer.message) == ("Success", "Command output follows")
    assert [line.partition(":")[0] for line in answer.all("Output")] == ["System uptime", "Last reload"]


def test_a_failed_command_is_an_error_with_output(session: Raw) -> None:
    answer = session.answer("Command", Command="nonsense")
    assert (answer["Response"], answer.message) == ("Error", "Command output follows")
    assert str(answer["Output"]).startswith("No such command 'nonsense'")


def test_a_command_that_is_not_allowed_has_no_output(session: Raw) -> None:
    assert session.answer("Command", Command="module unload none") == error("Command blacklisted", "fact")


# --- WaitEvent and Events ---


def test_wait_event_ends_without_a_list_marker(session: Raw) -> None:
    for _ in range(5):  # the fence, pipelined behind it, interrupts it when Asterisk reads the fence later
        began = time.monotonic()
        response, complete = session.ask("WaitEvent", Timeout=1)
        waited = time.monotonic() - began
        if waited >= 0.99:
            break
    assert waited >= 0.99
    assert (response["EventList"], response.message) == (None, "Waiting for Event completed.")
    assert complete == Packet([("Event", "WaitEventComplete"), ("ActionID", "fact")])


def test_any_later_byte_interrupts_wait_event(session: Raw) -> None:
    session.send(request("WaitEvent", "w", Timeout=30))
    eventually(session.was_read)
    session.send(b"A")
    assert session.packet()["ActionID"] == "w"
    assert session.packet()["Event"] == "WaitEventComplete"
    (answer,) = session.exchange(b"ction: Ping\r\nActionID: whole\r\n\r\n")
    assert answer["ActionID"] == "whole"


def test_an_event_ends_wait_event_even_with_events_off(asterisk: Asterisk, session: Raw) -> None:
    """It ends early but returns no event."""
    session.send(request("WaitEvent", "w", Timeout=30))
    eventually(session.was_read)
    with Raw(asterisk) as other:
        other.ask("UserEvent", UserEvent="Wake")
    assert [session.packet()["Response"], session.packet()["Event"]] == ["Success", "WaitEventComplete"]


def test_events_returns_the_new_mask(session: Raw) -> None:
    for mask, state in (("on", "On"), ("call,system", "On"), ("nonsense", "Off"), ("off", "Off")):
        packets = session.exchange(request("Events", "e", EventMask=mask))  # with events on, others' may come before it
        assert [packet["Events"] for packet in packets if packet["ActionID"] == "e"] == [state]
    assert session.exchange(request("Events", "e"))[0].message == "Invalid event mask"


def test_user_event_echoes_the_action_id_to_everybody(session: Raw, listener: Raw) -> None:
    assert session.ask("UserEvent", "mine", UserEvent="Foo", X="caf\xe9")[0].message == "Event Sent"
    event = listener.until("UserEvent", UserEvent="Foo")
    assert (event["ActionID"], event["X"]) == ("mine", "caf\xe9")


def test_originate_response_is_an_event_with_a_response_header(session: Raw, listener: Raw) -> None:
    (answer,) = session.ask("Originate", "call", Channel="Local/none@calls", Application="Wait", Async="true")
    assert answer.message == "Originate successfully queued"
    assert listener.until("OriginateResponse", ActionID="call")["Response"] == "Failure"
    assert session.ask("Ping")[0]["Ping"] == "Pong"  # and none of it came here


# --- Recording ---


def test_recording(asterisk: Asterisk, session: Raw, channel: str) -> None:
    """22 has no Monitor; MixMonitor's answers have no Message."""
    monitor = session.answer("Monitor", Channel=channel, File="facts", Format="wav")
    assert monitor["Response"] == {"22": "Error", "16": "Success"}[asterisk.version]
    assert session.answer("MixMonitor", Channel=channel, File="facts.wav").message is None
    assert session.answer("Ping")["Ping"] == "Pong"
    assert session.answer("StopMixMonitor", Channel=channel)["Response"] == "Success"
    assert session.answer("StopMixMonitor", Channel=channel) == error("Could not stop monitoring channel", "fact")


# --- Values ---

VALUES = [b"", b"caf\xe9", "grüß 世界".encode(), b"a: b", b"trailing  ", b"[];,\\\"'"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_is_returned_unchanged(session: Raw, channel: str, value: bytes) -> None:
    text = value.decode("latin-1")
    session.answer("Setvar", Channel=channel, Variable="FACT", Value=text)
    assert session.answer("Getvar", Channel=channel, Variable="FACT")["Value"] == text
    session.answer("DBPut", Family="facts", Key="value", Val=text)
    assert session.ask("DBGet", Family="facts", Key="value")[1]["Val"] == text


def test_leading_spaces_are_lost(session: Raw, channel: str) -> None:
    session.answer("Setvar", Channel=channel, Variable="FACT", Value="  x")
    assert session.answer("Getvar", Channel=channel, Variable="FACT")["Value"] == "x"


def test_var_set_with_invalid_utf8(asterisk: Asterisk, session: Raw, listener: Raw, channel: str) -> None:
    """The variable keeps the byte. The event has U+FFFD instead in 22; in 16 there is no event."""
    for value in ("caf\xe9", "plain"):
        session.answer("Setvar", Channel=channel, Variable="FACT", Value=value)
    replaced = "caf\N{REPLACEMENT CHARACTER}".encode().decode("latin-1")
    assert listener.until("VarSet", Variable="FACT")["Value"] == {"22": replaced, "16": "plain"}[asterisk.version]


def test_a_value_can_forge_a_packet(session: Raw) -> None:
    forged = base64.b64encode(b"x\r\n\r\nResponse: Success\r\nActionID: victim").decode()
    answers = session.ask("Getvar", Variable=f"BASE64_DECODE({forged})")
    assert answers[1] == Packet([("Response", "Success"), ("ActionID", "victim")])


# --- Life and death ---


def test_restart_closes_sessions_and_keeps_the_process(own_asterisk: Callable[[], Asterisk]) -> None:
    """The command only wakes the main thread, which closes all: most often before the answer is written."""
    server = own_asterisk()
    pid, listener = server.pid, Raw(server, events="on")
    with listener, Raw(server) as session:
        session.send(request("Command", "r", Command="core restart now"))
        with pytest.raises(EOFError):
            while session.packet()["ActionID"] == "r":
                pass
        assert listener.until("Shutdown")["Restart"] == "True"
        assert listener.is_closed()
    server.wait_booted()
    assert (server.pid, server.poll()) == (pid, None)


def test_sigterm_says_shutdown(own_asterisk: Callable[[], Asterisk]) -> None:
    server = own_asterisk()
    with Raw(server, events="on") as listener:
        server.kill(signal.SIGTERM)
        assert listener.until("Shutdown")["Restart"] == "False"
        assert listener.is_closed()
