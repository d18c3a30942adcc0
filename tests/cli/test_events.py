"""`amid events`: lines, conditions, JSON, and gaps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amid.cli.events import Where, line
from amid.cli.text import time_of_day
from amid.client.event import as_event
from amid.client.results import EventBody
from tests.cli.conftest import Amid
from tests.client.standin import StandIn, body


def publishing(daemon: StandIn, *events: EventBody) -> None:
    """Publish these events once a client waits with a cursor."""

    def pull(params: dict[str, Any]) -> Any:
        if params.get("after") is not None and daemon.methods["events"] is pull:
            daemon.methods["events"] = daemon.pull
            daemon.publish(*events)
        return daemon.pull(params)

    daemon.methods["events"] = pull


def test_an_event_is_a_line() -> None:
    shown = line(as_event(body(1, Channel="PJSIP/1", CallerIDName='Bob "B" Smith', Empty="", Esc="\x1b[2J", Variable=["a", "b"])))
    assert "250" in shown and "pbx1" in shown and "Hangup" in shown
    assert "\x1b[2J" not in shown
    plain = shown.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain.endswith(r'Channel=PJSIP/1 CallerIDName="Bob \"B\" Smith" Empty="" Esc=\x1b[2J Variable=a Variable=b')


@pytest.mark.parametrize(
    ("seconds", "digits", "shown"),
    [
        (1000.9996, 3, "40.999"),
        (1000.123, 3, "40.123"),
        (1000.0, 3, "40.000"),
        (1000.9999999, 6, "41.000000"),
        (1795388072.85, 6, ".850000"),
    ],
)
def test_times_never_go_back(seconds: float, digits: int, shown: str) -> None:
    """16:40.9996 was shown as 16:40.000."""
    assert time_of_day(seconds, digits).endswith(shown)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("Channel=PJSIP/1", True), ("channel=PJSIP/1", True), ("Channel=PJSIP", False), ("Channel~PJSIP", True),
        ("Channel~=", False), ("Variable=b", True), ("Variable~c", False), ("Absent=", False), ("Odd=\udce9", True),
        ("Data=a~b", True), ("Data~=", False),
    ],
)  # fmt: skip
def test_conditions_select_events(condition: str, met: bool) -> None:
    got = as_event(body(1, Channel="PJSIP/1", Variable=["a", "b"], Odd=b"\xe9", Data="a~b"))
    assert Where().convert(condition, None, None).meets(got.fields) is met


@pytest.mark.parametrize("condition", ["Channel", "=x", "~x"])
def test_a_malformed_condition_is_a_usage_error(amid: Amid, condition: str) -> None:
    ended = amid("events", "--where", condition)
    assert ended.status == 2
    assert "NAME=VALUE" in ended.err


def test_it_ends_after_count_matching_events(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, Channel="a"), body(2, Channel="b"), body(3, Channel="a"), body(4, Channel="a"))
    ended = amid("events", "Hangup", "--where", "Channel=a", "--count", "2", "--json")
    assert ended.status == 0
    assert [json.loads(text)["seq"] for text in ended.out.splitlines()] == [1, 3]


def test_json_is_the_event_as_it_was_published(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, Odd=b"\xe9"))
    assert json.loads(amid("events", "--count", "1", "--json").out) == body(1, Odd="\udce9")


def test_a_gap_is_a_json_object(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(2), body(3), body(4))
    lines = [json.loads(text) for text in amid("events", "--count", "3", "--json").out.splitlines()]
    assert lines[0] == {"gap": {"server": "pbx1", "epoch": 1, "after": 0, "missed": 1}}
    assert [text["seq"] for text in lines[1:]] == [2, 3, 4]


def test_events_are_selected_by_name(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, "Newstate"), body(2, "Hangup"), body(3, "VarSet"), body(4, "Hangup"))
    lines = [json.loads(text) for text in amid("events", "Hangup", "--count", "2", "--json").out.splitlines()]
    assert [text["seq"] for text in lines] == [2, 4]


@pytest.mark.parametrize(
    ("name", "note"),
    [("hangup", ""), ("Hangups", "amid: did you mean 'Hangup'? Waiting for 'Hangups'"), ("Hang*", "no wildcards"), ("Own", "")],
)
def test_a_name_that_may_never_come_is_noted(daemon: StandIn, amid: Amid, name: str, note: str) -> None:
    publishing(daemon, body(1, "Hangup"))
    said = amid("events", "Hangup", name, "--count", "1").err
    assert note in said if note else said == ""


def test_a_gap_is_a_line(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(4))
    first, second = amid("events", "--count", "1").out.splitlines()
    assert first == "!!!! GAP pbx1: 3 events missing after number 0: the daemon no longer holds them"
    assert "Hangup" in second


def test_a_new_epoch_is_a_gap_without_a_number(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, epoch=2))
    assert "!!!! GAP pbx1: events may be missing" in amid("events", "--count", "1").out
