"""Samples of the last hour, and the rights of a token, for the page."""

from __future__ import annotations

from amid.gateway.sample_buffer import MAX_SAMPLES, SampleBuffer
from tests.daemon import eventually
from tests.gateway.conftest import Gateway


def test_a_rate_is_computed_within_one_epoch() -> None:
    buffer = SampleBuffer()
    buffer.add("pbx1", 1, 0, (7, 100), 1000.0)
    buffer.add("pbx1", 2, 1, (7, 250), 1015.0)
    buffer.add("pbx1", None, None, (8, 5), 1030.0)
    assert buffer.report()["servers"] == {"pbx1": {"calls": [1, 2, None], "waiting": [0, 1, None], "events": [None, 10.0, None]}}


def test_samples_of_an_hour_are_kept() -> None:
    buffer = SampleBuffer()
    for number in range(2 * MAX_SAMPLES):
        buffer.add("pbx1", number, 0, (7, number), float(number))
    assert buffer.report()["servers"]["pbx1"]["calls"] == list(range(MAX_SAMPLES, 2 * MAX_SAMPLES))


def test_sampling_starts_with_the_first_request(gateway: Gateway) -> None:
    def sampled() -> bool:
        with gateway.http as http:
            servers = http.get("/v1/samples").json()["servers"]
        return set(servers) == {"pbx1", "pbx2", "away"} and servers["away"]["calls"][0] is None

    eventually(sampled, "there is a sample of each server")


def test_a_token_without_the_state_gets_no_samples(gateway: Gateway) -> None:
    with gateway.as_("wallboard") as http:
        assert http.get("/v1/samples").status_code == 403


def test_rights_of_a_token(gateway: Gateway) -> None:
    query = {"action": ["Hangup", "QueuePause", "Command"]}
    with gateway.as_("wallboard") as http:
        rights = http.get("/v1/rights", params=query).json()
    assert rights == {
        "name": "wallboard",
        "admin": False,
        "history": False,
        "state": False,
        "actions": {"Hangup": False, "QueuePause": True, "Command": True},
    }
    with gateway.http as http:
        assert all(http.get("/v1/rights", params=query).json()["actions"].values())


def test_a_request_for_rights_has_a_bounded_number_of_actions(gateway: Gateway) -> None:
    with gateway.http as http:
        assert http.get("/v1/rights", params={"action": ["Hangup"] * 100}).status_code == 200
        refused = http.get("/v1/rights", params={"action": ["Hangup"] * 101})
    assert refused.status_code == 400 and "at most 100 actions, not 101" in refused.json()["message"]
