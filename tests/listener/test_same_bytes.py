"""The listener sends the same bytes as the Asterisk behind it.

Each exchange runs on a real Asterisk and on the listener in front of it. Times, challenges and the
ActionIDs of fences are masked; all other bytes must be equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.asterisk.server import Asterisk
from tests.daemon import Daemon
from tests.listener.setting import Connection, Endpoint, endpoint_of, listener_table

USERS = """
[{name}]
secret = {secret}
read = all
write = all

[limited]
secret = {secret}
read = call
write = call

[dialer]
secret = {secret}
read = call
write = call,originate,reporting
allow = *: *
"""

_VARIABLE = re.compile(
    rb"(?<=Timestamp: )[\d.]+|(?<=Challenge: )\d+|(?<=Uptime: )\d+|(?<=LastReload: )\d+|(?<=Output: System uptime: )[^\r]+"
)

_SECURITY = re.compile(rb"Event: \w+\r\nPrivilege: security,all\r\n.*?\r\n\r\n", re.DOTALL)
"""Security events of logins: Asterisk sees those of amid instead of those of amid's clients."""


@pytest.fixture(scope="module")
def endpoints(asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Endpoint, Endpoint]]:
    """An Asterisk, and a listener in front of it."""
    directory: Path = tmp_path_factory.mktemp("amid")
    keys = listener_table(directory, USERS.format(name=asterisk.username, secret=asterisk.secret), auth_limit=200)
    table = {"host": asterisk.host, "port": asterisk.port, "username": asterisk.username, "secret": asterisk.secret}
    daemon = Daemon(directory, {"pbx1": table}, listener=keys, callers__local={"allow": ["*: *"], "admin": True})
    try:
        daemon.start()
        real = Endpoint("asterisk", asterisk.host, asterisk.port, asterisk.username, asterisk.secret)
        yield real, endpoint_of(daemon, keys, asterisk.username, asterisk.secret)
    finally:
        daemon.close()


Exchange = Callable[[Connection], bytes]
EXCHANGES: dict[str, Exchange] = {}


def exchange(function: Exchange) -> Exchange:
    EXCHANGES[function.__name__] = function
    return function


def raw(name: str, data: bytes, *, login: bool = True) -> None:
    """The answers to `data` and to a Logoff, which is last because it has no ActionID."""

    def speak(connection: Connection) -> bytes:
        before = connection.login() if login else b""
        connection.send(data + b"Action: Logoff\r\n\r\n")
        return before + connection.until_closed()

    EXCHANGES[name] = speak


@exchange
def greeting_and_logoff(connection: Connection) -> bytes:
    connection.send(b"Action: Logoff\r\nActionID: bye\r\n\r\nAction: Ping\r\n\r\n")
    return connection.greeting + connection.until_closed()


@exchange
def login_with_events(connection: Connection) -> bytes:
    return connection.login(events="on", action_id="l") + connection.until(b"Status: Fully Booted\r\n\r\n")


@exchange
def login_md5(connection: Connection) -> bytes:
    connection.send(b"Action: Challenge\r\nAuthType: md5\r\nActionID: c\r\n\r\n")
    challenge = connection.until(b"\r\n\r\n")
    key = connection.md5_key(challenge)
    name = connection.endpoint.username.upper()
    connection.send(f"Action: Login\r\nAuthType: MD5\r\nUsername: {name}\r\nKey: {key}\r\nEvents: off\r\n\r\n".encode())
    return challenge + connection.until(b"\r\n\r\n")


@exchange
def a_second_challenge_is_the_same(connection: Connection) -> bytes:
    connection.send(b"Action: Challenge\r\nAuthType: MD5\r\n\r\n" * 2)
    first, second = re.findall(rb"Challenge: (\d+)", connection.until(b"\r\n\r\n") + connection.until(b"\r\n\r\n"))
    return b"same" if first == second else b"other"


@exchange
def a_wrong_secret(connection: Connection) -> bytes:
    connection.send(
        b"Action: Login\r\nActionID: 1\r\nUsername: %b\r\nSecret: wrong\r\n\r\n" % connection.endpoint.username.encode()
    )
    return connection.until_closed()


