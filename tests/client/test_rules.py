"""The client's rules, without a socket."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from amid import wire
from amid.client import rules
from amid.errors import ActionFailed, AmidError, CallTimeout

PING = rules.ping(5.0)


def sent(fields: dict[str, Any], **headers: Any) -> dict[str, Any]:
    """The params of an action as the broker reads them."""
    empty, payload = rules.request(7, rules.action("X", fields, headers, None, 5.0, None))
    request = wire.decode_request(payload)
    assert (empty, request["id"], request["method"]) == (b"", 7, "action")
    params: dict[str, Any] = request["params"]
    return params


def test_a_request_that_is_too_large_is_not_sent() -> None:
    """The daemon closes a connection that brings 16 MiB, and the client could not tell whether the action was carried out."""
    with pytest.raises(AmidError) as refused:
        rules.request(1, rules.action("UserEvent", {"X": "x" * 1_048_576}, {}, None, 5.0, None))
    assert (refused.value.kind, refused.value.sent) == ("invalid_request", False)


def test_what_is_not_said_is_left_out() -> None:
    assert sent({}) == {"action": "X", "fields": {}, "timeout": 5.0}


def test_headers_join_the_fields() -> None:
    assert sent({"A": 1, "Variable": ["a=1", "b=2"]}, B=True)["fields"] == {"A": 1, "Variable": ["a=1", "b=2"], "B": True}


def test_odd_bytes_survive() -> None:
    """As they stand in argv: 'caf\\xe9' in Latin-1."""
    fields = sent({"CallerID": "caf\udce9", "Variable": ["\udcff"], "plain": "caf\u00e9"})["fields"]
    assert fields == {"CallerID": b"caf\xe9", "Variable": [b"\xff"], "plain": "caf\u00e9"}


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, "\ud800"])
def test_a_value_that_has_no_place_in_a_request_is_refused(value: Any) -> None:
    with pytest.raises(AmidError) as caught:
        sent({"A": value})
    assert (caught.value.kind, caught.value.sent) == ("invalid_params", False)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_a_timeout_that_the_daemon_refuses_is_waited_for_nevertheless(timeout: float) -> None:
    assert rules.ping(timeout).patience == rules.TIMEOUT + rules.MARGIN


def test_every_call_is_given_its_timeout_and_a_margin() -> None:
    calls = [rules.action("X", {}, {}, None, 2, None), rules.servers(2), rules.status(2), rules.actions(None, 2), rules.ping(2)]
    assert {call.patience for call in [*calls, rules.restart("a", 2), rules.replay("a", 1, 0, 5, 2)]} == {2 + rules.MARGIN}


@pytest.mark.parametrize("noise", [b"", b"\xc1", b"\x01", wire.pack({"id": 1}), wire.pack({"error": 5}), wire.pack([1])])
def test_a_message_that_is_no_reply_is_ignored_with_a_warning(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "amid.client"):
        assert rules.reply([b"", noise]) is None
    assert "no reply of amid" in caplog.text


def test_a_result_is_the_outcome() -> None:
    answer = rules.reply([b"", wire.pack(wire.result(1, {"a": b"\xff"}))])
    assert answer is not None
    assert rules.outcome(answer) == {"a": b"\xff"}


def test_an_error_is_raised_with_all_that_is_known() -> None:
    failure = AmidError("action_failed", "no such queue", sent=True, server="pbx1", action_id="7", response={"Message": "no"})
    with pytest.raises(ActionFailed) as caught:
        rules.outcome(wire.error(1, failure))
    assert caught.value.data() == failure.data()
    assert str(caught.value) == "no such queue"


def test_no_answer_to_an_action_may_have_been_carried_out() -> None:
    failure = rules.no_answer(rules.action("Originate", {}, {}, "pbx1", 2, None), "ipc://x")
    assert isinstance(failure, CallTimeout)
    assert (failure.sent, failure.server) == (True, "pbx1")
    assert "Originate" in failure.message and "ipc://x" in failure.message


def test_no_answer_to_a_question_changed_nothing() -> None:
    assert rules.no_answer(PING, "ipc://x").sent is False
