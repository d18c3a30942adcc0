"""The behaviour of real Asterisks on which amid is built, checked on each version without amid.

A test that fails after an upgrade of Asterisk shows which assumption of amid is no longer true.
"""

from __future__ import annotations

import hashlib
import time

import pytest

from amid.ami.targets import targets_of
from tests.asterisk.raw import Raw, error, request
from tests.asterisk.server import Asterisk

ONLY_NEW = {
    "CoreShowChannelMap",
    "PJSIPShowMaintenance",
    "PJSIPHangup",
    "VoicemailBoxSummary",
    "VoicemailUserStatus",
    "VoicemailUsersList",
}  # Debian keeps 16's voicemail in a package of its own
LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "Agents": ("AgentsComplete", {}),
    "BridgeInfo": ("BridgeInfoComplete", {"BridgeUniqueid": "<bridge>"}),
    "BridgeList": ("BridgeListComplete", {}),
    "BridgeTechnologyList": ("BridgeTechnologyListComplete", {}),
    "ConfbridgeList": ("ConfbridgeListComplete", {"Conference": "100"}),
    "ConfbridgeListRooms": ("ConfbridgeListRoomsComplete", {}),
    "CoreShowChannelMap": ("CoreShowChannelMapComplete", {"Channel": "<channel>"}),
    "CoreShowChannels": ("CoreShowChannelsComplete", {}),
    "DBGet": ("DBGetComplete", {"Family": "facts", "Key": "one"}),
    "DBGetTree": ("DBGetTreeComplete", {"Family": "facts"}),
    "DeviceStateList": ("DeviceStateListComplete", {}),
    "ExtensionStateList": ("ExtensionStateListComplete", {}),
    "FAXSessions": ("FAXSessionsComplete", {}),
    "Hangup": ("ChannelsHungupListComplete", {"Channel": "/^none/"}),
    "PJSIPHangup": ("ChannelsHungupListComplete", {"Channel": "/^none/"}),
    "PJSIPShowAors": ("AorListComplete", {}),
    "PJSIPShowEndpoint": ("EndpointDetailComplete", {"Endpoint": "sipp"}),
    "PJSIPShowEndpoints": ("EndpointListComplete", {}),
    "PJSIPShowMaintenance": ("PJSIPMaintenanceStatusComplete", {}),
    "PJSIPShowRegistrationInboundContactStatuses": ("ContactStatusDetailComplete", {}),
    "PJSIPShowRegistrationsInbound": ("InboundRegistrationDetailComplete", {}),
    "PJSIPShowRegistrationsOutbound": ("OutboundRegistrationDetailComplete", {}),
    "PJSIPShowSubscriptionsInbound": ("InboundSubscriptionDetailComplete", {}),
    "PJSIPShowSubscriptionsOutbound": ("OutboundSubscriptionDetailComplete", {}),
    "ParkedCalls": ("ParkedCallsComplete", {}),
    "Parkinglots": ("ParkinglotsComplete", {}),
    "PresenceStateList": ("PresenceStateListComplete", {}),
    "QueueStatus": ("QueueStatusComplete", {}),
    "QueueSummary": ("QueueSummaryComplete", {}),
    "ShowDialPlan": ("ShowDialPlanComplete", {"Context": "calls"}),
    "Status": ("StatusComplete", {}),
    "VoicemailBoxSummary": ("VoicemailBoxDetailComplete", {"Context": "default", "Mailbox": "1000"}),
    "VoicemailUserStatus": ("VoicemailUserDetailComplete", {"Context": "default", "Mailbox": "1000"}),
    "VoicemailUsersList": ("VoicemailUserEntryComplete", {}),
}


# --- Greeting and login ---


def test_the_greeting_is_one_line(asterisk: Asterisk) -> None:
    with Raw(asterisk, login=False) as raw:
        assert (
            raw.greeting == {"22": b"Asterisk Call Manager/11.0.0\r\n", "16": b"Asterisk Call Manager/5.0.4\r\n"}[asterisk.version]
        )


def test_an_action_before_login_is_denied_but_the_session_stays_open(asterisk: Asterisk) -> None:
    with Raw(asterisk, login=False) as raw:
        assert raw.answer("Ping") == error("Permission denied", "fact")
        assert raw.answer("Challenge", AuthType="MD5")["Challenge"]


def test_login_by_challenge(asterisk: Asterisk) -> None:
    with Raw(asterisk, login=False) as raw:
        raw.send(request("Challenge", "c", AuthType="MD5"))
        key = hashlib.md5(f"{raw.packet()['Challenge']}{asterisk.secret}".encode()).hexdigest()
        raw.send(request("Login", "l", AuthType="MD5", Username=asterisk.username, Key=key, Events="off"))
        assert raw.packet().message == "Authentication accepted"
        assert raw.answer("Login", Username="x", Secret="y").message == "Already authenticated"