@exchange
def a_wrong_key(connection: Connection) -> bytes:
    connection.send(b"Action: Challenge\r\nAuthType: MD5\r\n\r\n")
    challenge = connection.until(b"\r\n\r\n")
    name = connection.endpoint.username.encode()
    connection.send(b"Action: Login\r\nAuthType: MD5\r\nUsername: %b\r\nKey: 00\r\nActionID: \r\n\r\nAction: Ping\r\n\r\n" % name)
    return challenge + connection.until_closed()


@exchange
def an_unknown_user(connection: Connection) -> bytes:
    connection.send(b"Action: Login\r\nUsername: nobody\r\nSecret: x\r\n\r\n")
    return connection.until_closed()


@exchange
def login_and_actions_in_one_segment(connection: Connection) -> bytes:
    name, secret = connection.endpoint.username, connection.endpoint.secret
    login = f"Action: Login\r\nUsername: {name}\r\nSecret: {secret}\r\nEvents: off\r\n\r\n"
    actions = "".join(
        f"Action: {action}\r\nActionID: {n}\r\n\r\n" for n, action in enumerate(("Ping", "CoreSettings", "Ping", "Nope"))
    )
    connection.send((login + actions + "Action: Ping\r\n\r\nAction: Logoff\r\n\r\n").encode())
    return connection.until_closed()


@exchange
def one_byte_a_segment(connection: Connection) -> bytes:
    before = connection.login()
    for byte in b"Action: Ping\r\nActionID: 1\r\n\r\nAction: Events\nEventMask: off\n\n\r\nAction: Logoff\r\n\r\n":
        connection.send(bytes([byte]))
    return before + connection.until_closed()


@exchange
def half_closed(connection: Connection) -> bytes:
    before = connection.login()
    connection.send(b"Action: Events\r\nEventMask: off\r\n\r\nAction: Logoff\r\n\r\n")
    return before + connection.until_closed()


@exchange
def list_commands_of_a_limited_user(connection: Connection) -> bytes:
    return connection.login("limited") + connection.fenced(b"Action: ListCommands\r\nActionID: 7\r\n\r\n")


@exchange
def the_classes_of_a_limited_user(connection: Connection) -> bytes:
    names = (
        "Command",
        "Reload",
        "Filter",
        "UserEvent",
        "Originate",
        "CoreSettings",
        "GetConfig",
        "NoSuch",
        "events",
        "ModuleCheck",
    )
    asked = b"".join(b"Action: %b\r\nActionID: %b\r\n\r\n" % (name.encode(), name.encode()) for name in names)
    return connection.login("limited") + connection.fenced(asked)


@exchange
def arguments_that_require_the_class_system(connection: Connection) -> bytes:
    applications = {
        "TrySystem": "x",
        "EAGI": "",
        "DBdeltree": "x",
        "Queue": "q,,,,,script",
        "NoOp": "${SHELL(ls)}",
        "noop": "${FILE(x)}",
    }
    call = "Action: Originate\r\nActionID: 1\r\nChannel: Local/none@nowhere\r\nAsync: true\r\nApplication: "
    asked = "".join(f"{call}{name}\r\nData: {data}\r\n\r\n" for name, data in applications.items())
    asked += "Action: Getvar\r\nVariable: SHELL(ls)\r\n\r\nAction: Getvar\r\nVariable: A\r\n\r\n"
    asked += "Action: Status\r\nVariables: EVAL(x)\r\n\r\n"
    return connection.login("dialer") + connection.fenced(asked.encode())


@exchange
def echo_of_a_user_event(connection: Connection) -> bytes:
    login = connection.login(events="user")
    headers = b"X: 1\r\nUserEvent: Mine\r\nY: Gr\xfc\xdfe  \r\nX: 2\r\nactionid:  odd id \r\nno colon\r\nUserEvent: 2\r\n\r\n"
    connection.send(b"Action: UserEvent\r\n" + headers)
    return login + connection.until(b"no colon\r\n\r\n") + connection.until_quiet()


@exchange
def echo_without_an_action_id(connection: Connection) -> bytes:
    login = connection.login(events="user")
    connection.send(b"Action: UserEvent\r\nUserEvent: Mine\r\nUser: \xc3\xa4\r\n\r\n")
    return login + connection.until(b"User: \xc3\xa4\r\n\r\n") + connection.until_quiet()


