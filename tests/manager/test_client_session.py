"""The session of one client: its answers, their order, and what is sent to Asterisk."""

from __future__ import annotations

import hashlib
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.manager import action_ids
from amid.manager.action_ids import Original
from amid.manager.client_session import ClientSession, Close, Send
from amid.manager.commands import Commands
from amid.manager.event_block import EventBlock
from amid.manager.failures import Failure
from amid.manager.forwarding import Forward, Refused
from amid.manager.login import LoginFailed
from amid.manager.manager import Limits, Manager
from amid.manager.request_parser import LINES_AT_ONCE
from amid.manager.responses import MISSING
from amid.manager.user import User
from amid.manager.user_entry import UserEntry
from amid.manager.users_file import read_users

LIST = (
    b"Response: Success\r\nActionID: x\r\n"
    b"Ping: Keepalive command.  (Priv: <none>)\r\n"
    b"ListCommands: List available manager commands.  (Priv: <none>)\r\n"
    b"Command: Execute Asterisk CLI Command.  (Priv: command,all)\r\n"
    b"Originate: Originate a call.  (Priv: originate,all)\r\n"
    b"UserEvent: Send an arbitrary event.  (Priv: user,all)\r\n"
    b"Status: List channel status.  (Priv: system,call,reporting,all)\r\n\r\n"
)
USERS = {
    "crm": UserEntry(secret="s3cret", read="all", write="all"),
    "wall": UserEntry(secret="s3cret", read="call,user", write="call", deny=["Status"]),
    "seller": UserEntry(secret="s3cret", read="all", write="all", allow=["Originate: *@sales", "Com*"], deny=["Command"]),
    "dialer": UserEntry(secret="s3cret", read="call", write="originate", allow=["Originate: *"]),
    "once": UserEntry(secret="s3cret", read="all", write="all", allowmultiplelogin=False),
    "far": UserEntry(secret="s3cret", read="all", write="all", access=[(False, "0.0.0.0/0")]),
    "filtered": UserEntry(secret="s3cret", read="all", write="all", eventfilters=[("!Event: Hangup", None)]),
}
CALL = b"Event: Hangup\r\nPrivilege: call,all\r\nChannel: PJSIP/1\r\n\r\n"
ECHO = b"Event: UserEvent\r\nPrivilege: user,all\r\nUserEvent: a\r\n\r\n"


class Client:
    """A session and its owner. forwards: the actions that were sent. failures, refusals: reasons of
    refused logins and actions."""

    def __init__(self, login: str = "", booted: bool = False, events: str = "on") -> None:
        ids = (f"amid-{number:032x}" for number in itertools.count(1))
        self.manager = Manager("pbx1", ["pbx1"], Limits(), lambda: next(ids))
        self.manager.set_users(User(name, entry) for name, entry in USERS.items())
        self.upstream = self.manager.upstreams["pbx1"]
        self.upstream.version, self.upstream.commands, self.upstream.booted = "11.0.0", Commands([LIST]), booted
        self.manager.new_challenge = lambda: b"123456789"
        self.now = 100.0
        self.session = ClientSession(self.manager, "127.0.0.1", self.now)
        self.forwards: list[Forward] = []
        self.failures: list[str] = []
        self.refusals: list[str] = []
        self.closed = False
        self.greeting = self.take()
        if login:
            self.say(f"Action: Login\r\nUsername: {login}\r\nSecret: s3cret\r\nEvents: {events}\r\n\r\n")

    def take(self) -> bytes:
        sent = b""
        for effect in self.session.take_effects():
            assert not self.closed
            match effect:
                case Send(data):
                    sent += data
                case Forward():
                    self.forwards.append(effect)
                case Refused(reason, _):
                    self.refusals.append(reason)
                case LoginFailed(_, reason):
                    self.failures.append(reason)
                case Close():
                    self.closed = True
        return sent

    def say(self, text: str | bytes, after: float = 0.0) -> bytes:
        self.now += after
        self.session.receive(text.encode() if isinstance(text, str) else text, self.now)
        return self.take()

    def ask(self, action: str, **fields: str) -> bytes:
        return self.say("".join(f"{name}: {value}\r\n" for name, value in {"Action": action, **fields}.items()) + "\r\n")

    def answer(self, number: int = -1, packets: bytes | None = None) -> bytes:
        forward = self.forwards[number]
        answer = packets or f"Response: Success\r\nActionID: {forward.wire_id}\r\nof: {forward.action}\r\n\r\n".encode()
        self.session.answer(forward.number, [answer], self.now)
        return self.take()

    def events(self, data: bytes) -> bytes:
        self.session.receive_events(EventBlock(data, data.count(b"\r\n\r\n"), self.upstream.ids), self.now)
        return self.take()

    def tick(self, after: float) -> bytes:
        self.now += after
        self.session.tick(self.now)
        return self.take()


