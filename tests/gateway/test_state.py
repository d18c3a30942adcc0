"""The live state over HTTP."""

from __future__ import annotations

import json
import time

import pytest

from tests.daemon import BOUND_S
from tests.gateway.conftest import Gateway


def test_the_state_of_a_server(gateway: Gateway) -> None:
    with gateway.http as http:
        state = http.get(
            "/v1/servers/pbx1/state", params={"kinds": ["queues", "members"], "where": "queue=support", "timeout": "15"}
        ).json()
    assert state["exact"] and state["queues"] == [] and {one["queue"] for one in state["members"]} == {"support"}


@pytest.mark.parametrize(
    ("query", "status"), [("kinds=nothing", 400), ("where=nonsense", 400), ("where=stat=Up", 400), ("timeout=x", 400)]
)
def test_an_invalid_query_is_refused(gateway: Gateway, query: str, status: int) -> None:
    with gateway.http as http:
        assert http.get(f"/v1/servers/pbx1/state?{query}").status_code == status


def test_an_unknown_server(gateway: Gateway) -> None:
    with gateway.http as http:
        assert http.get("/v1/servers/pbx9/state").status_code == 404
        assert http.head("/v1/state?server=pbx9").status_code == 404
        assert http.head("/v1/state").status_code == 400, "there are several"


def test_a_token_with_some_events_only_may_not_see_the_state(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        for path in ("/v1/servers/pbx1/state", "/v1/state?server=pbx1"):
            assert http.head(path).status_code == 403, path


def test_a_stream_has_the_state_and_then_changes(gateway: Gateway) -> None:
    pause = {"Queue": "support", "Interface": "PJSIP/chloe", "Paused": "true"}
    with gateway.http as http, http.stream("GET", "/v1/state", params={"server": "pbx1", "kinds": "members"}) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event:")) == "event: state"
        state = json.loads(next(lines).removeprefix("data: "))
        assert "support/PJSIP/chloe" in {one["id"] for one in state["members"]}
        with gateway.http as other:
            assert other.post("/v1/servers/pbx1/actions/QueuePause", json=pause).status_code == 200
        assert next(line for line in lines if line.startswith("event:")) == "event: change"
        change = json.loads(next(lines).removeprefix("data: "))
        assert (change["id"], change["set"]["paused"]) == ("support/PJSIP/chloe", True)


def test_a_stream_of_all_servers_reports_those_without_a_state(gateway: Gateway) -> None:
    """A server may be reported as away before its state is loaded."""
    expected = {"pbx1": "state", "pbx2": "state", "away": "away"}
    seen: dict[str, str] = {}
    end = time.monotonic() + BOUND_S
    with gateway.http as http, http.stream("GET", "/v1/state", params={"server": "*", "kinds": "queues"}) as stream:
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen[json.loads(line.removeprefix("data: "))["server"]] = name
            if seen == expected or time.monotonic() > end:
                break
    assert seen == expected


def test_a_stream_of_two_servers(gateway: Gateway) -> None:
    with gateway.http as http, http.stream("GET", "/v1/state?server=pbx1&server=pbx2&kinds=queues") as stream:
        begun = (json.loads(line.removeprefix("data: "))["server"] for line in stream.iter_lines() if line.startswith("data: "))
        assert {next(begun), next(begun)} == {"pbx1", "pbx2"}