@exchange
def wait_event_by_an_event(connection: Connection) -> bytes:
    login = connection.login(events="user") + connection.until_quiet()
    with Connection(connection.endpoint) as other:
        other.login()
        login += connection.until_quiet()  # the events of its login would end the WaitEvent
        connection.send(b"Action: WaitEvent\r\nTimeout: 10\r\nActionID: w\r\n\r\n")
        login += connection.until_quiet()
        other.fenced(b"Action: UserEvent\r\nUserEvent: Wake\r\nActionID: o\r\n\r\n")
    return login + connection.until(b"Event: WaitEventComplete\r\nActionID: w\r\n\r\n")


@exchange
def wait_event_by_time(connection: Connection) -> bytes:
    login = connection.login()
    connection.send(b"Action: WaitEvent\r\nTimeout: 1\r\n\r\nAction: Ping\r\n\r\n")
    return login + connection.until(b"Ping: Pong\r\n") + connection.until(b"\r\n\r\n")


@exchange
def wait_event_by_bytes(connection: Connection) -> bytes:
    login = connection.login()
    connection.send(b"Action: WaitEvent\r\nActionID: %b\r\n\r\n" % (b"i" * 300))
    before = connection.until_quiet()
    connection.send(b"Action: Ping\r\n\r\n")
    return login + before + connection.until(b"Ping: Pong\r\n") + connection.until(b"\r\n\r\n")


def user_events(*filters: bytes, mask: bytes = b"user") -> Exchange:
    """Which of three UserEvents arrive after these Filters."""

    def speak(connection: Connection) -> bytes:
        out = connection.login(events="off")
        for headers in filters:
            out += connection.fenced(b"Action: Filter\r\nOperation: Add\r\n" + headers + b"\r\n\r\n")
        out += connection.fenced(b"Action: Events\r\nEventMask: " + mask + b"\r\n\r\n")
        for name in (b"One", b"Two", b"OneTwo"):
            connection.send(b"Action: UserEvent\r\nUserEvent: %b\r\nH: %b\r\n\r\n" % (name, name))
        packets: list[bytes] = connection.until_quiet().split(b"\r\n\r\n")
        # Other events of the PBX come at any time.
        packets = [packet for packet in packets if not packet.startswith(b"Event") or packet.startswith(b"Event: UserEvent")]
        ordered = sorted(packets, key=lambda packet: packet.startswith(b"Event"))  # the order of answers and events is random
        return out + b"\r\n\r\n".join(ordered)

    return speak


EXCHANGES |= {
    "filter_include": user_events(b"Filter: UserEvent: One"),
    "filter_exclude": user_events(b"Filter: !Two"),
    "filter_both": user_events(b"Filter: One", b"Filter: !Two"),
    "filter_end_of_line": user_events(b"Filter: H: One.$"),
    "filter_class": user_events(b"Filter: H: [[:alpha:]]{4}"),
    "filter_criteria": user_events(b"MatchCriteria: name(UserEvent),header(H),method(exact)\r\nFilter: Two"),
    "filter_wrong": user_events(b"Filter: [", b"Filter: ", b"Filter: !", b"MatchCriteria: nonsense\r\nFilter: x"),
    "mask_number": user_events(mask=b"64"),
    "mask_all": user_events(mask=b"all"),
}
for number, mask in enumerate(
    (b"on", b"off", b"", b"yes", b"FALSE", b"call,user", b"what", b"0", b"1", b"2147483648", b"99999999999", b"u,call")
):
    raw(f"events_mask_{number}", b"Action: Events\r\nActionID: 1\r\nEventMask: %b\r\n\r\n" % mask)