def test_greeting_and_login() -> None:
    client = Client()
    assert client.greeting == b"Asterisk Call Manager/11.0.0\r\n"
    assert client.ask("Ping", ActionID="1") == b"Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n"
    assert client.ask("NoSuch") == b"Response: Error\r\nMessage: Permission denied\r\n\r\n"
    accepted = client.ask("login", username="CRM", secret="s3cret", ActionID="2")
    assert accepted == b"Response: Success\r\nActionID: 2\r\nMessage: Authentication accepted\r\n\r\n"
    assert client.ask("Login", ActionID="") == b"Response: Success\r\nMessage: Already authenticated\r\n\r\n"
    assert client.session.user is not None and client.session.user.name == "crm"


def test_md5() -> None:
    client = Client()
    assert client.ask("Challenge") == b"Response: Error\r\nMessage: Must specify AuthType\r\n\r\n"
    challenge = client.ask("Challenge", AuthType="md5", ActionID="c")
    assert challenge == b"Response: Success\r\nActionID: c\r\nChallenge: 123456789\r\n\r\n"
    key = hashlib.md5(b"123456789s3cret").hexdigest()
    assert b"accepted" in client.ask("Login", AuthType="MD5", Username="crm", Key=key)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Username": "crm", "Secret": "wrong"}, "wrong secret"),
        ({"Username": "crm"}, "wrong secret"),
        ({"Username": "nobody", "Secret": "s3cret"}, "there is no such user"),
        ({"Secret": "s3cret"}, "there is no such user"),
        ({"Username": "far", "Secret": "s3cret"}, "permit and deny do not allow the address"),
        ({"Username": "crm", "AuthType": "MD5", "Key": hashlib.md5(b"s3cret").hexdigest()}, "wrong key"),
        ({"Username": "crm", "AuthType": "MD5", "Secret": "s3cret"}, "wrong key"),
    ],
)
def test_a_wrong_login_is_answered_after_a_second_and_ends(fields: dict[str, str], reason: str) -> None:
    client = Client()
    assert client.ask("Login", ActionID="1", **fields) == b"" and client.failures == [reason]
    assert client.ask("Login", Username="crm", Secret="s3cret") == b"" and client.tick(0.9) == b"" and not client.closed
    assert client.tick(0.1) == b"Response: Error\r\nActionID: 1\r\nMessage: Authentication failed\r\n\r\n" and client.closed


def test_wrong_secrets_are_delayed_and_a_right_one_among_many_is_refused() -> None:
    client, deadlines = Client(), []
    for _ in range(12):
        session = ClientSession(client.manager, "127.0.0.1", 100.0)
        session.receive(b"Action: Login\r\nUsername: crm\r\nSecret: guess\r\n\r\n", 100.0)
        deadlines.append(session.next_deadline())
    assert deadlines == [101.0, 103.0, 107.0, *[112.0] * 9]
    assert client.ask("Login", Username="crm", Secret="s3cret") == b"", "it may be another guess"
    assert client.session.next_deadline() == 112.0, "when the guesses are answered: the time does not tell which was right"
    assert Client().ask("Login", Username="wall", Secret="s3cret") != b""


def test_a_right_secret_is_accepted_soon_after_many_wrong_ones() -> None:
    """A client that tried all the time with an old secret must be able to log in after it was corrected."""
    client = Client()
    for _ in range(100):
        ClientSession(client.manager, "127.0.0.1", 100.0).receive(b"Action: Login\r\nUsername: crm\r\nSecret: old\r\n\r\n", 100.0)
    client.now = 103.0
    assert b"accepted" in client.ask("Login", Username="crm", Secret="s3cret")


def test_a_second_login_without_allowmultiplelogin() -> None:
    client = Client()
    client.manager.logged_in["once"] = 1
    assert client.ask("Login", Username="once", Secret="s3cret") == b""
    assert client.tick(1.0) == b"Response: Error\r\nMessage: Login Already In Use\r\n\r\n" and client.closed


