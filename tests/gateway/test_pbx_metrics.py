"""Metrics of the PBXs: their values, and that callers cannot create series."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from amid.client.results import State
from amid.gateway import pbx_metrics
from amid.state.queues import MEMBER_STATUS
from tests.daemon import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.test_metrics import scraped

DASHBOARD = Path(__file__).parents[2] / "etc" / "grafana" / "amid.json"
REPORT = {"exact": True, "corrections": 0, "gaps": 1, "event_lag": 0.002}
NOW = 100.0


def state(**kinds: list[dict[str, Any]]) -> State:
    return cast("State", {"server": "pbx1", **{kind: [] for kind in pbx_metrics.KINDS}, **kinds})


def samples(*states: State) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = list(pbx_metrics.asterisk_metrics(states, NOW))
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def queue(name: Any) -> dict[str, Any]:
    return {"name": name, "completed": 5, "abandoned": 4}


def test_metrics_of_a_queue() -> None:
    members = [
        {"queue": "support", "status": "not in use", "paused": False},
        {"queue": "support", "status": "not in use", "paused": True},
    ]
    callers = [{"queue": "support", "since": 60.0}, {"queue": "support", "since": 90.0}]
    found = samples(state(queues=[queue("support")], members=members, callers=callers))
    of = (("queue", "support"), ("server", "pbx1"))
    assert found["asterisk_queue_waiting", of] == 2
    assert found["asterisk_queue_longest_wait_seconds", of] == 40.0
    assert found["asterisk_queue_completed_total", of] == 5 and found["asterisk_queue_abandoned_total", of] == 4
    paused = (("paused", "true"), ("queue", "support"), ("server", "pbx1"), ("status", "not in use"))
    assert found["asterisk_queue_members", paused] == 1


def test_channels_are_counted_by_state_and_technology() -> None:
    channels = [{"name": f"PJSIP/{number}-1", "state": "Up"} for number in range(3)]
    found = samples(state(channels=channels, calls=[{"talking": True}, {"talking": False}]))
    assert found["asterisk_channels", (("server", "pbx1"), ("state", "Up"), ("tech", "PJSIP"))] == 3
    assert found["asterisk_calls", (("server", "pbx1"), ("talking", "true"))] == 1


TEXT = st.one_of(st.text(max_size=20), st.binary(max_size=20))


@given(st.lists(st.fixed_dictionaries({"name": TEXT, "state": TEXT, "status": TEXT}), max_size=50))
def test_callers_cannot_create_series(things: list[dict[str, Any]]) -> None:
    channels = [{**one, "name": one["name"] if isinstance(one["name"], str) else one["name"].decode("latin-1")} for one in things]
    members = [{"queue": "support", "status": one["status"], "paused": False} for one in things]
    found = samples(state(channels=channels, queues=[queue("support")], members=members, contacts=things, registrations=things))
    known = {*pbx_metrics.TECHNOLOGIES, *pbx_metrics.CHANNEL_STATES, *MEMBER_STATUS, *pbx_metrics.CONTACT_STATES}
    known |= {*pbx_metrics.REGISTRATION_STATES, pbx_metrics.OTHER, "pbx1", "support", "true", "false"}
    assert {value for _, labels in found for _, value in labels} <= known


def test_the_number_of_series_is_bounded() -> None:
    few = len(samples(state(queues=[queue(f"q{number:05}") for number in range(pbx_metrics.MAX_QUEUES)])))
    found = samples(state(queues=[queue(f"q{number:05}") for number in range(5000)]))
    assert len(found) == few
    assert found["asterisk_queues_left_out", (("server", "pbx1"),)] == 5000 - pbx_metrics.MAX_QUEUES


def test_a_scrape_has_metrics_of_the_pbx(gateway: Gateway) -> None:
    of = (("queue", "support"), ("server", "pbx1"))
    eventually(lambda: ("asterisk_queue_waiting", of) in scraped(gateway), "the state is loaded")
    eventually(lambda: ("amid_state_exact", (("server", "pbx1"),)) in scraped(gateway), "the process `state` reports")


def test_a_token_without_the_state_gets_only_metrics_of_amid(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        text = http.get("/metrics").text
    assert "amid_broker_up 1.0" in text and "asterisk_queue_waiting{" not in text


def test_the_dashboard_uses_existing_metrics(gateway: Gateway) -> None:
    """Its data source is a variable, so that it can be imported unchanged."""
    dashboard = json.loads(DASHBOARD.read_text())
    text = json.dumps(dashboard)
    with gateway.http as http:
        existing = set(re.findall(r"^# TYPE (\w+) ", http.get("/metrics").text, re.MULTILINE))
    asked = set(
        re.findall(r"\b(?:amid|asterisk)_[a-z_]+", " ".join(re.findall(r'"(?:expr|definition)": "((?:[^"\\]|\\.)*)"', text)))
    )
    assert asked and asked <= existing, asked - existing
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${datasource}", "amid-asterisk"}


def test_metrics_of_tracking_the_state() -> None:
    families: list[Metric] = list(pbx_metrics.tracking_metrics({"pbx1": REPORT, "pbx2": {**REPORT, "event_lag": None}}))
    found = {(one.name, one.labels["server"]): one.value for family in families for one in family.samples}
    assert found["amid_event_lag_seconds", "pbx1"] == 0.002 and ("amid_event_lag_seconds", "pbx2") not in found
    assert found["amid_state_gaps_total", "pbx1"] == 1
