"""The targets of actions on real Asterisks: the facts behind amid/ami/targets.py, each beside
amid's result for the same fields.

Targets marked `Needs.PATTERN` that can be shown on one machine are shown here: a shell command has
run, an extension of another context was entered, a password was in the answer, a packet reached an
address.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from amid.ami.field_readers import Needs
from amid.ami.targets import PLAIN, TABLES, targets_of
from tests.asterisk.raw import Raw, call, eventually
from tests.asterisk.server import Asterisk

PASSWORD = "pass-of-sipp"
SECRET = """
[secret]
exten => _X.,1,Set(GLOBAL(ENTERED)=${EXTEN})
 same => n,Wait(2)
exten => 911,1,Set(GLOBAL(ENTERED)=emergency)
"""
AUTH = f"""
[sipp-auth]
type = auth
username = sipp
password = {PASSWORD}

[registrar]
type = registration
transport = udp
outbound_auth = sipp-auth
server_uri = sip:127.0.0.1:1
client_uri = sip:sipp@127.0.0.1:1
"""
SAMPLE = (Path(__file__).parents[2] / "etc/manager.conf.sample").read_text()


@pytest.fixture(scope="module")
def pbx(asterisk_version: str) -> Iterator[Asterisk]:
    """A PBX with targets: a context without callers, passwords, and the sample's manager user."""
    server = Asterisk(asterisk_version)
    server.start()
    etc = server.private / "etc"
    append(etc / "extensions.conf", SECRET)
    replace(etc / "pjsip.conf", "aors = sipp", "aors = sipp\nauth = sipp-auth")
    append(etc / "pjsip.conf", AUTH)
    replace(etc / "res_parking.conf", "comebacktoorigin = no", "comebacktoorigin = yes")
    append(etc / "manager.conf", "\n" + SAMPLE.replace("[amid]", "[sample]").replace("change-me", server.secret))
    server.command("core restart now")
    server.wait_booted()
    yield server
    server.stop()


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def replace(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def session(pbx: Asterisk) -> Iterator[Raw]:
    with Raw(pbx) as raw:
        yield raw
        raw.ask("Hangup", Channel="/./")
        eventually(lambda: len(raw.ask("CoreShowChannels")) == 2)


@pytest.fixture
def sample(pbx: Asterisk) -> Iterator[Raw]:
    """The manager user of etc/manager.conf.sample."""
    with Raw(pbx, username="sample") as raw:
        yield raw


@pytest.fixture
def mark(pbx: Asterisk) -> Iterator[Callable[[], str]]:
    """`mark()` is the path of a file as Asterisk sees it; the file must be there at the end of the test."""
    made = pbx.private / "reached"
    yield lambda: f"/{made.relative_to(pbx.root)}"
    eventually(made.exists)
    made.unlink()


def entered(session: Raw, extension: str) -> Callable[[], bool]:
    return lambda: session.answer("Getvar", Variable="ENTERED")["Value"] == extension


def guarded(action: str, **fields: str | int) -> bool:
    return any(target.needs == Needs.PATTERN for target in targets_of(action, fields))


def reached(action: str, **fields: str | int) -> set[str]:
    return {target.text for target in targets_of(action, fields)}


# ── all actions ──


def test_every_action_is_in_a_table(session: Raw) -> None:
    answer = session.answer("ListCommands")
    offered = {name for name, _ in answer if name not in ("Response", "ActionID")}
    assert len(offered) > 100
    assert {name for name in offered if name.lower() not in PLAIN and name.lower() not in TABLES} == set()


# ── a shell ──


def test_record_file_is_a_shell(session: Raw, mark: Callable[[], str]) -> None:
    call(session, "conf")
    eventually(lambda: len(session.ask("ConfbridgeListRooms")) > 2)
    fields = {"Conference": "100", "RecordFile": f"x.wav,,touch {mark()};true"}
    assert guarded("ConfbridgeStartRecord", **fields)
    assert session.answer("ConfbridgeStartRecord", **fields)["Response"] == "Success"
    session.ask("ConfbridgeStopRecord", Conference="100")


def test_the_name_of_a_conference_is_a_shell(session: Raw, mark: Callable[[], str]) -> None:
    name = f"x,,touch {mark()};true"
    data = name.replace(",", "\\,") + ",room,guest"
    session.ask("Originate", Channel="Local/answer@calls", Application="ConfBridge", Data=data)
    eventually(lambda: len(session.ask("ConfbridgeListRooms")) > 2)
    assert guarded("ConfbridgeStartRecord", Conference=name)
    session.ask("ConfbridgeStartRecord", Conference=name)
    session.ask("ConfbridgeStopRecord", Conference=name)


def test_mixmonitor_is_a_shell(session: Raw, mark: Callable[[], str]) -> None:
    fields = {"Channel": call(session, "answer"), "File": "x.wav", "Command": f"touch {mark()}"}
    assert guarded("MixMonitor", **fields)
    session.ask("MixMonitor", **fields)
    session.ask("Hangup", Channel=fields["Channel"])


def test_options_of_mixmonitor_are_a_shell(session: Raw, mark: Callable[[], str]) -> None:
    fields = {"Channel": call(session, "answer"), "File": "x.wav", "Options": f"b,touch {mark()};true"}
    assert guarded("MixMonitor", **fields)
    session.ask("MixMonitor", **fields)
    session.ask("Hangup", Channel=fields["Channel"])


def monitored(session: Raw, **fields: str | int) -> bool:
    assert guarded("Monitor", **fields)
    answer = session.answer("Monitor", **{name: str(value) for name, value in fields.items()})
    session.ask("StopMonitor", Channel=fields["Channel"])
    return answer["Response"] == "Success"


def test_the_sample_s_user_has_a_shell_by_monitor_on_16(pbx: Asterisk, sample: Raw, session: Raw) -> None:
    """Without `system` or `command`. 22 has no Monitor."""
    made = pbx.private / "monitored"
    file = f'm";touch /{made.relative_to(pbx.root)};"'
    assert monitored(sample, Channel=call(session, "answer"), File=file, Mix="true") is (pbx.version == "16")
    if pbx.version == "16":
        eventually(made.exists)


def test_a_channel_s_name_is_a_shell_on_16(pbx: Asterisk, sample: Raw, session: Raw) -> None:
    made = pbx.root / f"amid-monitored-{pbx.port}"  # no slash: the name cannot hold one
    session.ask("Originate", Channel=f'Local/member";touch {made.name};"@calls', Application="Wait", Data="60")
    channels = [packet["Channel"] or "" for packet in session.ask("CoreShowChannels")]
    channel = next(name for name in channels if name.endswith(";1"))
    try:
        assert monitored(sample, Channel=channel, Mix="true") is (pbx.version == "16")
        if pbx.version == "16":
            eventually(made.exists)
    finally:
        made.unlink(missing_ok=True)


def test_the_sample_s_user_has_a_shell_by_variables(sample: Raw, session: Raw, mark: Callable[[], str]) -> None:
    variables = rf"CONFBRIDGE(bridge\,record_conference)=yes,CONFBRIDGE(bridge\,record_command)=touch {mark()}"
    fields = {"Channel": "Local/answer@calls", "Application": "ConfBridge", "Data": "7", "Variable": variables, "Async": "true"}
    assert guarded("Originate", **fields)
    sample.ask("Originate", **fields)
    eventually(lambda: len(session.ask("ConfbridgeList", Conference="7")) > 2)
    session.ask("Hangup", Channel="/^Local/")  # the command runs when the recording ends


def test_a_variable_writes_a_file(sample: Raw, mark: Callable[[], str]) -> None:
    fields = {"Channel": "Local/answer@calls", "Application": "Wait", "Variable": f"FILE({mark()})=x", "Async": "true"}
    assert guarded("Originate", **fields)
    sample.ask("Originate", **fields)


# ── the dialplan ──


def test_a_queue_member_enters_the_dialplan(session: Raw) -> None:
    fields = {"Queue": "support", "Interface": "Local/78@secret/n"}
    assert reached("QueueAdd", **fields) == {"78@secret"}
    session.ask("QueueAdd", **fields)
    call(session, "queue")
    eventually(entered(session, "78"))
    session.ask("QueueRemove", **fields)


def test_a_parker_enters_the_dialplan(session: Raw) -> None:
    fields = {"Channel": call(session, "answer"), "TimeoutChannel": "Local/77@secret/n", "Timeout": "1000"}
    assert reached("Park", **fields) == {"77@secret"}
    session.ask("Park", **fields)
    eventually(entered(session, "77"))


def test_a_variable_enters_the_dialplan(sample: Raw, session: Raw) -> None:
    variable = r"CHANNEL(hangup_handler_push)=secret\,76\,1"
    fields = {"Channel": "Local/answer@calls", "Application": "Wait", "Data": "0", "Variable": variable, "Async": "true"}
    assert guarded("Originate", **fields)
    sample.ask("Originate", **fields)
    eventually(entered(session, "76"))


def test_dashes_in_an_extension_are_ignored(session: Raw) -> None:
    session.ask("Originate", Channel="Local/9-11@secret", Application="Wait", Data="1")
    eventually(entered(session, "emergency"))


def test_an_extension_may_look_like_another_context(session: Raw) -> None:
    session.ask("Originate", Channel="Local/answer@calls", Exten="1@sales", Context="secret", Priority="1")
    eventually(entered(session, "1@sales"))


@pytest.mark.parametrize(
    ("channel", "on_16", "on_22"),
    [
        ("Local/11@secret/x@calls/n", "11@secret", "11@secret/x@calls"),
        ("Local/12@secret/n@calls/n", "12@secret", "12@secret/n@calls"),
        ("Local/answer/x@calls/n", "answer@default", "answer/x@calls"),
    ],
)
def test_a_local_channel_with_two_slashes_is_read_in_two_ways(
    pbx: Asterisk, session: Raw, channel: str, on_16: str, on_22: str
) -> None:
    fields = {"Channel": channel, "Application": "Wait", "Data": "1"}
    assert reached("Originate", **fields) == {"wait", on_16, on_22}
    session.ask("Originate", **fields)
    if on_16.endswith("secret") and pbx.version == "16":
        eventually(entered(session, on_16.partition("@")[0]))
    elif on_16.endswith("secret"):
        assert not entered(session, on_16.partition("@")[0])()


# ── secrets ──


@pytest.mark.parametrize("action", ["PJSIPShowAuths", "PJSIPShowEndpoint", "PJSIPShowRegistrationsOutbound"])
def test_these_lists_show_passwords(session: Raw, action: str) -> None:
    assert PASSWORD in str(session.ask(action, Endpoint="sipp"))
    assert guarded(action, Endpoint="sipp")


@pytest.mark.parametrize("action", ["GetConfig", "GetConfigJSON"])
def test_a_file_of_the_configuration_shows_secrets(pbx: Asterisk, session: Raw, action: str) -> None:
    assert pbx.secret in str(session.ask(action, Filename="manager.conf"))
    assert guarded(action, Filename="manager.conf")


def test_a_function_shows_secrets(pbx: Asterisk, sample: Raw) -> None:
    variable = "AST_CONFIG(manager.conf,sample,secret)"
    assert sample.answer("Getvar", Variable=variable)["Value"] == pbx.secret
    assert guarded("Getvar", Variable=variable)


def test_no_other_list_shows_a_password(pbx: Asterisk, session: Raw) -> None:
    """What is in PLAIN is asked for everything that this PBX has."""
    session.ask("DBPut", Family="f", Key="k", Val="x")
    channel = call(session, "answer")
    names = {"Endpoint": "sipp", "Mailbox": "1000", "Context": "default", "Channel": channel, "Queue": "support"}
    offered = [name for name, _ in session.answer("ListCommands") if name.lower() in PLAIN]
    left_out = {"challenge", "login", "logoff", "waitevent", "hangup", "pjsiphangup", "userevent", "bridgedestroy", "queuereload"}
    for action in [name for name in offered if name.lower() not in left_out]:
        shown = str(session.ask(action, **names))
        assert PASSWORD not in shown and pbx.secret not in shown, action


# ── the network ──


def test_a_channel_with_an_address_calls_any_host(session: Raw) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
        anybody.bind(("127.0.0.1", 0))
        anybody.settimeout(10)
        channel = f"PJSIP/sipp/sip:somebody@127.0.0.1:{anybody.getsockname()[1]}"
        assert guarded("Originate", Channel=channel, Application="Wait")
        session.ask("Originate", Channel=channel, Application="Wait", Async="true")
        assert anybody.recv(4096).startswith(b"INVITE sip:somebody@")


def test_audiosocket_connects_to_any_port(pbx: Asterisk, session: Raw) -> None:
    with socket.create_server(("127.0.0.1", 0)) as anybody:
        anybody.settimeout(10)
        channel = f"AudioSocket/127.0.0.1:{anybody.getsockname()[1]}/40325ec2-5efd-4bd3-805f-53576e581d13"
        assert guarded("Originate", Channel=channel, Application="Wait")
        session.ask("Originate", Channel=channel, Application="Wait", Async="true")
        if pbx.version == "22":  # 16 has no such channel
            anybody.accept()[0].close()
