"""`amid events`: lines, conditions, JSON, and gaps with what can be had again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amid.cli.events import Where, line
from amid.cli.text import time_of_day
from amid.client.feed import event
from tests.cli.conftest import Amid
from tests.client.standin import StandIn, body


def publishing(daemon: StandIn, *events: dict[str, Any]) -> None:
    """Publish these once, right after the next subscription has its first tick."""
    tick = daemon.tick

    def then(epoch: int = 1) -> None:
        tick(epoch)
        daemon.publish(*events)

    daemon.tick = then  # type: ignore[method-assign]


def test_an_event_is_a_line() -> None:
    shown = line(event(body(1, Channel="PJSIP/1", CallerIDName='Bob "B" Smith', Empty="", Esc="\x1b[2J", Variable=["a", "b"])))
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
def test_times_do_not_go_back(seconds: float, digits: int, shown: str) -> None:
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
def test_conditions(condition: str, met: bool) -> None:
    got = event(body(1, Channel="PJSIP/1", Variable=["a", "b"], Odd=b"\xe9", Data="a~b"))
    assert Where().convert(condition, None, None).meets(got.fields) is met


@pytest.mark.parametrize("condition", ["Channel", "=x", "~x"])
def test_a_malformed_condition_is_a_usage_error(amid: Amid, condition: str) -> None:
    ended = amid("events", "--where", condition)
    assert ended.status == 2
    assert "NAME=VALUE" in ended.err


def test_it_ends_after_count_events_that_meet_the_conditions(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, Channel="a"), body(2, Channel="b"), body(3, Channel="a"), body(4, Channel="a"))
    ended = amid("events", "Hangup", "--where", "Channel=a", "--count", "2", "--json")
    assert ended.status == 0
    assert [json.loads(text)["seq"] for text in ended.out.splitlines()] == [1, 3]


def test_json_is_the_event_as_it_was_published(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, Odd=b"\xe9"))
    assert json.loads(amid("events", "--count", "1", "--json").out) == body(1, Odd="\udce9")


def test_what_the_daemon_holds_comes_where_it_was_lost(daemon: StandIn, amid: Amid) -> None:
    daemon.held = [body(2), body(3)]
    publishing(daemon, body(4))
    lines = [json.loads(text) for text in amid("events", "--count", "3", "--json").out.splitlines()]
    gap = {"server": "pbx1", "epoch": 1, "after": 0, "until": 1, "missed": 1, "reason": "lost", "event": None}
    assert lines[0] == {"gap": gap}
    assert [text["seq"] for text in lines[1:]] == [2, 3, 4]


def test_of_some_names_only_those_come(daemon: StandIn, amid: Amid) -> None:
    daemon.held = [body(1, "Newstate", 1), body(2, "Hangup", 1), body(3, "VarSet", 1)]
    publishing(daemon, body(4, "Hangup", 2))
    lines = [json.loads(text) for text in amid("events", "Hangup", "--count", "2", "--json").out.splitlines()]
    assert [text["seq"] for text in lines] == [2, 4]


def test_a_gap_is_a_line(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(4))
    first, second = amid("events", "--count", "1").out.splitlines()
    assert first == "!!!! GAP pbx1: 3 events missing after number 0: lost"
    assert "Hangup" in second


def test_a_new_epoch_is_a_gap_without_a_number(daemon: StandIn, amid: Amid) -> None:
    publishing(daemon, body(1, epoch=2))
    assert "!!!! GAP pbx1: events may be missing" in amid("events", "--count", "1").out
