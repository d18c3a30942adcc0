"""The client's protocol, without a socket."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from amid import wire
from amid.client import protocol
from amid.errors import ActionFailed, AmidError, CallTimeout

PING = protocol.ping(5.0)


def sent(fields: dict[str, Any], **headers: Any) -> dict[str, Any]:
    """The params of an action as the broker reads them."""
    empty, payload = protocol.request(7, protocol.action("X", fields, headers, None, 5.0, None))
    request = wire.decode_request(payload)
    assert (empty, request["id"], request["method"]) == (b"", 7, "action")
    params: dict[str, Any] = request["params"]
    return params


def test_a_request_that_is_too_large_is_not_sent() -> None:
    """The daemon closes a connection that sends 16 MiB, and the client could not tell whether the
    action has run."""
    with pytest.raises(AmidError) as refused:
        protocol.request(1, protocol.action("UserEvent", {"X": "x" * 1_048_576}, {}, None, 5.0, None))
    assert (refused.value.kind, refused.value.sent) == ("invalid_request", False)


def test_omitted_parameters_are_not_sent() -> None:
    assert sent({}) == {"action": "X", "fields": {}, "timeout": 5.0}


def test_headers_join_the_fields() -> None:
    assert sent({"A": 1, "Variable": ["a=1", "b=2"]}, B=True)["fields"] == {"A": 1, "Variable": ["a=1", "b=2"], "B": True}


def test_invalid_utf8_survives() -> None:
    """As they stand in argv: 'caf\\xe9' in Latin-1."""
    fields = sent({"CallerID": "caf\udce9", "Variable": ["\udcff"], "plain": "caf\u00e9"})["fields"]
    assert fields == {"CallerID": b"caf\xe9", "Variable": [b"\xff"], "plain": "caf\u00e9"}


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, "\ud800"])
def test_a_value_that_cannot_be_encoded_is_refused(value: Any) -> None:
    with pytest.raises(AmidError) as caught:
        sent({"A": value})
    assert (caught.value.kind, caught.value.sent) == ("invalid_params", False)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_an_invalid_timeout_waits_for_the_daemons_error(timeout: float) -> None:
    assert protocol.ping(timeout).client_timeout_s == protocol.TIMEOUT + protocol.MARGIN_S


def test_every_call_has_its_timeout_plus_a_margin() -> None:
    calls = [protocol.action("X", {}, {}, None, 2, None), protocol.servers(2), protocol.status(2), protocol.actions(None, 2)]
    calls += [protocol.ping(2), protocol.restart("a", 2), protocol.events("a", None, [], 5, 2)]
    assert {call.client_timeout_s for call in calls} == {2 + protocol.MARGIN_S}


@pytest.mark.parametrize("noise", [b"", b"\xc1", b"\x01", wire.pack({"id": 1}), wire.pack([1])])
def test_an_invalid_message_is_ignored_with_a_warning(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "amid.client"):
        assert protocol.reply([b"", noise]) is None
    assert "not a reply of amid" in caplog.text


def test_an_invalid_reply_fails_its_call() -> None:
    answer = protocol.reply([b"", wire.pack({"id": 1, "error": 5})])
    assert answer is not None
    with pytest.raises(AmidError, match="invalid reply") as caught:
        protocol.unwrap(answer)
    assert (caught.value.kind, caught.value.sent) == ("internal_error", True)


def test_a_result_is_the_outcome() -> None:
    answer = protocol.reply([b"", wire.pack(wire.result(1, {"a": b"\xff"}))])
    assert answer is not None
    assert protocol.unwrap(answer) == {"a": b"\xff"}


def test_an_error_is_raised_with_all_details() -> None:
    failure = AmidError("action_failed", "no such queue", sent=True, server="pbx1", action_id="7", response={"Message": "no"})
    with pytest.raises(ActionFailed) as caught:
        protocol.unwrap(wire.error(1, failure))
    assert caught.value.data() == failure.data()
    assert str(caught.value) == "no such queue"


def test_an_unanswered_action_may_have_run() -> None:
    failure = protocol.no_answer(protocol.action("Originate", {}, {}, "pbx1", 2, None), "ipc://x")
    assert isinstance(failure, CallTimeout)
    assert (failure.sent, failure.server) == (True, "pbx1")
    assert "Originate" in failure.message and "ipc://x" in failure.message


def test_an_unanswered_query_was_not_sent() -> None:
    assert protocol.no_answer(PING, "ipc://x").sent is False


@pytest.mark.parametrize("request_id", [1, "caf\udce9"])
def test_a_large_reply_is_decoded_as_a_small_one(request_id: int | str) -> None:
    """By another decoder, unless the id of the request is not UTF-8."""
    result = {"events": [{b"\xff": [b"\xfc", "Gr\u00fc\u00dfe"], "time": 1.5, "epoch": 2**40, "missed": None}], "more": True}
    padding = "x" * protocol.LARGE_BYTES
    small, large = (protocol.reply([b"", wire.pack(wire.result(request_id, {**result, "A": text}))]) for text in ("", padding))
    assert small == wire.result(request_id, {**result, "A": ""}) and large == wire.result(request_id, {**result, "A": padding})
    assert protocol.reply([b"", b"\x81" + b"x" * protocol.LARGE_BYTES]) is None