def test_the_login_timeout() -> None:
    client = Client()
    assert client.session.next_deadline() == 130.0
    assert client.say("Action: Pi", after=29.9) == b"" and client.tick(0.05) == b"" and not client.closed
    assert client.tick(0.1) == b"" and client.closed
    assert Client("crm").session.next_deadline() == float("inf")


@pytest.mark.parametrize(
    ("booted", "events", "sent"), [(True, "on", True), (True, "call", False), (False, "on", False), (True, "off", False)]
)
def test_fully_booted(booted: bool, events: str, sent: bool) -> None:
    client = Client(booted=booted)
    client.upstream.booted_at, client.upstream.reloaded_at = 10.0, 60.5
    login = client.ask("Login", Username="crm", Secret="s3cret", Events=events)
    event = b"Event: FullyBooted\r\nPrivilege: system,all\r\nUptime: 90\r\nLastReload: 39\r\nStatus: Fully Booted\r\n\r\n"
    assert login == b"Response: Success\r\nMessage: Authentication accepted\r\n\r\n" + (event if sent else b"")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\r\n", b"Response: Error\r\nMessage: Missing action in request\r\n\r\n"),
        (b"ActionID: 7\n\n", b"Response: Error\r\nActionID: 7\r\nMessage: Missing action in request\r\n\r\n"),
        (
            b"ActionID: 7\r\nX: " + b"x" * 1021 + b"\r\n\r\n",
            b"Response: Error\r\nActionID: 7\r\nMessage: Failed to parse message: line too long\r\n\r\n",
        ),
        (b"H: v\r\n" * 129 + b"\r\n", b"Response: Error\r\nMessage: Too many lines in message or allocation failure\r\n\r\n"),
        (
            b"Action: Ping \r\n\r\n",
            b"Response: Error\r\nMessage: Invalid/unknown command: Ping ."
            b" Use Action: ListCommands to show available commands.\r\n\r\n",
        ),
    ],
)
def test_malformed_requests(data: bytes, answer: bytes) -> None:
    assert Client("crm").say(data) == answer


def test_a_long_action_name_is_truncated() -> None:
    answer = Client("crm").ask("x" * 600)
    assert answer == b"Response: Error\r\nMessage: Invalid/unknown command: " + b"x" * 486 + b"\r\n\r\n"


def test_logoff() -> None:
    client = Client("crm")
    goodbye = client.say("Action: Logoff\r\nActionID: 1\r\n\r\nAction: Events\r\n\r\n")
    assert goodbye == b"Response: Goodbye\r\nActionID: 1\r\nMessage: Thanks for all the fish.\r\n\r\n" and client.closed


# ── actions ──


def test_an_action_is_forwarded_unchanged_and_its_action_id_is_restored() -> None:
    client = Client("crm")
    assert client.say("action: Command\r\nB: 1\r\nActionID:  own \r\nno colon\r\nb: 2  \r\n\r\n") == b""
    (forward,) = client.forwards
    assert (forward.action, forward.lines) == ("Command", [b"B: 1", b"ActionID:  own ", b"no colon", b"b: 2  "])
    assert client.answer() == b"Response: Success\r\nActionID: own \r\nof: Command\r\n\r\n"


def test_an_answer_without_action_id() -> None:
    client = Client("crm")
    client.ask("Ping")
    assert client.answer() == b"Response: Success\r\nof: Ping\r\n\r\n"


def test_only_actions_with_an_action_id_of_their_own_are_overtaken() -> None:
    """And only slow ones."""
    client = Client("crm")
    for action_id in ("1", "2", "", "3", "4", "4", "5"):
        client.ask("Command", ActionID=action_id)
    assert len(client.forwards) == 1 and client.session.next_deadline() == client.now + 0.2
    assert client.tick(0.2) == b"" and len(client.forwards) == 2
    assert client.tick(0.2) == b"" and client.answer(1) and len(client.forwards) == 2
    assert client.answer(0) and len(client.forwards) == 3
    assert client.answer(2) and len(client.forwards) == 4 and client.tick(0.2) == b"" and len(client.forwards) == 5
    assert client.tick(0.2) == b"" and len(client.forwards) == 5, "the second of two with the same ActionID waits"
    assert client.answer(3) and len(client.forwards) == 5
    assert client.answer(4) and len(client.forwards) == 6


