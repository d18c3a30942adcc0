"""`amid action`, `command`, `actions`, `restart`: what is sent, what is shown, and exit statuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amid.cli.exits import EXITS, MAY_HAVE_RUN, NEVER_SENT
from amid.errors import CODES, AmidError
from tests.cli.conftest import Amid
from tests.client.standin import StandIn, answered

MEMBERS = [
    {"Event": "QueueMember", "ActionID": "x", "Name": "Alice", "Status": "1"},
    {"Event": "QueueMember", "ActionID": "x", "Name": "Bob Smith", "Paused": "0"},
]


def refuse(failure: AmidError) -> Callable[[dict[str, Any]], Any]:
    def method(params: dict[str, Any]) -> Any:
        raise failure

    return method


def test_headers_are_sent_as_written(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["action"] = lambda params: answered()
    ended = amid("action", "Originate", "Data=a=b", "Variable=x", "Variable=y", "Empty=", "CallerID=caf\udce9", "--until", "Done")
    assert ended.status == 0
    params = daemon.asked[0]["params"]
    assert params["fields"] == {"Data": "a=b", "Variable": ["x", "y"], "Empty": "", "CallerID": b"caf\xe9"}
    assert (params["action"], params["until"], params["timeout"]) == ("Originate", "Done", 5.0)


@pytest.mark.parametrize("header", ["Channel", "=x"])
def test_a_malformed_header_is_a_usage_error(amid: Amid, header: str) -> None:
    ended = amid("action", "Ping", header)
    assert ended.status == 2
    assert repr(header) in ended.err and "NAME=VALUE" in ended.err


@pytest.mark.parametrize("timeout", ["0", "-1", "3601", "soon"])
def test_an_impossible_timeout_is_a_usage_error(amid: Amid, timeout: str) -> None:
    assert amid("action", "Ping", "--timeout", timeout).status == 2


def test_a_response_is_two_columns_without_the_protocols_own_headers(daemon: StandIn, amid: Amid) -> None:
    response = {"Response": "Success", "ActionID": "x", "Ping": "Pong", "Timestamp": "1.5"}
    daemon.methods["action"] = lambda params: answered(response=response)
    assert amid("action", "Ping").out == "Response   Success\nPing       Pong\nTimestamp  1.5\n"


def test_a_list_is_a_table_of_all_its_headers(daemon: StandIn, amid: Amid) -> None:
    complete = {"Event": "QueueStatusComplete", "EventList": "Complete", "ListItems": "2", "Extra": "7"}
    daemon.methods["action"] = lambda params: answered(response={}, events=MEMBERS, complete=complete)
    assert amid("action", "QueueStatus").out.splitlines() == [
        "", "QueueMember (2)", "Name       Status  Paused", "Alice      1", "Bob Smith          0", "", "Extra  7"
    ]  # fmt: skip


def test_a_table_that_is_too_wide_for_the_terminal_is_blocks(daemon: StandIn, amid: Amid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amid.cli.text.limit", lambda: 20)
    daemon.methods["action"] = lambda params: answered(response={}, events=MEMBERS)
    assert amid("action", "QueueStatus").out.splitlines()[2:] == [
        "Name    Alice", "Status  1", "", "Name    Bob Smith", "Paused  0"
    ]  # fmt: skip


def test_untrusted_text_is_escaped(daemon: StandIn, amid: Amid) -> None:
    response = {"CallerID": "\x1b]0;owned\x07\r\x9b1m\u202e", "Odd": b"caf\xe9", "Name": "\u8d85 caf\u00e9"}
    daemon.methods["action"] = lambda params: answered(response=response)
    assert amid("action", "Getvar").out.splitlines() == [
        r"CallerID  \x1b]0;owned\x07\r\x9b1m\u202e", r"Odd       caf\xe9", "Name      \u8d85 caf\u00e9"
    ]  # fmt: skip


def test_the_awaited_event_is_shown(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["action"] = lambda params: answered(response={}, until={"Event": "OriginateResponse", "Reason": "4"})
    assert amid("action", "Originate").out == "\nOriginateResponse (1)\nReason  4\n"


def test_an_awaited_event_that_says_failure_is_an_exit_status(daemon: StandIn, amid: Amid) -> None:
    failure = {"Event": "OriginateResponse", "Response": "Failure"}
    daemon.methods["action"] = lambda params: answered(response={}, until=failure)
    ended = amid("action", "Originate")
    assert ended.status == 1 and "Failure" in ended.out


def test_json_is_the_result_on_one_line(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["action"] = lambda params: answered(response={"Odd": b"\xe9"})
    out = amid("action", "Ping", "--json").out
    assert out.count("\n") == 1
    assert json.loads(out) == answered(response={"Odd": "\udce9"})


def test_a_commands_output_is_plain(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["action"] = lambda params: answered(output=["one\ttwo", "", "\x1b[31mred"])
    assert amid("command", "core", "show", "channels").out == "one\ttwo\n\n\\x1b[31mred\n"
    assert daemon.asked[0]["params"]["fields"] == {"Command": "core show channels"}


def test_the_actions_are_a_table(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["actions"] = lambda params: [{"name": "Ping", "synopsis": "Keepalive command.", "privilege": "<none>"}]
    assert amid("actions").out.splitlines() == ["name  privilege  synopsis", "Ping  <none>     Keepalive command."]


def test_restart_reports_the_server(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["restart"] = lambda params: params
    assert "pbx1" in amid("restart", "pbx1").out
    assert json.loads(amid("restart", "pbx1", "--json").out) == {"server": "pbx1"}


STATUSES = {
    "action_failed": 1, "invalid_params": 2, "unknown_method": 2, "invalid_request": 2, "parse_error": 2, "timeout": 3,
    "not_connected": 4, "connection_lost": 4, "unknown_server": 4, "denied": 5, "busy": 7, "too_large": 8,
    "internal_error": 10, "cancelled": 12,
}  # fmt: skip


@pytest.mark.parametrize("kind", CODES)
def test_every_kind_of_error_has_its_exit_status(daemon: StandIn, amid: Amid, kind: str) -> None:
    daemon.methods["action"] = refuse(AmidError(kind, "what happened"))
    ended = amid("action", "Ping")
    assert ended.status == STATUSES[kind]
    assert ended.out == ""
    assert f"{kind}: what happened" in ended.err


def test_every_exit_status_is_in_the_help(amid: Amid) -> None:
    out = amid("--help").out
    assert all(f"{status.status:>3}  {status.meaning}" in out for status in EXITS)


@pytest.mark.parametrize(("sent", "words"), [(True, MAY_HAVE_RUN), (False, NEVER_SENT)])
def test_an_error_says_whether_the_action_may_have_run(daemon: StandIn, amid: Amid, sent: bool, words: str) -> None:
    daemon.methods["action"] = refuse(AmidError("timeout", "no answer in 5 s", sent=sent))
    assert words in amid("action", "Originate").err


@pytest.mark.parametrize("argv", [["status"], ["audit"], ["events"], ["actions"], ["restart", "pbx1"]], ids=" ".join)
def test_only_actions_mention_asterisk(amid: Amid, daemon: StandIn, tmp_path: Path, argv: list[str]) -> None:
    ended = amid("--run-dir", str(tmp_path), *argv)
    assert ended.status == 4 and "no amid daemon" in ended.err
    assert "Asterisk" not in ended.err
    daemon.methods |= dict.fromkeys(("status", "audit", "servers", "actions", "restart"), refuse(AmidError("timeout", "late")))
    assert "Asterisk" not in amid(*argv).err


@pytest.mark.parametrize("argv", [["action", "Ping"], ["command", "core show uptime"]], ids=" ".join)
def test_an_action_without_a_daemon_was_not_sent(amid: Amid, tmp_path: Path, argv: list[str]) -> None:
    assert NEVER_SENT in amid("--run-dir", str(tmp_path), *argv).err


def test_an_error_with_json_is_also_an_object(daemon: StandIn, amid: Amid) -> None:
    failure = AmidError("denied", "not you", server="pbx1")
    daemon.methods["action"] = refuse(failure)
    ended = amid("action", "Originate", "--json")
    assert json.loads(ended.out) == {"error": {"code": 6, "message": "not you", "data": failure.data()}}
    assert "not you" in ended.err


def test_an_empty_list_says_so(daemon: StandIn, amid: Amid) -> None:
    response = {"Response": "Success", "Message": "Channels will follow"}
    daemon.methods["action"] = lambda params: answered(response=response, complete={"Event": "CoreShowChannelsComplete"})
    assert amid("action", "CoreShowChannels").out.splitlines()[-1] == "no items"


def test_a_failed_commands_output_is_shown(daemon: StandIn, amid: Amid) -> None:
    response = {"Response": "Error", "Output": ["No such command", "\x1btry help"]}
    daemon.methods["action"] = refuse(AmidError("action_failed", "it failed", sent=True, response=response))
    assert amid("command", "nonsense").err.splitlines()[1:] == ["No such command", r"\x1btry help"]


@pytest.mark.parametrize("kind", ["timeout", "connection_lost"])
def test_the_answer_of_asterisk_is_shown_if_only_the_awaited_event_was_missing(daemon: StandIn, amid: Amid, kind: str) -> None:
    response = {"Response": "Success", "ActionID": "x", "Message": "\x1bOriginate successfully queued"}
    daemon.methods["action"] = refuse(AmidError(kind, "Newstate had not come", sent=True, response=response))
    shown = amid("action", "Originate", "--until", "Newstate").err.splitlines()
    assert MAY_HAVE_RUN in shown[1]
    assert shown[2:] == ["      Asterisk had answered:", "Response  Success", r"Message   \x1bOriginate successfully queued"]
