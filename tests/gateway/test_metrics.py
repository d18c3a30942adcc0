"""The metrics can be parsed by Prometheus' own parser and equal the daemon's status."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from amid.client.results import Process, Status
from amid.gateway.metric_texts import BROKER, LISTENER, READER
from amid.gateway.metrics import LISTENER_GAUGES, text
from amid.listener.listener import COUNTERS
from tests.daemon import eventually
from tests.gateway.conftest import Gateway
from tests.processes.caller import Caller


def scraped(gateway: Gateway) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with gateway.http as http:
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def test_metrics_equal_the_status(gateway: Gateway) -> None:
    gateway.daemon.action("Ping", server="pbx1")
    eventually(lambda: scraped(gateway)["amid_server_calls_total", (("server", "pbx1"),)] > 0, "the call is counted")
    samples = scraped(gateway)
    assert samples["amid_broker_up", ()] == 1
    assert samples["amid_server_state", (("server", "pbx1"), ("state", "up"))] == 1
    assert samples["amid_server_state", (("server", "away"), ("state", "up"))] == 0
    assert samples["amid_process_restarts_total", (("process", "broker"),)] == 0
    assert samples["amid_answers_total", (("kind", "ok"),)] > 0


def counters_in(*packages: str) -> set[str]:
    """The names of the counters in the source of these packages."""
    source = "".join(file.read_text() for package in packages for file in Path("amid", package).glob("*.py"))
    return set(re.findall(r'counters\["(\w+)"\]', source))


def test_every_counter_has_a_text(gateway: Gateway) -> None:
    assert counters_in("broker", "process") <= BROKER.keys()
    assert counters_in("reader", "process") <= READER.keys()
    assert set(COUNTERS) | set(LISTENER_GAUGES) == LISTENER.keys()
    with gateway.http as http:
        texts = re.findall(r"^# HELP \S+ (.*)$", http.get("/metrics").text, re.MULTILINE)
    assert len(texts) > 30 and not [text for text in texts if "The counter" in text or not text.endswith(".")]


def test_metrics_show_a_problem_of_a_process() -> None:
    processes = [
        Process(name=name, pid=1, uptime=1.0, restarts=0, last_exit="", problem=problem)
        for name, problem in (("broker", "cannot listen on tcp://*:5560"), ("bus", ""))
    ]
    status = Status(version="1", uptime=0, servers=[], processes=processes, services={}, callers=[], counters={})
    families = {family.name: family for family in text_string_to_metric_families(text(status, {}, [], 0.0).decode())}
    samples = families["amid_process_problem"].samples
    assert [(sample.labels["process"], sample.value) for sample in samples] == [("broker", 1), ("bus", 0)]


def test_metrics_of_the_listener() -> None:
    report = {"clients": 2, "failed_logins": 3}
    status: Status = {
        "version": "1", "uptime": 0, "servers": [], "processes": [], "services": {"listener": report},
        "callers": [], "counters": {},
    }  # fmt: skip
    families = {family.name: family for family in text_string_to_metric_families(text(status, {}, [], 0.0).decode())}
    clients, failed = families["amid_listener_clients"], families["amid_listener_failed_logins"]
    assert (clients.type, clients.samples[0].value) == ("gauge", 2)
    assert (failed.type, failed.samples[0].name, failed.samples[0].value) == ("counter", "amid_listener_failed_logins_total", 3)


def test_metrics_show_open_calls_of_callers(gateway: Gateway) -> None:
    with Caller(gateway.daemon, "crm") as caller:
        waiting = {"action": "UserEvent", "fields": {"UserEvent": "X"}, "server": "pbx1", "until": "NeverComes", "timeout": 60}
        caller.send("action", waiting)
        eventually(lambda: scraped(gateway)["amid_caller_open_calls", (("caller", "token:crm"),)] == 1, "its call is open")


def test_metrics_show_a_silent_broker(own_gateway: Gateway) -> None:
    own_gateway.daemon.kill("broker")
    assert scraped(own_gateway)["amid_gateway_requests_total", ()] > 0, "the gateway's own counters are there all the same"