def test_actions_that_are_sent_at_once_have_asterisks_order() -> None:
    """On different lanes, the first of two DBPut often came last."""
    client = Client("crm")
    actions = ("UserEvent", "UserEvent", "Events", "Nope", "Challenge", "Status")
    sent = "".join(f"Action: {action}\r\nActionID: {number}\r\n\r\n" for number, action in enumerate(actions))
    assert client.say(sent) == b"" and len(client.forwards) == 1
    assert re.findall(rb"ActionID: (\w)", client.answer()) == [b"0"] and len(client.forwards) == 2
    assert re.findall(rb"ActionID: (\w)", client.answer()) == [b"1", b"2", b"3", b"4"] and len(client.forwards) == 3


@pytest.mark.parametrize("login", ["", "crm"])
@pytest.mark.parametrize("request_of", [b"\r\n", b"a\n" * 100 + b"\n"], ids=["blank lines", "many lines"])
def test_a_pass_answers_a_limited_number_of_requests(login: str, request_of: bytes) -> None:
    """A client that sends nothing but line ends would otherwise stop the loop for seconds."""
    client = Client(login)
    wanted = 50_000 // len(request_of)
    got = [client.say(request_of * wanted).count(MISSING)]
    while client.session.next_deadline() <= client.now:
        got.append(client.tick(0.0).count(MISSING))
    assert sum(got) == wanted and max(got) <= LINES_AT_ONCE and client.session.buffered == 0


def test_the_last_requests_are_answered_before_the_end() -> None:
    client = Client("crm")
    received = client.say(b"\r\n" * 2 * LINES_AT_ONCE)
    client.session.receive_end(client.now)
    while not client.closed:
        assert client.session.next_deadline() <= client.now
        received += client.take() + client.tick(0.0)
    assert received.count(MISSING) == 2 * LINES_AT_ONCE


def test_logoff_waits_for_answers() -> None:
    client = Client("crm")
    client.ask("Ping", ActionID="1")
    assert client.ask("Logoff", ActionID="2") == b""
    assert client.answer().endswith(b"Thanks for all the fish.\r\n\r\n") and client.closed


def test_rights() -> None:
    client = Client("wall")
    denied = b"Response: Error\r\nActionID: 1\r\nMessage: Permission denied\r\n\r\n"
    for action in ("Command", "Status", "Filter"):
        assert client.ask(action, ActionID="1") == denied
    assert [reason.split()[0] for reason in client.refusals] == ["Command", "the", "Filter"]
    assert client.ask("Ping", ActionID="2") == b"" and len(client.forwards) == 1


@pytest.mark.parametrize(
    ("user", "lines"), [("crm", "`allow = *` and `allow = Originate: system`"), ("seller", "`allow = Originate: system`")]
)
def test_a_refused_target_is_logged_with_the_lines_that_allow_it(user: str, lines: str) -> None:
    client = Client(user)
    client.ask("Originate", Channel="PJSIP/1", Application="System", Data="ls")
    assert client.refusals[0].endswith(f"(to allow it: {lines} in [{user}] of users_file)")
    added = re.findall("`(allow = .*?)`", client.refusals[0])
    assert all(not found for found in read_users("\n".join([f"[{user}]", "secret = s", *added]))[1])


def test_an_action_that_asterisk_does_not_offer_to_amids_user_is_unknown_and_logged() -> None:
    client = Client("crm")
    assert b"Message: Invalid/unknown command: Redirect. Use " in client.ask("Redirect", ActionID="1") and not client.forwards
    reason = "it has no such action, or `write` of that user in manager.conf lacks a class"
    assert client.refusals == [f"Asterisk does not offer Redirect to amid's own manager user: {reason}"]


def test_list_commands_by_right() -> None:
    client = Client("wall")
    client.ask("ListCommands", ActionID="x")
    shown = client.answer(packets=LIST)
    assert b"Ping:" in shown and b"Command: " not in shown and b"Originate" not in shown
    assert shown.startswith(b"Response: Success\r\nActionID: x\r\n") and shown.endswith(b")\r\n\r\n")


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("wall", ["Ping", "ListCommands"]),
        ("seller", ["Ping", "ListCommands", "Originate"]),
        ("crm", ["Ping", "ListCommands", "Command", "Originate", "UserEvent", "Status"]),
    ],
)
def test_list_commands_by_class_and_rule(user: str, shown: list[str]) -> None:
    client = Client(user)
    client.ask("ListCommands", ActionID="x")
    assert re.findall(r"(\w+): .*Priv", client.answer(packets=LIST).decode()) == shown


