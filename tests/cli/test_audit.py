"""`amid audit`."""

from __future__ import annotations

import json
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
    assert "crm (key:crm): action Originate (1@secret\\x1b[31m) on pbx1: denied, 0.000 s; 2 before it were left out" in first
    assert "action Ping" in second and "ok" in second


def test_denied_ones_alone_and_json(daemon: StandIn, amid: Amid) -> None:
    daemon.methods["audit"] = answer
    assert [json.loads(line) for line in amid("audit", "--denied", "--json").out.splitlines()] == [RECORD]
