"""Calls over HTTP: the same answers as over ZeroMQ, and a status for each kind of error."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from amid.errors import CODES
from amid.gateway.calls import STATUSES
from tests.daemon import eventually
from tests.gateway.conftest import Gateway
from tests.processes.pbx import arm


def rpc(gateway: Gateway, method: str, name: str = "operator", **params: Any) -> tuple[int, Any]:
    with gateway.as_(name) as http:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        answer = http.post("/rpc", content=json.dumps(request))
        return answer.status_code, answer.json()


def test_every_kind_of_error_has_an_http_status() -> None:
    assert set(STATUSES) == set(CODES) | {"unreachable"}
    assert all(400 <= status < 600 for status in STATUSES.values())


def test_a_call_and_its_answer(gateway: Gateway) -> None:
    status, reply = rpc(gateway, "action", action="QueueStatus", server="pbx1", fields={"Queue": "support", "ActionID": "mine"})
    assert status == 200 and reply["id"] == 7
    assert reply["result"]["response"]["ActionID"] == "mine" and reply["result"]["complete"]["EventList"] == "Complete"


def test_invalid_utf8_survives_in_both_directions(gateway: Gateway) -> None:
    rpc(gateway, "action", action="Setvar", server="pbx1", fields={"Variable": "ODD", "Value": "Gr\udcfc\udcdfe"})
    _, reply = rpc(gateway, "action", action="Getvar", server="pbx1", fields={"Variable": "ODD"})
    assert reply["result"]["response"]["Value"] == "Gr\udcfc\udcdfe"


@pytest.mark.parametrize(
    ("method", "params", "status", "kind", "sent"),
    [
        ("nonsense", {}, 404, "unknown_method", False),
        ("action", {"action": "Ping", "server": "pbx1", "fields": {"X": "a\r\nb"}}, 400, "invalid_params", False),
        ("action", {"action": "Hangup", "server": "pbx1", "fields": {"Channel": "x"}}, 422, "action_failed", True),
        ("action", {"action": "WaitEvent", "server": "pbx1", "timeout": 0.2, "fields": {"Timeout": 5}}, 504, "timeout", True),
        ("action", {"action": "Ping", "server": "away"}, 503, "not_connected", False),
        ("action", {"action": "ModuleLoad", "server": "pbx2"}, 403, "denied", False),
        ("action", {"action": "Ping", "server": "pbx9"}, 404, "unknown_server", False),
        ("replay", {"server": "pbx1", "epoch": 1, "after": 0}, 404, "unknown_method", False),
        ("events", {"server": "pbx1", "after": {"epoch": 1}}, 400, "invalid_params", False),
        ("events", {"server": "pbx9"}, 404, "unknown_server", False),
    ],
)
def test_an_error_has_its_status_and_the_same_data(
    gateway: Gateway, method: str, params: dict[str, Any], status: int, kind: str, sent: bool
) -> None:
    answered, reply = rpc(gateway, method, **params)
    assert (answered, reply["error"]["data"]["kind"], reply["error"]["data"]["sent"]) == (status, kind, sent)
    over_zeromq = gateway.daemon.request(method, params)["error"]
    assert reply["error"]["code"] == over_zeromq["code"] and reply["error"]["data"].keys() == over_zeromq["data"].keys()


def test_a_batch_is_answered_in_order(gateway: Gateway) -> None:
    asked = [{"id": 1, "method": "ping"}, {"id": 2, "method": "nonsense"}, 5, {"id": 3, "method": "ping"}]
    with gateway.http as http:
        answer = http.post("/rpc", json=asked)
    assert answer.status_code == 200 and [reply["id"] for reply in answer.json()] == [1, 2, None, 3]
    assert answer.json()[2]["error"]["data"]["kind"] == "invalid_request"


def test_responses_do_not_wait_for_acknowledgements(gateway: Gateway) -> None:
    """With Nagle's algorithm the body of a response waits 40 ms for the client's delayed
    acknowledgement of its head."""

    def seconds() -> float:
        began = time.monotonic()
        http.get("/v1/servers").raise_for_status()
        return time.monotonic() - began

    with gateway.http as http:
        assert statistics.median(seconds() for _ in range(50)) < 0.03


@pytest.mark.parametrize("batch", [[], [{"method": "ping"}] * 101], ids=["empty", "too long"])
def test_an_empty_or_too_long_batch_is_refused(gateway: Gateway, batch: list[Any]) -> None:
    with gateway.http as http:
        answer = http.post("/rpc", json=batch)
    assert (answer.status_code, answer.json()["error"]["data"]["kind"]) == (400, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"{", b"\x81\xa6method\xa4ping", b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_not_json_is_refused(gateway: Gateway, body: bytes) -> None:
    with gateway.http as http:
        answer = http.post("/rpc", content=body)
    assert answer.status_code in (400, 413)
    if answer.status_code == 400:
        assert answer.json()["error"]["data"]["kind"] == "parse_error" and answer.json()["id"] is None


def test_a_too_large_body_is_refused(gateway: Gateway) -> None:
    with gateway.http as http:
        answer = http.post("/rpc", content=b" " * 70_000)
    assert answer.status_code == 413 and "max_body_bytes" in answer.json()["error"]


@pytest.mark.parametrize(
    "how",
    [
        {"data": {"Queue": "support"}},
        {"json": {"Queue": "support"}},
        {"content": b"", "params": {"timeout": "2.5"}},
    ],
    ids=["form", "json", "nothing"],
)
def test_an_action_with_a_form_body(gateway: Gateway, how: dict[str, Any]) -> None:
    with gateway.http as http:
        answer = http.post("/v1/servers/pbx1/actions/QueueStatus", **how)
    assert answer.status_code == 200 and answer.json()["response"]["Response"] == "Success"


def test_a_form_may_repeat_a_field_and_hold_any_bytes(gateway: Gateway) -> None:
    with gateway.http as http, http.stream("GET", "/v1/events?server=pbx1&event=UserEvent") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        with gateway.http as other:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            body = b"UserEvent=Form&Variable=A%3D1&Variable=B%3D2&Odd=Gr%FC"
            other.post("/v1/servers/pbx1/actions/UserEvent", content=body, headers=headers)
        event = json.loads(next(line for line in lines if line.startswith("data: "))[6:])
    assert event["fields"]["Variable"] == ["A=1", "B=2"] and event["fields"]["Odd"] == "Gr\udcfc"


def test_an_error_of_an_action_path_is_the_error_object(gateway: Gateway) -> None:
    with gateway.http as http:
        answer = http.post("/v1/servers/pbx1/actions/Hangup", data={"Channel": "x"})
        assert (answer.status_code, answer.json()["data"]["kind"]) == (422, "action_failed")
        for timeout in ("soon", "nan", "inf", "0", "-1", "3601", ""):
            answer = http.post(f"/v1/servers/pbx1/actions/Ping?timeout={timeout}")
            assert (answer.status_code, answer.json()["data"]["kind"]) == (400, "invalid_params"), timeout
        answer = http.post("/v1/servers/pbx1/actions/Ping", json=[1])
        assert (answer.status_code, answer.json()["data"]["kind"]) == (400, "invalid_params")


def test_until_over_http(gateway: Gateway) -> None:
    fields = {"Channel": "Local/100@default", "Application": "Hangup", "Async": "true"}
    with gateway.http as http:
        answer = http.post("/v1/servers/pbx1/actions/Originate?until=OriginateResponse&timeout=10", data=fields)
    assert answer.status_code == 200 and answer.json()["until"]["Event"] == "OriginateResponse"


def test_the_other_paths_return_their_results(gateway: Gateway) -> None:
    with gateway.http as http:
        assert [server["name"] for server in http.get("/v1/servers").json()] == ["pbx1", "pbx2", "away"]
        assert {process["name"] for process in http.get("/v1/status").json()["processes"]} >= {"gateway", "broker"}
        assert "Ping" in {action["name"] for action in http.get("/v1/servers/pbx1/actions").json()}
        assert http.get("/openapi.json").json()["openapi"].startswith("3.1")
        unknown = http.get("/nothing")
        assert unknown.status_code == 404 and "/openapi.json" in unknown.json()["error"]


def test_without_a_recorder_no_right_is_named(gateway: Gateway) -> None:
    with gateway.http as http:
        for path in ("/v1/calls?server=pbx1", "/v1/calls/1.1?server=pbx1"):
            answer = http.get(path)
            assert answer.status_code == 503 and "[recorder] in amid.toml" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/rpc", "POST"),
        ("GET", "/v1/servers/pbx1/actions/Ping", "POST"),
        ("POST", "/v1/servers", "GET, HEAD"),
        ("POST", "/v1/servers/pbx1/actions", "GET, HEAD"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
def test_a_disallowed_method_names_the_allowed_ones(gateway: Gateway, method: str, path: str, allowed: str) -> None:
    with gateway.http as http:
        answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.json() == {"error": f"{method} is not allowed here; allowed: {allowed}"}
    assert answer.headers["allow"] == allowed


def test_an_unknown_parameter_is_refused(gateway: Gateway) -> None:
    server = "/v1/servers/pbx1"
    with gateway.http as http:
        for path in ("/v1/servers", "/v1/status", "/v1/samples", "/v1/rights", f"{server}/state", f"{server}/actions", "/metrics"):
            answer = http.get(path, params={"wher": "x"})
            assert answer.status_code == 400 and "unknown parameter 'wher'" in answer.text, path
        for path in ("/v1/calls", "/v1/calls/1.1"):
            assert "there is no param `wher`" in http.get(path, params={"wher": "x"}).text, path
        for path in ("/v1/events", "/v1/state"):
            assert http.head(path, params={"server": "pbx1", "wher": "x"}).status_code == 400, path
        for path, body in ((f"{server}/actions/Ping", {}), ("/rpc", {"method": "ping"})):
            assert http.post(path, params={"timout": "1"}, json=body).status_code == 400, path


def test_health_and_readiness_need_no_token(gateway: Gateway) -> None:
    with gateway.anonymous as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ready"}


def test_a_slow_call_does_not_delay_others(gateway: Gateway) -> None:
    def slow() -> int:
        with gateway.http as http:
            return http.post("/v1/servers/pbx1/actions/CoreStatus?timeout=10").status_code

    arm(gateway.daemon, "delay", "CoreStatus", Seconds=2, server="pbx1")
    with ThreadPoolExecutor() as pool, gateway.http as other:
        ended = pool.submit(slow)
        eventually(lambda: gateway.daemon.server("pbx1")["lanes"]["busy"] == 1, "it is under way")
        assert other.post("/v1/servers/pbx1/actions/Ping").json()["response"]["Ping"] == "Pong"
        assert not ended.done()
        assert ended.result() == 200
