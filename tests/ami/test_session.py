"""A session: greeting, login, keep-alive, and its end at each stage."""

from __future__ import annotations

import hashlib

import pytest

from amid.ami.packet import Packet, ProtocolError, parse_headers
from amid.ami.session import Login, LoginRejected, Session, SessionTimeouts, new_action_id

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
TIMEOUTS = SessionTimeouts(login_s=10.0, silence_s=10.0, pong_s=5.0)


def session(auth: str = "md5", secret: str = "secret", events: str = "on", max_packet: int = 10_000) -> Session:
    new = Session(Login("amid", secret, auth, events), TIMEOUTS, max_packet)
    new.begin(100.0)
    return new


Action = dict[str, str]


def sent(session: Session) -> list[Action]:
    """The actions that the session wants sent."""
    blocks = [parse_headers(block) for block in session.data_to_send().split(b"\r\n\r\n") if block]
    return [{str(name): str(value) for name, value in block.items()} for block in blocks]


def answer(action: Action, rest: str = "", response: str = "Success") -> bytes:
    return f"Response: {response}\r\nActionID: {action['ActionID']}\r\n{rest}\r\n".encode()


def logged_in(now: float = 100.0) -> Session:
    made = session("plain")
    made.receive(GREETING, now)
    [login] = sent(made)
    made.receive(answer(login), now)
    assert made.up
    return made


# ── login ───────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_sent_before_the_greeting() -> None:
    made = session()
    assert made.receive(GREETING[:10], 100.0) == []
    assert made.data_to_send() == b"" and made.version == ""
    made.receive(GREETING[10:], 100.0)
    assert made.version == "11.0.0"
    assert made.data_to_send().startswith(b"Action: Challenge\r\nActionID: ")


def test_md5_login() -> None:
    """The key is the MD5 of challenge and secret (RFC 1321); this one was computed with md5sum."""
    made = session()
    made.receive(GREETING, 100.0)
    [challenge] = sent(made)
    assert (challenge["Action"], challenge["AuthType"]) == ("Challenge", "MD5")
    assert made.receive(answer(challenge, "Challenge: 123456789\r\n"), 100.1) == []
    [login] = sent(made)
    assert login["Key"] == "7ccde16e862dfe7681297713e9e9cadb"
    assert list(login) == ["Action", "ActionID", "Username", "AuthType", "Key", "Events"]
    assert (login["Action"], login["Username"], login["AuthType"], login["Events"]) == ("Login", "amid", "MD5", "on")
    assert not made.up
    made.receive(answer(login, "Message: Authentication accepted\r\n"), 100.2)
    assert made.up and sent(made) == []


def test_md5_takes_the_secret_as_utf_8() -> None:
    made = session(secret="geheim☎")
    made.receive(GREETING, 100.0)
    made.receive(answer(sent(made)[0], "Challenge: 1\r\n"), 100.0)
    assert sent(made)[0]["Key"] == hashlib.md5("1geheim☎".encode()).hexdigest()


@pytest.mark.parametrize("events", ["on", "off", "call,user"])
def test_plain_login(events: str) -> None:
    made = session("plain", events=events)
    made.receive(GREETING, 100.0)
    [login] = sent(made)
    assert list(login) == ["Action", "ActionID", "Username", "Secret", "Events"]
    assert (login["Secret"], login["Events"]) == ("secret", events)
    made.receive(answer(login), 100.0)
    assert made.up


def test_a_login_arrives_byte_by_byte() -> None:
    made = session()
    for byte in GREETING:
        made.receive(bytes([byte]), 100.0)
    for rest in ("Challenge: 42\r\n", ""):
        for byte in answer(sent(made)[0], rest):
            assert made.receive(bytes([byte]), 100.0) == []
    assert made.up


@pytest.mark.parametrize("auth", ["md5", "plain"])
@pytest.mark.parametrize("with_id", [True, False], ids=["with ActionID", "without"])
@pytest.mark.parametrize("response", ["Error", "error"])
def test_a_rejected_login_ends_the_session(auth: str, with_id: bool, response: str) -> None:
    made = session(auth)
    made.receive(GREETING, 100.0)
    [action] = sent(made)
    refusal = answer(action, "Message: Authentication failed\r\n", response)
    if not with_id:
        refusal = refusal.replace(f"ActionID: {action['ActionID']}\r\n".encode(), b"")
    with pytest.raises(LoginRejected, match="Authentication failed; check username, secret, permit"):
        made.receive(refusal, 100.0)
    assert not made.up