raw("events_without_mask", b"Action: Events\r\n\r\n")
raw("not_logged_in", b"Action: Ping\r\n\r\nAction: NoSuch\r\nActionID: 2\r\n\r\nAction: Challenge\r\n\r\n", login=False)
raw("login_without_a_name", b"Action: Login\r\nSecret: x\r\n\r\n", login=False)
raw("login_twice", b"Action: Login\r\nUsername: x\r\nActionID: 2\r\n\r\n")
raw("blank_lines", b"\r\n\n\r\nAction: Ping\r\n\r\n")
raw("missing_action", b"ActionID: 3\r\nFoo: bar\r\n\r\nAction:\r\nActionID: 4\r\n\r\n")
raw("lf_line_ends", b"Action: Ping\nActionID: 5\n\nAction: Events\nEventMask: off\n\n")
raw(
    "no_action_id",
    b"Action: Ping\r\n\r\nAction: CoreShowChannels\r\n\r\nAction: Events\r\nEventMask: off\r\n\r\nAction: Nope\r\n\r\n",
)
raw("empty_action_id", b"Action: Ping\r\nActionID: \r\n\r\nAction: Ping\r\nActionID:\r\n\r\n")
raw("equal_action_ids", b"Action: Ping\r\nActionID: 1\r\n\r\nAction: CoreSettings\r\nActionID: 1\r\n\r\n")
raw("two_action_ids", b"Action: Ping\r\nActionID: 1\r\nActionID: 2\r\n\r\n")
raw("blanks_around", b"Action:   Ping\r\nActionID:\t 6 \r\n\r\nAction: Ping \r\n\r\nAction : Ping\r\n\r\n")
raw("a_nul", b"Action: Ping\r\nActionID: 7\0hidden\r\n\r\n\0\r\nAction: Ping\r\n\r\n")
raw("a_cr_within", b"Action: Ping\r\nActionID: 8\rX\r\r\n\r\n")
raw("not_utf8", b"Action: Ping\r\nActionID: \xff\xfe\r\n\r\n")
raw("an_unknown_action", b"Action: %b\r\nActionID: 9\r\n\r\n" % (b"N" * 600))
for size in (64, 69, 900, 1000):
    raw(
        f"an_action_id_of_{size}",
        b"Action: Ping\r\nActionID: %b\r\n\r\nAction: Events\r\nEventMask: off\r\nActionID: %b\r\n\r\n" % ((b"i" * size,) * 2),
    )
for size in (1021, 1022, 1023, 1024, 1025, 2047, 5000):
    raw(f"a_line_of_{size}", b"Action: Ping\r\nActionID: 1\r\nX: %b\r\n\r\nAction: Ping\r\n\r\n" % (b"x" * (size - 3)))
    raw(f"a_line_of_{size}_with_lf", b"Action: Ping\r\nActionID: 1\r\nX: %b\n\r\nAction: Ping\r\n\r\n" % (b"x" * (size - 3)))
for count in (126, 127, 128, 129, 300):
    raw(f"{count}_headers", b"Action: Ping\r\nActionID: 1\r\n" + b"H: v\r\n" * (count - 2) + b"\r\nAction: Ping\r\n\r\n")
raw("129_headers_with_the_id_behind", b"Action: Ping\r\n" + b"H: v\r\n" * 127 + b"ActionID: late\r\n\r\n")
raw("a_long_line_among_129", b"H: v\r\n" * 129 + b"L: " + b"x" * 2000 + b"\r\n\r\nAction: Ping\r\n\r\nAction: Ping\r\n\r\n")
raw("lists", b"Action: CoreShowChannels\r\nActionID: l\r\n\r\nAction: QueueStatus\r\n\r\nAction: Status\r\nActionID: s\r\n\r\n")
raw(
    "a_command",
    b"Action: Command\r\nCommand: core show channeltypes\r\n\r\nAction: Command\r\nCommand: no such\r\nActionID: n\r\n\r\n",
)
raw("errors_of_asterisk", b"Action: Hangup\r\n\r\nAction: Getvar\r\nActionID: g\r\n\r\nAction: Redirect\r\nChannel: none\r\n\r\n")
raw("list_commands", b"Action: ListCommands\r\nActionID: c\r\n\r\n")


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_same_bytes(endpoints: tuple[Endpoint, Endpoint], name: str) -> None:
    received = []
    for endpoint in reversed(endpoints):  # events of the exchange with Asterisk would reach the listener afterwards
        with Connection(endpoint) as connection:
            data = _SECURITY.sub(b"", connection.greeting + EXCHANGES[name](connection))
            received.append(_VARIABLE.sub(b"~", data))
    assert received[0].splitlines(keepends=True) == received[1].splitlines(keepends=True)