def test_a_failed_login_is_answered_after_a_second_and_closed(asterisk: Asterisk) -> None:
    with Raw(asterisk, login=False) as raw:
        began = time.monotonic()
        raw.send(request("Login", "l", Username=asterisk.username, Secret="wrong"))
        assert raw.packet() == error("Authentication failed", "l")
        assert time.monotonic() - began >= 0.99
        assert raw.is_closed()


def test_logoff_says_goodbye_and_closes(session: Raw) -> None:
    session.send(request("Logoff", "bye"))
    assert session.packet()["Response"] == "Goodbye"
    assert session.is_closed()


def test_a_limited_user_is_limited(asterisk: Asterisk) -> None:
    with Raw(asterisk, "limited") as raw:
        assert raw.answer("Command", Command="core show version") == error("Permission denied", "fact")
        assert raw.answer("CoreShowChannels") == error("Permission denied", "fact")
        assert raw.answer("Originate", Channel="Local/short@calls") == error("Permission denied", "fact")
        assert raw.ask("Status")[-1]["Event"] == "StatusComplete"


# --- What a request may look like ---


@pytest.mark.parametrize("end, longest", [(b"\r\n", 1022), (b"\n", 1023)], ids=["CRLF", "LF"])
def test_the_longest_line_is_accepted(session: Raw, end: bytes, longest: int) -> None:
    def ping(length: int) -> bytes:
        return end.join([b"Action: Ping", b"ActionID: p", b"X: ".ljust(length, b"x"), b"", b""])

    assert session.exchange(ping(longest))[0]["Ping"] == "Pong"
    assert session.exchange(ping(longest + 1))[0] == error("Failed to parse message: line too long", "p")


def test_one_byte_too_long_is_answered_twice(session: Raw) -> None:
    """Its CR fills the buffer, and the remaining LF counts as an empty request, whose error has no
    ActionID."""
    answers = session.exchange(b"Action: Ping\r\nActionID: p\r\n" + b"X: ".ljust(1023, b"x") + b"\r\n\r\n")
    assert answers == [
        error("Failed to parse message: line too long", "p"),
        error("Missing action in request"),
    ]


def test_an_action_id_after_a_too_long_line_is_echoed(session: Raw) -> None:
    answers = session.exchange(b"Action: Ping\r\n" + b"X" * 1100 + b"\r\nActionID: behind\r\n\r\n")
    assert answers == [error("Failed to parse message: line too long", "behind")]


def test_128_headers_with_action_and_action_id(session: Raw) -> None:
    def ping(headers: int) -> bytes:
        return b"Action: Ping\r\nActionID: h\r\n" + b"X: 1\r\n" * (headers - 2) + b"\r\n"

    too_many = "Too many lines in message or allocation failure"
    assert session.exchange(ping(128))[0]["Ping"] == "Pong"
    assert session.exchange(ping(129)) == [error(too_many, "h")]
    assert session.exchange(b"X: 1\r\n" * 128 + b"Action: Ping\r\nActionID: lost\r\n\r\n") == [error(too_many)]


@pytest.mark.parametrize(
    "text, action_id",
    [
        (b"Action:Ping\r\nActionID:x\r\n\r\n", "x"),
        (b"action: ping\nactionid: x\n\n", "x"),
        (b"ActionID: x\r\nAction: Ping\r\nActionID: y\r\n\r\n", "x"),
        (b"Action: Ping\r\nActionID:   x  \r\n\r\n", "x  "),
        (b"Action: Ping\r\nActionID: x\0y\r\n\r\n", "x"),
        (b"Action: Ping\r\nActionID: \r\n\r\n", None),
        (b"Action: Ping\r\nActionID : x\r\n\r\n", None),
    ],
    ids=[
        "no space",
        "LF and lower case",
        "the first of two",
        "trailing blanks stay",
        "NUL cuts",
        "empty",
        "blank",
    ],
)
def test_ping_in_many_spellings(session: Raw, text: bytes, action_id: str | None) -> None:
    (answer,) = session.exchange(text)
    assert (answer["Ping"], answer["ActionID"]) == ("Pong", action_id)


def test_requests_without_an_action(session: Raw) -> None:
    assert session.exchange(b"\r\n") == [error("Missing action in request")]
    assert session.exchange(b"no colon\r\nActionID: x\r\n\r\n") == [error("Missing action in request", "x")]
    assert str(session.answer("Nonsense").message).startswith("Invalid/unknown command: Nonsense.")