def test_an_argument_that_requires_the_class_system() -> None:
    client = Client("dialer")
    fields = {"Channel": "PJSIP/1", "Application": "System", "Data": "ls", "ActionID": "1"}
    forbidden = b"Response: Error\r\nActionID: 1\r\nMessage: Originate Access Forbidden: app or data blacklisted\r\n\r\n"
    assert client.ask("Originate", **fields) == forbidden and not client.forwards
    reason = "Originate Access Forbidden: app or data blacklisted; `write` in [dialer] of users_file does not have the class system"
    assert client.refusals == [reason]
    assert client.ask("Originate", **{**fields, "Application": "Playback"}) == b"" and client.forwards


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (Failure("not_connected"), b"Asterisk is not connected"),
        (Failure("unreachable"), b"Asterisk is not connected"),
        (Failure("denied", "by [callers.local]"), b"Permission denied"),
        (Failure("invalid_params", "two\r\nlines"), b"two lines"),
        (Failure("timeout"), b"Asterisk was not ready for the action in time; it was not sent"),
    ],
)
def test_failures(failure: Failure, message: bytes) -> None:
    client = Client("crm")
    client.ask("Command", ActionID="1")
    client.session.fail(client.forwards[-1].number, failure, client.now, 0.0)
    assert client.take() == b"Response: Error\r\nActionID: 1\r\nMessage: " + message + b"\r\n\r\n"
    assert client.refusals == [failure.message] * (failure.kind == "denied")


def test_a_ping_while_asterisk_is_disconnected() -> None:
    client = Client("crm")
    client.ask("Ping", ActionID="1")
    client.session.fail(client.forwards[-1].number, Failure("not_connected"), client.now, 1700000000.25)
    assert client.take() == b"Response: Success\r\nActionID: 1\r\nPing: Pong\r\nTimestamp: 1700000000.250000\r\n\r\n"


def test_an_error_of_asterisk_is_unchanged() -> None:
    client = Client("crm")
    client.ask("Command", ActionID="1")
    packets = [b"Response: Error\r\nActionID: %b\r\nMessage: no\r\n\r\n" % client.forwards[0].wire_id.encode()]
    client.session.fail(client.forwards[-1].number, Failure("action_failed", "no", True, packets), client.now, 0.0)
    assert client.take() == b"Response: Error\r\nActionID: 1\r\nMessage: no\r\n\r\n"


def test_too_many_open_actions_wait() -> None:
    client = Client("crm")
    client.say("".join(f"Action: Ping\r\nActionID: {number}\r\n\r\n" for number in range(150)))
    for _ in range(150):
        client.tick(0.2)
    assert len(client.forwards) == 100 and client.session.buffered > 0
    client.answer(0)
    assert len(client.forwards) == 101


def test_no_action_begins_for_a_client_that_does_not_read() -> None:
    client = Client("crm")
    client.session.pause()
    client.ask("Ping", ActionID="1")
    assert not client.forwards
    client.session.resume(client.now)
    client.take()
    assert client.forwards


def test_128_lines_leave_no_room_for_amids_action_id() -> None:
    client = Client("crm")
    lines = "H: v\r\n" * 126
    assert client.say(f"Action: Ping\r\n{lines}ActionID: 1\r\n\r\n") == b"" and len(client.forwards) == 1
    client.answer()
    assert b"Too many lines" in client.say(f"Action: Ping\r\n{lines}H: v\r\n\r\n")


# ── events ──


@pytest.mark.parametrize(
    ("mask", "answer", "received"),
    [
        ("on", b"On", CALL + ECHO),
        ("off", b"Off", b""),
        ("call", b"On", CALL),
        ("user,call", b"On", CALL + ECHO),
        ("2", b"On", CALL),
        ("cdr", b"On", b""),
        ("none", b"Off", b""),
    ],
)
def test_masks(mask: str, answer: bytes, received: bytes) -> None:
    client = Client("crm", events="off")
    assert client.events(CALL) == b""
    assert (
        client.ask("Events", EventMask=mask, ActionID="1") == b"Response: Success\r\nActionID: 1\r\nEvents: " + answer + b"\r\n\r\n"
    )
    assert client.events(CALL + ECHO) == received


