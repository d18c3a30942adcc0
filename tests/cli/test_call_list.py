"""`amid calls`: the current calls, or with a filter the recorded ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amid.cli.when import parse
from tests.cli.conftest import Amid
from tests.client.standin import StandIn

RECORDED = {
    "server": "pbx1", "linkedid": "1795786966.0", "joined": [], "began": 0.0, "ended": 12.0, "who": "Alice (100)", "whom": "",
    "dialled": "300", "queue": "support", "agent": "", "outcome": "abandoned", "waited": 12.0, "talked": 0.0, "ended_by": "caller",
    "cause": 16, "cause_text": "Normal Clearing", "numbers": ["100"], "late": False, "channels": 1, "events": 9,
}  # fmt: skip


def test_without_a_filter_the_current_calls_are_shown(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["state"] = lambda params: {"exact": True, "detail": "", "calls": [], "callers": [], "channels": []}
    assert "no calls" in amid("calls").out


def test_with_a_filter_recorded_calls_are_shown(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["calls"] = lambda params: {"server": "pbx1", "calls": [RECORDED], "more": True}
    ended = amid("calls", "--lost", "--queue", "support", "--limit", "1")
    assert daemon.asked[0]["params"] == {"queue": "support", "lost": True, "limit": 1, "timeout": 5.0}
    assert "Alice (100)" in ended.out and "abandoned" in ended.out and "more calls" in ended.err
    assert json.loads(amid("calls", "--lost", "--json").out) == RECORDED


def test_a_call_that_began_before_the_recording_is_marked(daemon: StandIn, amid: Amid) -> None:
    late = {**RECORDED, "late": True}
    daemon.methods["calls"] = lambda params: {"server": "pbx1", "calls": [RECORDED, late], "more": False}
    daemon.methods["call"] = lambda params: {"server": "pbx1", "call": late, "ladder": []}
    _, whole, marked = amid("calls", "--lost").out.splitlines()
    assert marked.startswith("before ") and " 12+ " in marked and "before" not in whole and " 12 " in whole
    assert "before 1" in (title := amid("call", "1.1").out) and "more than 12 s" in title


def test_a_name_in_place_of_a_number_is_explained(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["calls"] = lambda params: {"server": "pbx1", "calls": [], "more": False}
    assert "use --name" in amid("calls", "--number", "Alice").err
    assert amid("calls", "--number", "100").err == amid("calls", "--lost").err == ""


@pytest.mark.parametrize(("option", "listed_by"), [("--queue", "`amid queues`"), ("--agent", "`amid queues NAME`")])
def test_a_name_in_no_recorded_call_is_reported(daemon: StandIn, amid: Amid, option: str, listed_by: str) -> None:
    kind = option.removeprefix("--")

    def found(params: dict[str, Any]) -> dict[str, Any]:
        matches = params[kind] == "support" and "since" not in params
        return {"server": "pbx1", "calls": [RECORDED] if matches else [], "more": False}

    daemon.methods["calls"] = found
    ended = amid("calls", "--since", "1h", option, "suport")
    assert ended.out == "no calls\n" and f"no recorded call has the {kind} suport; {listed_by} lists" in ended.err
    ended = amid("calls", "--since", "1h", option, "support")
    assert ended.out == "no calls\n" and ended.err == ""


def test_an_incomplete_list_is_reported_with_json_too(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["calls"] = lambda params: {"server": "pbx1", "calls": [], "more": True, "unreadable": ["a.db: damaged"]}
    for options in ([], ["--json"]):
        ended = amid("calls", "--lost", *options)
        assert "there are more calls" in ended.err and "a.db" in ended.err


def test_recorded_calls_cannot_be_watched(daemon: StandIn, amid: Amid) -> None:
    ended = amid("calls", "--watch", "--lost")
    assert ended.status == 2 and "takes no filter" in ended.err
    assert daemon.asked == []


def test_an_empty_time_is_refused(daemon: StandIn, amid: Amid) -> None:
    ended = amid("calls", "--since", "06:03", "--until", "05:00")
    assert ended.status == 2 and "--since is later than --until" in ended.err
    assert daemon.asked == []


def test_a_call_that_was_not_recorded_is_named(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["call"] = lambda params: {"server": "pbx1", "call": None, "ladder": []}
    assert "no call 1.1 was recorded" in amid("call", "1.1").err
    assert "no call of 5551234 was recorded" in amid("call", "--number", "5551234").err
    at_a_time = amid("call", "--number", "5551234", "--at", "2026-11-27 14:03")
    assert "no call of 5551234 within 12 hours of 2026-11-27 14:03:00 was recorded" in at_a_time.err


def test_a_current_call_is_in_progress(daemon: StandIn, amid: Amid) -> None:
    parties = {"who": "CRM (100)", "whom": "", "dialled": "200", "queue": "", "outcome": "answered", "ended_by": ""}
    call = {**parties, "linkedid": "1.1", "began": 0.0, "late": False, "ended": None}
    daemon.methods["call"] = lambda params: {"server": "pbx1", "call": call, "ladder": []}
    daemon.methods["calls"] = lambda params: {"server": "pbx1", "calls": [call], "more": False}
    assert amid("call", "1.1").out.splitlines()[0].endswith(", in progress")
    assert "in progress" in amid("calls", "--since", "today").out


def test_a_call_without_a_callee_has_no_arrow(daemon: StandIn, amid: Amid) -> None:
    numbers = {"linkedid": "1.1", "began": 0.0, "late": False, "ended": 5.0, "outcome": "answered", "ended_by": "pbx"}
    call = {**numbers, "who": "CRM (100)", "whom": "", "dialled": ""}
    daemon.methods["call"] = lambda params: {"server": "pbx1", "call": call, "ladder": []}
    assert amid("call", "1.1").out.startswith("CRM (100)  ")


@pytest.mark.parametrize(
    ("at", "away"), [("12:00:30", ""), ("11:59:30", ""), ("12:05:40", ""), ("8:48", "3h 12m later"), ("14:05", "2h 0m earlier")]
)
def test_how_far_the_nearest_call_is_from_a_time_is_reported(daemon: StandIn, amid: Amid, at: str, away: str) -> None:
    began = parse("2026-11-27 12:00", 0.0)
    found = {**RECORDED, "began": began, "ended": began + 300}
    daemon.methods["call"] = lambda params: {"server": "pbx1", "call": found, "ladder": []}
    ended = amid("call", "--number", "100", "--at", f"2026-11-27 {at}")
    assert ended.status == 0 and "Alice (100)" in ended.out
    assert ended.err.strip().endswith(f"this is the nearest one, {away}" if away else ""), ended.err
    assert bool(ended.err) == bool(away)
