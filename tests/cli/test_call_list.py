"""`amid calls`: the current calls, or with a filter the recorded ones."""

from __future__ import annotations

import json

from tests.cli.conftest import Amid
from tests.client.standin import StandIn

RECORDED = {
    "server": "pbx1", "linkedid": "1795786966.0", "joined": [], "began": 0.0, "ended": 12.0, "who": "Alice (100)", "whom": "",
    "dialled": "300", "queue": "support", "agent": "", "outcome": "abandoned", "waited": 12.0, "talked": 0.0, "ended_by": "caller",
    "cause": 16, "cause_text": "Normal Clearing", "numbers": ["100"], "channels": 1, "events": 9,
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


def test_recorded_calls_cannot_be_watched(daemon: StandIn, amid: Amid) -> None:
    ended = amid("calls", "--watch", "--lost")
    assert ended.status == 2 and "takes no filter" in ended.err
    assert daemon.asked == []