def test_an_invalid_mask() -> None:
    client = Client("crm")
    assert client.ask("Events") == b"Response: Error\r\nMessage: Invalid event mask\r\n\r\n"
    assert client.events(CALL) == CALL


def test_a_long_action_id_is_truncated_as_by_asterisk() -> None:
    line = b"ActionID: " + b"i" * 300
    answer = Client("crm").say(b"Action: Events\r\nEventMask: on\r\n" + line + b"\r\n\r\n")
    assert answer == b"Response: Success\r\n" + line[:255] + b"Events: On\r\n\r\n"


def test_the_mask_is_limited_to_read() -> None:
    system = b"Event: Shutdown\r\nPrivilege: system,all\r\n\r\n"
    both = b"Event: AgentComplete\r\nPrivilege: agent,call,all\r\n\r\n"
    assert Client("wall").events(system + CALL + both) == CALL
    assert Client("crm").events(system + both) == system + both


def test_amids_own_events_are_left_out() -> None:
    client = Client("crm")
    assert client.events(b"Event: amid:booted\r\n\r\n") == b""
    assert client.events(CALL) == CALL


def test_filters() -> None:
    client = Client("filtered")
    assert client.events(CALL + ECHO) == ECHO
    assert client.ask("Filter", Operation="add", Filter="UserEvent: b") == b"Response: Success\r\nMessage: Success\r\n\r\n"
    assert client.events(CALL + ECHO + ECHO.replace(b": a", b": b")) == ECHO.replace(b": a", b": b")
    assert client.ask("Filter", Operation="del") == b"Response: Error\r\nMessage: Unknown operation\r\n\r\n"
    assert b"did not compile" in client.ask("Filter", Operation="Add", Filter="[")


def test_an_older_asterisk_accepts_an_empty_filter_and_ignores_criteria() -> None:
    client = Client("crm")
    client.upstream.release = (16, 28)
    assert b"Success" in client.ask("Filter", Operation="Add", Filter="", MatchCriteria="name(Hangup)")
    assert client.events(CALL) == CALL
    assert b"Success" in client.ask("Filter", Operation="Add", Filter="!") and client.events(CALL) == b""


def test_events_wait_for_the_answer_of_an_open_action() -> None:
    client = Client("crm")
    client.ask("Command", ActionID="1")
    assert client.tick(0.15) == client.events(CALL) == b""
    client.ask("Command", ActionID="2")
    assert client.tick(0.05) == client.events(ECHO) == b"" and len(client.forwards) == 2
    answer = client.answer(0)
    assert answer.startswith(b"Response") and answer.endswith(CALL), "the events do not wait for a later action"
    assert client.tick(0.1) == ECHO
    assert client.answer(1).startswith(b"Response")


def test_an_event_with_the_action_id_of_an_open_action_waits_longer() -> None:
    """A program would take it for the answer."""
    client = Client("crm")
    client.ask("UserEvent", ActionID="1")
    echo = ECHO.removesuffix(b"\r\n") + f"ActionID: {client.forwards[0].wire_id}\r\n\r\n".encode()
    assert client.events(echo) == b"" and client.events(CALL) == b"" and client.tick(0.1) == b"" and client.tick(0.2) == b""
    assert client.session.next_deadline() == pytest.approx(102.0)
    assert client.answer().endswith(b"ActionID: 1\r\n\r\n" + CALL)
    client.ask("UserEvent", ActionID="2")
    client.events(echo.replace(client.forwards[0].wire_id.encode(), client.forwards[1].wire_id.encode()))
    assert client.tick(0.1) == b"" and client.tick(2.0).endswith(b"ActionID: 2\r\n\r\n")


@pytest.mark.parametrize("by_a_client", [True, False], ids=["another client of the listener", "another client of Asterisk"])
def test_an_event_of_another_program_with_the_action_id_of_an_open_action_waits_too(by_a_client: bool) -> None:
    """Many programs number their actions from 1."""
    client = Client("crm")
    client.ask("Originate", ActionID="1", Channel="PJSIP/100", Context="calls", Exten="1", Priority="1")
    client.upstream.ids.add("amid-0f", Original(b"1", b"ActionID: 1"))
    event = b"Event: OriginateResponse\r\nPrivilege: call,all\r\nActionID: %b\r\nResponse: Success\r\n\r\n"
    assert client.events(event % (b"amid-0f" if by_a_client else b"1")) == b"" and client.tick(0.2) == b""
    assert client.answer().endswith(event % b"1")