def test_an_action_id_of_64_bytes_is_complete_and_one_of_68_is_not(session: Raw, stage: dict[str, str]) -> None:
    for length, whole in ((64, True), (68, False)):
        _, item, complete = session.ask("ConfbridgeList", "i" * length, Conference="100")
        assert complete["ActionID"] == "i" * length
        assert (item["ActionID"] == "i" * length) is whole


# --- Order ---


def test_pipelined_actions_are_answered_in_order(session: Raw) -> None:
    answers = session.exchange(b"".join(request("Ping", name) for name in "ABC"))
    assert [answer["ActionID"] for answer in answers] == ["A", "B", "C"]


def test_a_slow_action_blocks_its_session(session: Raw) -> None:
    began = time.monotonic()
    slow = session.answer("Originate", Channel="Local/noanswer@calls", Application="Wait", Data="1", Timeout=300)
    assert slow == error("Originate failed", "fact")  # the fence, a Ping, was behind it
    assert time.monotonic() - began >= 0.29


# --- Lists ---


@pytest.mark.parametrize("action", LISTS)
def test_a_list_is_framed(asterisk: Asterisk, session: Raw, stage: dict[str, str], action: str) -> None:
    """Also on a session with events off, and each packet has the ActionID."""
    complete, fields = LISTS[action]
    answers = session.ask(action, "i" * 64, **{name: stage.get(value, value) for name, value in fields.items()})
    if action in ONLY_NEW and asterisk.version == "16":
        assert str(answers[0].message).startswith("Invalid/unknown command")
        return
    first, *items, last = answers
    assert (first["Response"], str(first["EventList"]).lower()) == ("Success", "start")
    assert (last["Event"], last["EventList"]) == (complete, "Complete")
    assert int(last["ListItems"] or "") == len(items)
    assert {packet["ActionID"] for packet in answers} == {"i" * 64}


# --- Ways around a rule: what amid.ami.targets must see through ---

SPELLINGS = [
    "core show uptime", "CORE Show uptime", "core   show\tuptime ", "\x01 core show uptime", "core sh\\ow uptime",
    'co"re" "show" uptime', 'core show ""uptime', 'core show "uptime',
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
def test_a_command_has_many_spellings(session: Raw, spelling: str) -> None:
    assert session.answer("Command", Command=spelling)["Output"].startswith("System uptime")  # type: ignore[union-attr]
    assert [target.text for target in targets_of("Command", {"Command": spelling})] == ["core show uptime"]


@pytest.mark.parametrize("spelling", ["core sh uptime", "co sho upt", "core\x0bshow uptime", "core show uptime; core"], ids=repr)
def test_a_command_cannot_be_abbreviated_or_extended(session: Raw, spelling: str) -> None:
    assert session.answer("Command", Command=spelling)["Output"].startswith("No such command")  # type: ignore[union-attr]


def test_asterisks_list_of_forbidden_commands_can_be_bypassed(session: Raw) -> None:
    assert session.answer("Command", Command="module unload none")["Output"] is None
    assert session.answer("Command", Command='module "unload" none')["Output"] == "Unable to unload resource none"


def test_of_a_repeated_header_the_first_counts(session: Raw) -> None:
    first = request("Command", "fact", Command="core show uptime")[:-2]
    (answer,) = session.exchange(first + b"Command: core show version\r\n\r\n")
    assert answer["Output"].startswith("System uptime")  # type: ignore[union-attr]


def test_getvar_reads_the_secrets_of_the_configuration(session: Raw, asterisk: Asterisk) -> None:
    variable = f"AST_CONFIG(manager.conf,{asterisk.username},secret)"
    assert session.answer("Getvar", Variable=variable)["Value"] == asterisk.secret


def test_a_variable_of_an_asynchronous_originate_writes_a_file(session: Raw, listener: Raw, asterisk: Asterisk) -> None:
    """Setvar and a synchronous Originate are denied: `live_dangerously = no` applies only to the
    threads of the manager."""
    file = asterisk.private / "written"
    function = f"FILE(/{file.relative_to(asterisk.root)})"
    assert session.answer("Setvar", Variable=function, Value="x").message == "Variable not set"
    call = {"Channel": "Local/answer@calls", "Application": "Wait", "Data": "0", "Variable": f"{function}=x"}
    session.answer("Originate", **call)
    assert not file.exists()
    session.answer("Originate", **call, Async="true")
    listener.until("OriginateResponse")
    assert file.read_text().startswith("x")
