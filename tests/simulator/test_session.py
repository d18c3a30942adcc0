"""A session: limits, login, permissions, the event mask, and one action at a time."""

from __future__ import annotations

import hashlib

import pytest

from amid.simulator.pbx import Pbx
from tests.simulator.dialogue import NOW, Dialogue, named, packets

PING = b"Action: Ping\r\nActionID: 9\r\n\r\n"


def test_greeting_is_one_line() -> None:
    assert Dialogue(user="").greeting == b"Asterisk Call Manager/11.0.0\r\n"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1022, ["Success 9"]),
        (1023, ["Error -", "Success 9"]),
        (1024, ["Error 9"]),
        (2046, ["Error -", "Success 9"]),
        (2047, ["Error 9"]),
        (30_000, ["Error 9"]),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1024, 100_000])
def test_line_limit(length: int, expected: list[str], piece: int) -> None:
    """As measured on Asterisk 22: only the last byte of a full buffer survives it."""
    data = b"A: 1\r\nX: " + b"a" * (length - 3) + b"\r\n" + PING
    dialogue = Dialogue()
    raw = b"".join(dialogue.raw(data[at : at + piece]) for at in range(0, len(data), piece))
    assert [f"{answer[0][1]} {dict(answer).get('ActionID', '-')}" for answer in packets(raw)] == expected
    assert (b"Failed to parse message: line too long" in raw) == (length > 1022)


@pytest.mark.parametrize(
    ("headers", "identity", "expected"),
    [
        (126, b"ActionID: 9\r\n", b"Success\r\nActionID: 9\r\n"),
        (127, b"ActionID: 9\r\n", b"Error\r\nActionID: 9\r\n"),
        (300, b"", b"Error\r\nMessage: Too many lines in message or allocation failure"),
    ],
)
def test_header_limit(headers: int, identity: bytes, expected: bytes) -> None:
    dialogue = Dialogue()
    raw = dialogue.raw(b"Action: Ping\r\n" + identity + b"X: 1\r\n" * headers + b"\r\n")
    assert raw.startswith(b"Response: " + expected)
    assert b"Pong" in dialogue.raw(PING)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"Action:Ping\nactionid:9\n\n",
        b"action: PING\r\nACTIONID:    9\r\n\r\n",
        b"Action: Ping\0x\r\nActionID: 9\r\n\r\n",
    ],
)
def test_lenient_forms(request_bytes: bytes) -> None:
    assert b"ActionID: 9\r\nPing: Pong\r\n" in Dialogue().raw(request_bytes)


def test_empty_action_id_is_not_echoed_and_blank_lines_are_missing_actions() -> None:
    assert Dialogue().raw(b"Action: Ping\r\nActionID: \r\n\r\n").startswith(b"Response: Success\r\nPing: Pong")
    assert Dialogue().raw(b"\r\n") == b"Response: Error\r\nMessage: Missing action in request\r\n\r\n"


def test_before_login_all_other_actions_are_refused() -> None:
    dialogue = Dialogue(user="")
    assert [dict(dialogue.ask(name)[0])["Message"] for name in ("Ping", "Nonsense")] == ["Permission denied"] * 2


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_rejected_login_answers_after_a_second_and_closes(secret: str) -> None:
    dialogue = Dialogue(user="")
    assert dialogue.ask("Login", Username="demo", Secret=secret) == []
    assert dialogue.raw(PING) == b"", "nothing is read meanwhile"
    assert dialogue.later(1) == [[("Response", "Error"), ("Message", "Authentication failed")]]
    assert dialogue.session.closed


def test_md5_login() -> None:
    dialogue = Dialogue(user="")
    challenge = dict(dialogue.ask("Challenge", AuthType="MD5")[0])["Challenge"]
    key = hashlib.md5(f"{challenge}secret".encode()).hexdigest()
    assert dict(dialogue.ask("Login", AuthType="MD5", Username="DEMO", Key=key)[0])["Response"] == "Success"