def test_events_of_one_read_wait_for_each_action_whose_action_id_they_have() -> None:
    client = Client("crm")
    for action_id in ("1", "2"):
        client.ask("UserEvent", ActionID=action_id)
    event = ECHO.removesuffix(b"\r\n") + b"ActionID: %b\r\n\r\n"
    events = event % b"1" + event % b"2\r\nActionID: 3"
    assert client.events(events) == b"" and client.tick(0.3) == b""
    assert events not in client.answer(1), "the first action has no answer yet"
    assert client.answer(0).endswith(events)
    client.ask("UserEvent", ActionID="3")
    assert client.events(events) == b"" and client.tick(0.3) == b"", "each of several ActionIDs counts"


def test_many_held_bytes_are_sent_before_the_answer() -> None:
    client = Client("crm")
    client.manager.limits.hold_bytes = 2 * len(CALL)
    client.ask("Command", ActionID="1")
    assert client.events(CALL) == client.events(CALL) == client.events(CALL) == b""
    assert client.session.next_deadline() == client.now
    assert client.tick(0.0) == CALL and client.session.held_bytes == 2 * len(CALL)


@pytest.mark.parametrize(("action", "fields"), [("Events", {"EventMask": "off"}), ("Filter", {"Operation": "Add", "Filter": "!."})])
def test_no_held_event_comes_after_the_answer_that_turns_it_off(action: str, fields: dict[str, str]) -> None:
    client = Client("crm")
    client.ask("Command", ActionID="1")
    client.tick(0.5)
    assert client.events(CALL) == b""
    changed = client.ask(action, **fields, ActionID="2")
    assert changed.startswith(CALL + b"Response: Success\r\n")
    assert client.tick(5.0) == b""


def test_the_action_ids_of_open_actions_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other clients' quick actions may outnumber any limit meanwhile."""
    monkeypatch.setattr(action_ids, "MAX_KEPT", 3)
    client = Client("crm")
    client.ask("Command", ActionID="slow")
    client.tick(0.2)
    for number in range(5):
        client.ask("Command", ActionID=str(number))
        client.answer()
    assert b"\r\nActionID: slow\r\n" in client.answer(0)
    assert len(client.upstream.ids) == 3
    client.upstream.ids.drop_expired(client.now + 60)
    assert not client.upstream.ids


def test_the_echo_of_a_user_event_has_the_original_action_id_for_all_clients() -> None:
    client = Client("crm")
    client.say("Action: UserEvent\r\nUserEvent: a\r\nactionid:  one \r\nX: 1\r\n\r\n")
    wire = f"ActionID: {client.forwards[0].wire_id}\r\n".encode()
    echo = ECHO.removesuffix(b"\r\n") + wire + b"X: 1\r\n\r\n"
    shown = ECHO.removesuffix(b"\r\n") + b"actionid:  one \r\nX: 1\r\n\r\n"
    assert client.events(echo) == b"" and client.answer().endswith(shown)
    client.ask("UserEvent")
    wire = f"ActionID: {client.forwards[1].wire_id}\r\n".encode()
    assert client.answer() and client.events(ECHO.removesuffix(b"\r\n") + wire + b"\r\n") == ECHO
    stranger = ECHO.removesuffix(b"\r\n") + b"ActionID: amid-ffff\r\n\r\n"
    assert client.events(stranger) == stranger


def test_an_action_id_is_kept_for_originate_response() -> None:
    client = Client("crm")
    client.ask("Originate", ActionID="call", Timeout="20000", Channel="PJSIP/100", Context="calls", Exten="1", Priority="1")
    (forward,) = client.forwards
    assert (forward.timeout_s, forward.keep_s) == (320.0, 80.0)
    client.answer()
    event = b"Event: OriginateResponse\r\nPrivilege: call,all\r\nActionID: %b\r\nResponse: Failure\r\n\r\n"
    client.upstream.ids.drop_expired(client.now + 79)
    assert client.events(event % forward.wire_id.encode()) == event % b"call"
    client.upstream.ids.drop_expired(client.now + 81)
    assert len(client.upstream.ids) == 0