@pytest.mark.parametrize("secret", ["a\nb", "x" * 2000])
def test_a_secret_that_is_too_long_for_a_line_is_refused(secret: str) -> None:
    with pytest.raises(LoginRejected, match=r"Login cannot be sent: .*'Secret'") as caught:
        session("plain", secret).receive(GREETING, 100.0)
    assert secret not in str(caught.value)


def test_a_user_with_one_session_only_is_rejected_with_what_to_change() -> None:
    made = session()
    made.receive(GREETING, 100.0)
    with pytest.raises(LoginRejected, match=r"^Login Already In Use; remove allowmultiplelogin = no"):
        made.receive(answer(sent(made)[0], "Message: Login Already In Use\r\n", "Error"), 100.0)


def test_a_rejection_without_a_message_is_reported() -> None:
    made = session()
    made.receive(GREETING, 100.0)
    with pytest.raises(LoginRejected, match="no reason given"):
        made.receive(answer(sent(made)[0], "", "Error"), 100.0)


def test_a_challenge_response_without_challenge_fails() -> None:
    made = session()
    made.receive(GREETING, 100.0)
    with pytest.raises(ProtocolError, match="has no Challenge"):
        made.receive(answer(sent(made)[0]), 100.0)
    assert not made.up


STRANGERS = {
    "event": b"Event: FullyBooted\r\nStatus: Fully Booted\r\n\r\n",
    "answer to another": b"Response: Success\r\nActionID: other\r\n\r\n",
    "error to another": b"Response: Error\r\nActionID: other\r\n\r\n",
    "answer without an ActionID": b"Response: Success\r\n\r\n",
    "raw text": b"hello\r\n\r\n",
    "oversized": b"X: " + b"y" * 20_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_packets_during_login_are_passed_on_and_do_not_complete_it(stranger: bytes) -> None:
    made = session("plain")
    made.receive(GREETING, 100.0)
    [login] = sent(made)
    assert len(made.receive(stranger, 100.0)) == 1 and not made.up
    assert len(made.receive(answer(login) + stranger, 100.0)) == 1 and made.up


def test_an_event_with_the_logins_action_id_does_not_complete_it() -> None:
    made = session("plain")
    made.receive(GREETING, 100.0)
    [login] = sent(made)
    assert len(made.receive(f"Event: X\r\nActionID: {login['ActionID']}\r\n\r\n".encode(), 100.0)) == 1
    assert not made.up


def test_packets_after_the_login_response_in_the_same_read_are_passed_on() -> None:
    made = session("plain")
    made.receive(GREETING, 100.0)
    passed = made.receive(answer(sent(made)[0]) + b"Event: A\r\n\r\nEvent: B\r\n\r\n", 100.0)
    assert [p.event for p in passed if isinstance(p, Packet)] == ["A", "B"]


# ── time ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("stage", "what"), [(0, "no greeting"), (1, "no login"), (2, "no login")])
def test_a_login_times_out_after_ten_seconds(stage: int, what: str) -> None:
    made = session()
    if stage >= 1:
        made.receive(GREETING, 104.0)
    if stage == 2:
        made.receive(answer(sent(made)[0], "Challenge: 1\r\n"), 109.0)
    made.check(109.9)
    assert made.next_deadline() == 110.0
    with pytest.raises(ProtocolError, match=f"{what} within 10 s"):
        made.check(110.0)


def test_a_silent_session_is_pinged() -> None:
    made = logged_in(100.0)
    assert made.next_deadline() == 110.0
    made.keep_alive(109.9)
    assert sent(made) == [] and not made.pinging()
    made.keep_alive(110.0)
    [ping] = sent(made)
    assert ping["Action"] == "Ping" and made.pinging() and made.next_deadline() == 115.0
    made.keep_alive(112.0)
    assert sent(made) == []
    assert made.receive(answer(ping, "Ping: Pong\r\n"), 112.0) == []
    assert not made.pinging() and made.next_deadline() == 122.0
    made.check(121.0)


def test_a_pong_from_the_oldest_asterisk() -> None:
    made = logged_in()
    made.ping(100.0)
    assert made.receive(answer(sent(made)[0], response="Pong"), 100.0) == []
    assert not made.pinging()


def test_a_ping_without_a_pong_ends_the_session() -> None:
    made = logged_in()
    made.ping(110.0)
    made.check(114.9)
    with pytest.raises(ProtocolError, match="a Ping was not answered within 5 s"):
        made.check(115.0)


@pytest.mark.parametrize("data", [b"Event: A\r\n\r\n", b"Event: half a pack"], ids=["packet", "half a packet"])
def test_any_received_bytes_count_as_life(data: bytes) -> None:
    """A packet of 16 MB on a slow line is not silence."""
    made = logged_in(100.0)
    made.receive(data, 105.0)
    assert made.next_deadline() == 115.0
    made.ping(115.0)
    made.receive(data, 119.0)
    made.check(123.9)
    assert made.pinging() and made.next_deadline() == 124.0


@pytest.mark.parametrize("data", [b"\x00no packet", b"no packet\r\n\r\nand\n\n"], ids=["a line", "packets"])
def test_garbage_does_not_count_as_life(data: bytes) -> None:
    """Otherwise a session with a peer that is no longer Asterisk would be trusted while it sends."""
    made = logged_in(100.0)
    made.receive(data, 105.0)
    assert made.next_deadline() == 110.0


NOT_PONGS = {
    "another id": "Response: Success\r\nActionID: other\r\n\r\n",
    "an event with its id": "Event: X\r\nActionID: {}\r\n\r\n",
    "no id": "Response: Success\r\nPing: Pong\r\n\r\n",
}


@pytest.mark.parametrize("packet", NOT_PONGS.values(), ids=NOT_PONGS)
def test_other_packets_are_not_a_pong(packet: str) -> None:
    made = logged_in()
    made.ping(100.0)
    [ping] = sent(made)
    assert len(made.receive(packet.format(ping["ActionID"]).encode(), 100.0)) == 1
    assert made.pinging()
    made.receive(answer(ping), 100.0)
    assert len(made.receive(answer(ping), 100.0)) == 1, "a second answer is a stranger"


# ── the end ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_end_of_stream_ends_the_session(stage: int) -> None:
    made = session()
    if stage >= 1:
        made.receive(GREETING, 100.0)
    if stage >= 2:
        made.receive(answer(sent(made)[0], "Challenge: 1\r\n"), 100.0)
    if stage == 3:
        made.receive(answer(sent(made)[0]), 100.0)
    reason = ["closed before the greeting", "closed during login", "closed during login", "Asterisk closed the session"][stage]
    with pytest.raises(ProtocolError, match=reason):
        made.receive(b"", 101.0)


def test_a_session_logs_off() -> None:
    made = logged_in()
    made.log_off()
    assert made.ended and sent(made)[0]["Action"] == "Logoff"


def test_action_ids_are_unguessable_and_short_enough() -> None:
    ids = {new_action_id() for _ in range(1000)}
    assert len(ids) == 1000 and all(len(i) <= 64 and i.isascii() for i in ids)


# ── the Events mask ─────────────────────────────────────────────────────────────────────────────


def with_mask(mask: str, made_of_it: str) -> Session:
    made = session("plain", events=mask)
    made.receive(GREETING, 100.0)
    made.receive(answer(sent(made)[0]), 100.0)
    [events] = sent(made)
    assert (events["Action"], events["EventMask"]) == ("Events", mask)
    assert made.receive(answer(events, f"Events: {made_of_it}\r\n"), 100.0) == []
    return made


def test_the_event_mask_is_verified_after_login() -> None:
    assert with_mask("call,agent", "On").up


def test_an_event_mask_without_effect_is_reported() -> None:
    """Asterisk answers Success to an unknown mask and then sends no events."""
    with pytest.raises(LoginRejected, match="'cal' and sends no events"):
        with_mask("cal", "Off")
