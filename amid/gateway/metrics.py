"""Prometheus metrics: the daemon's `status`, the gateway's own counters, and the live state of the
PBXs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from amid.client.results import Process, Server, State, Status
from amid.gateway.metric_texts import BROKER, GATEWAY, LISTENER, READER, text_of
from amid.gateway.pbx_metrics import asterisk_metrics, tracking_metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("up", "booting", "connecting", "rejected", "lost")
LISTENER_GAUGES = ("clients", "unauthenticated_clients", "unread_bytes")
"""Members of the listener's report that are not counters."""


class StatusCollector(Collector):
    """The metrics of one scrape. status: result of the method `status`, None if the daemon did not
    answer. own: the gateway's counters. states: live state of each server that is up. now: Unix time
    in seconds."""

    def __init__(self, status: Status | None, own: dict[str, float], states: list[State], now: float) -> None:
        self._status = status
        self._own = own
        self._states = states
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("amid_broker_up", "1 if the broker answered this scrape.", float(self._status is not None))
        for name, value in self._own.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield kind(f"amid_gateway_{name.removesuffix('_total')}", text_of(GATEWAY, name), value)
        if self._status is not None:
            yield from _daemon(self._status)
            yield from _servers(self._status["servers"])
            yield from _processes(self._status["processes"])
            yield from tracking_metrics(self._status["services"].get("state", {}))
            yield from _listener(self._status["services"].get("listener", {}))
        yield from asterisk_metrics(self._states, self._now)


def text(status: Status | None, own: dict[str, float], states: list[State], now: float) -> bytes:
    registry = CollectorRegistry()
    registry.register(StatusCollector(status, own, states, now))
    return generate_latest(registry)


def _daemon(status: Status) -> Iterator[Metric]:
    yield GaugeMetricFamily("amid_uptime_seconds", "Seconds since amid was started.", status["uptime"])
    answers = CounterMetricFamily(
        "amid_answers", "Calls that were answered, by outcome: ok, or the kind of the error.", labels=["kind"]
    )
    for name, value in sorted(status["counters"].items()):
        if name.startswith("answers_"):
            answers.add_metric([name.removeprefix("answers_")], value)
        else:
            kind = GaugeMetricFamily if name == "open_calls" else CounterMetricFamily
            yield kind(f"amid_{name}", text_of(BROKER, name), value)
    yield answers
    callers = GaugeMetricFamily(
        "amid_caller_open_calls", "Open calls of a caller, for the 50 callers with the most.", labels=["caller"]
    )
    for caller in status["callers"]:
        callers.add_metric([caller["name"]], caller["open_calls"])
    yield callers


def _servers(servers: list[Server]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "amid_server_state", "1 for the current state of the server, 0 for all others.", labels=["server", "state"]
    )
    seq = GaugeMetricFamily("amid_server_seq", "Sequence number of the last event in the current epoch.", labels=["server"])
    epoch = GaugeMetricFamily("amid_server_epoch", "Number of the current event session; it only grows.", labels=["server"])
    queued = GaugeMetricFamily("amid_server_queued", "Calls that wait for a lane of the server.", labels=["server"])
    lanes = GaugeMetricFamily("amid_server_lanes", "Open action sessions (lanes), by use: free or busy.", labels=["server", "use"])
    counters: dict[str, CounterMetricFamily] = {}
    for server in servers:
        name = server["name"]
        for one in STATES:
            state.add_metric([name, one], float(server["state"] == one))
        seq.add_metric([name], server["seq"])
        epoch.add_metric([name], server["epoch"])
        queued.add_metric([name], server["queued"])
        for use in ("free", "busy"):
            lanes.add_metric([name, use], server["lanes"][use])
        for counter, value in sorted(server["counters"].items()):
            made = CounterMetricFamily(f"amid_server_{counter}", text_of(READER, counter), labels=["server"])
            counters.setdefault(counter, made).add_metric([name], value)
    yield from (state, seq, epoch, queued, lanes, *counters.values())


def _processes(processes: list[Process]) -> Iterator[Metric]:
    uptime = GaugeMetricFamily("amid_process_uptime_seconds", "Seconds since the process was started.", labels=["process"])
    restarts = CounterMetricFamily(
        "amid_process_restarts", "How often the process was replaced since amid was started.", labels=["process"]
    )
    problem = GaugeMetricFamily(
        "amid_process_problem", "1 if the process reports a problem, which `amid status` shows.", labels=["process"]
    )
    for process in processes:
        problem.add_metric([process["name"]], float(bool(process["problem"])))
        uptime.add_metric([process["name"]], process["uptime"])
        restarts.add_metric([process["name"]], process["restarts"])
    yield from (uptime, restarts, problem)


def _listener(report: dict[str, Any]) -> Iterator[Metric]:
    """report: of the AMI listener, empty if there is none."""
    for name, value in report.items():
        kind = GaugeMetricFamily if name in LISTENER_GAUGES else CounterMetricFamily
        yield kind(f"amid_listener_{name}", text_of(LISTENER, name), value)