def test_action_ids_of_quick_actions_are_not_kept_as_long_as_those_of_an_originate() -> None:
    client = Client("crm")
    client.ask("Originate", ActionID="call", Channel="PJSIP/100", Context="calls", Exten="1", Priority="1")
    client.answer()
    for _ in range(1000):
        client.ask("Ping")
        client.answer()
    assert len(client.upstream.ids) == 1001
    client.upstream.ids.drop_expired(client.now + 11)
    assert len(client.upstream.ids) == 1


# ── WaitEvent ──


def test_wait_event() -> None:
    client = Client("crm", events="off")
    assert client.ask("WaitEvent", Timeout="5", ActionID="1") == b"" and client.session.next_deadline() == 105.0
    done = b"Response: Success\r\nActionID: 1\r\nMessage: Waiting for Event completed.\r\n\r\n"
    complete = b"Event: WaitEventComplete\r\nActionID: 1\r\n\r\n"
    assert client.events(CALL) == done + complete, "any event ends it; the mask decides which are sent"
    client.ask("Events", EventMask="call")
    client.ask("WaitEvent", Timeout="5", ActionID="1")
    assert client.events(ECHO + CALL) == done + CALL + complete
    client.ask("WaitEvent", Timeout="5", ActionID="1")
    assert client.tick(5.0) == done + complete
    client.ask("WaitEvent", ActionID="1")
    assert client.session.next_deadline() == float("inf") and client.say("Action: Ping\r\n\r\n") == done + complete
    assert len(client.forwards) == 1
    client.answer()
    assert client.ask("WaitEvent", Timeout="0").endswith(b"Event: WaitEventComplete\r\n\r\n")


@pytest.mark.parametrize(("text", "seconds"), [("0x10", 16), ("010", 8), (" 7s", 7), ("-5", float("inf")), ("soon", float("inf"))])
def test_the_timeout_of_wait_event(text: str, seconds: float) -> None:
    client = Client("crm")
    client.ask("WaitEvent", Timeout=text)
    assert client.session.next_deadline() == client.now + seconds


def test_a_changed_user() -> None:
    client = Client("crm")
    client.session.change_user(User("crm", UserEntry(secret="s3cret", read="call", write="call")))
    assert client.events(CALL + ECHO) == CALL
    assert b"Permission denied" in client.ask("Command")


def test_changed_filters_of_a_user_replace_the_old_ones_and_not_those_of_the_client() -> None:
    client = Client("filtered")
    client.ask("Filter", Operation="Add", Filter="!UserEvent: b")
    client.session.change_user(
        User("filtered", UserEntry(secret="s", read="all", write="all", eventfilters=[("!UserEvent: a", None)]))
    )
    other = ECHO.replace(b": a", b": c")
    assert client.events(CALL + ECHO + ECHO.replace(b": a", b": b") + other) == CALL + other


@given(st.lists(st.sampled_from(["", "1", "2", "3"]), max_size=12), st.randoms(use_true_random=False))
def test_every_request_has_one_answer_and_those_without_an_action_id_keep_their_order(ids: list[str], random: object) -> None:
    """Answers arrive in any order that lanes may cause; `n` is the position of a request."""
    client = Client("crm")
    sent = "".join(f"Action: Command\r\nn: {n}\r\nActionID: {action_id}\r\n\r\n" for n, action_id in enumerate(ids))
    out = client.say(sent)
    answered = 0
    open_ones = list(client.forwards)
    while open_ones:
        forward = open_ones.pop(random.randrange(len(open_ones)))  # type: ignore[attr-defined]
        answered += 1
        packet = b"Response: Success\r\nActionID: %b\r\n%b\r\n\r\n" % (forward.wire_id.encode(), forward.lines[0])
        known = len(client.forwards)
        client.session.answer(forward.number, [packet], client.now)
        out += client.take()
        open_ones += client.forwards[known:]
    places = [int(line[3:]) for line in out.split(b"\r\n") if line.startswith(b"n: ")]
    assert sorted(places) == list(range(len(ids))) and answered == len(ids)
    for index, place in enumerate(places):
        if not ids[place]:
            assert set(places[:index]) == set(range(place)), "all earlier ones, and no later one"
    assert all(b"amid-" not in line for line in out.split(b"\r\n"))