def test_permissions_and_unknown_actions() -> None:
    dialogue = Dialogue(user="poor")
    assert dict(dialogue.ask("CoreStatus", ActionID="1")[0]) == {
        "Response": "Error",
        "ActionID": "1",
        "Message": "Permission denied",
    }
    assert dict(dialogue.ask("Bogus")[0])["Message"].startswith("Invalid/unknown command: Bogus. Use Action:")
    assert len(dialogue.ask("QueueStatus")) > 3


@pytest.mark.parametrize(
    ("mask", "state"),
    [
        ("on", "On"),
        ("all", "On"),
        ("call", "On"),
        ("system,call", "On"),
        ("1", "On"),
        ("bogus,call", "On"),
        ("off", "Off"),
        ("0", "Off"),
        ("bogus", "Off"),
        ("call|agent", "Off"),
        ("-1", "Off"),
    ],
)
def test_events_mask(mask: str, state: str) -> None:
    assert dict(Dialogue().ask("Events", EventMask=mask)[0])["Events"] == state


def test_events_go_to_permitted_sessions_with_a_matching_mask() -> None:
    pbx = Pbx(NOW)
    everything, calls, silent = Dialogue(pbx, events="on"), Dialogue(pbx, "poor", "on"), Dialogue(pbx)
    everything.take()
    answer = silent.ask("UserEvent", UserEvent="Hello", ActionID="7", Foo="bar")
    assert len(answer) == 1, "the sender has its events off"
    assert packets(everything.take()) == [
        [
            ("Event", "UserEvent"),
            ("Privilege", "user,all"),
            ("UserEvent", "Hello"),
            ("ActionID", "7"),
            ("Foo", "bar"),
        ]
    ]
    assert calls.take() == b""


def test_synchronous_originate_blocks_its_session_and_no_other() -> None:
    pbx = Pbx(NOW)
    slow, other = Dialogue(pbx), Dialogue(pbx)
    assert slow.ask("Originate", ActionID="1", Channel="Local/700@default", Application="Wait", Timeout="5000") == []
    assert slow.raw(PING) == b""
    assert b"Pong" in other.raw(PING)
    assert slow.later(4.9) == []
    assert [answer[:2] for answer in slow.later(0.2)] == [
        [("Response", "Error"), ("ActionID", "1")],
        [("Response", "Success"), ("ActionID", "9")],
    ]


def test_events_of_a_blocked_session_come_after_its_answer() -> None:
    dialogue = Dialogue(events="on")
    dialogue.ask("Originate", Channel="Local/700@default", Application="Wait", Timeout="1000")
    names = [packet[0] for packet in dialogue.later(2)]
    assert names[0] == ("Response", "Error")
    assert ("Event", "Newchannel") in names


def test_asynchronous_originate_sends_an_event() -> None:
    pbx = Pbx(NOW)
    listener, caller = Dialogue(pbx, events="on"), Dialogue(pbx)
    queued = caller.ask("Originate", ActionID="o1", Channel="Local/100@default", Application="Wait", Data="1", Async="true")
    assert dict(queued[0])["Message"] == "Originate successfully queued"
    caller.later(1)
    (response,) = named(packets(listener.take()), "OriginateResponse")
    assert (response["ActionID"], response["Response"], response["Reason"]) == ("o1", "Success", "4")
    assert caller.take() == b""


def test_wait_event_ends_with_an_event_or_its_timeout() -> None:
    pbx = Pbx(NOW)
    waiting, other = Dialogue(pbx, events="on"), Dialogue(pbx)
    waiting.take()
    assert waiting.ask("WaitEvent", ActionID="w", Timeout="5") == []
    other.ask("UserEvent", UserEvent="Now")
    assert [packet[0][1] for packet in packets(waiting.take())] == [
        "Success",
        "UserEvent",
        "WaitEventComplete",
    ]
    waiting.ask("WaitEvent", ActionID="w", Timeout="5")
    assert len(waiting.later(5)) == 2


def test_logoff_says_goodbye_and_reads_no_further() -> None:
    dialogue = Dialogue()
    raw = dialogue.raw(b"Action: Logoff\r\n\r\n" + PING)
    assert raw == b"Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n"
    assert dialogue.session.closed
