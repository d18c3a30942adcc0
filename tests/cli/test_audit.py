"""`amid audit`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Amid
from tests.client.standin import StandIn

RECORD = {
    "seq": 1, "time": 1.8e9, "caller": "crm", "principal": "key:crm", "method": "action", "action": "Originate", "server": "pbx1",
    "target": "1@secret\x1b[31m", "outcome": "denied", "sent": False, "elapsed": 0.0, "left_out": 2,
}  # fmt: skip


def answer(params: dict[str, Any]) -> dict[str, Any]:
    records = [RECORD, {**RECORD, "seq": 2, "action": "Ping", "outcome": "ok"}]
    return {"records": [one for one in records if one["seq"] > params["after"]][:1], "seq": 2, "left_out": 2}


def test_it_shows_all_records_page_by_page(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["audit"] = answer
    first, second = amid("audit").out.splitlines()
    assert "crm (key:crm): action Originate (1@secret\\x1b[31m) on pbx1: denied, 0.000 s; 2 records before it were dropped" in first
    assert "action Ping" in second and "ok" in second


def page(*records: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the daemon answers that has these."""
    return lambda params: {"records": [one for one in records if one["seq"] > params["after"]], "seq": len(records), "left_out": 0}


def test_the_outcome_of_a_call_is_shown(daemon: StandIn, amid: Amid) -> None:
    ends = [("timeout", True), ("not_connected", False), ("ok", True)]
    daemon.methods["audit"] = page(*({**RECORD, "seq": n, "outcome": o, "sent": s} for n, (o, s) in enumerate(ends, 1)))
    late, away, well = amid("audit").out.splitlines()
    assert "timeout (sent to Asterisk), 0.000 s" in late
    assert "not_connected (not sent to Asterisk), 0.000 s" in away
    assert ": ok, 0.000 s" in well


def test_no_records_are_reported_on_stderr(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["audit"] = page()
    ended = amid("audit")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith("amid: no records yet") and '"all"' in ended.err


def test_no_denied_records_are_reported_on_stderr(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["audit"] = page({**RECORD, "seq": 1, "outcome": "ok"})
    ended = amid("audit", "--denied")
    assert (ended.status, ended.out) == (0, "")
    assert ended.err.startswith("amid: no records of denied requests")


def test_denied_records_only_and_json(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["audit"] = answer
    assert [json.loads(line) for line in amid("audit", "--denied", "--json").out.splitlines()] == [RECORD]
