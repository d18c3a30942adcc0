"""`amid status`: its output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amid.cli.status import drawn, duration
from amid.client.results import Status
from tests.cli.conftest import Amid
from tests.client.standin import StandIn

PROCESSES = [
    {"name": "broker", "pid": 12, "uptime": 61.0, "restarts": 0, "last_exit": "", "problem": "cannot listen"},
    {"name": "reader pbx1", "pid": None, "uptime": 0.0, "restarts": 3, "last_exit": "killed: silent for 2 s", "problem": ""},
]


def account(daemon: StandIn) -> dict[str, Any]:
    servers = [{**daemon.server(), "counters": {"events": 7, "pings": 0}}]
    callers = [{"name": "uid:1000", "open_calls": 3}]
    daemon_wide = {"version": "0.1.0", "uptime": 3661, "counters": {"requests": 2}, "services": {}}
    return {**daemon_wide, "servers": servers, "processes": PROCESSES, "callers": callers}


def test_it_shows_servers_processes_and_counters(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["status"] = lambda params: account(daemon)
    out = amid("status").out
    assert "amid 0.1.0, up 1h 1m" in out
    shown = (
        "pbx1",
        "up",
        "22.10.0",
        "0 busy, 1 free, at most 4",
        "reader pbx1",
        "killed: silent for 2 s",
        "broker: cannot listen",
        "requests",
        "pbx1.events",
    )
    for part in (*shown, "uid:1000"):
        assert part in out
    assert "pbx1.pings" not in out


def test_json_is_the_result(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["status"] = lambda params: account(daemon)
    assert json.loads(amid("status", "--json").out) == account(daemon)


def status_with_bus(**keys: Any) -> str:
    report = {"instance": "a:/run/amid", "nats": "nats1:4222", "error": "", "owners": {}, "problems": {}, **keys}
    status: Status = {"version": "1", "uptime": 0, "servers": [], "processes": [], "services": {}, "callers": [], "counters": {}}
    return "\n".join(drawn({**status, "services": {"bus": report}}, 0.0, None))


def test_it_shows_which_amid_serves_a_pbx_on_nats() -> None:
    lines = status_with_bus(owners={"pbx1": "a:/run/amid", "pbx2": "b:/run/amid", "pbx3": ""}).splitlines()[-3:]
    assert [line.split() for line in lines] == [
        ["pbx1", "this", "amid", "nats1:4222"],
        ["pbx2", "b:/run/amid", "nats1:4222"],
        ["pbx3", "unknown", "nats1:4222"],
    ]


def test_it_shows_what_fails_on_nats_for_a_pbx() -> None:
    problems = {"pbx1": "cannot store events in NATS: maximum bytes exceeded", "pbx2": ""}
    shown = status_with_bus(owners=dict.fromkeys(problems, "a:/run/amid"), problems=problems)
    assert shown.endswith("bus, pbx1: cannot store events in NATS: maximum bytes exceeded\x1b[0m")


def test_it_shows_why_there_is_no_connection_to_nats() -> None:
    assert "bus: no connection to NATS: connection refused" in status_with_bus(nats="", error="connection refused")
    assert "bus: no connection to NATS: not connected yet" in status_with_bus(nats="")


def test_an_error_of_nats_cannot_control_the_terminal() -> None:
    """It may have the words of a server that has not authenticated itself."""
    shown = status_with_bus(nats="", error="nats: '\x1b]0;x\x07\x1b[2J Authorization Violation'")
    assert r"nats: '\x1b]0;x\x07\x1b[2J Authorization Violation'" in shown


def test_watch_requires_a_terminal(amid: Amid) -> None:
    ended = amid("status", "--watch")
    assert (ended.status, ended.out) == (2, "")
    assert "--json" in ended.err


def test_a_daemon_without_servers_is_shown() -> None:
    empty: Status = {"version": "1", "uptime": 0, "servers": [], "processes": [], "services": {}, "callers": [], "counters": {}}
    assert drawn(empty, 0.0, None)[1:] == ["", "no servers"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (7.9, "7s"), (723, "12m 3s"), (3600, "1h 0m"), (273600, "3d 4h"), (-5, "0s")]
)
def test_durations_are_formatted(seconds: float, words: str) -> None:
    assert duration(seconds) == words
