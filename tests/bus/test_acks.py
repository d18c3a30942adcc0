"""The outcome of a group of messages, by JetStream's answer to the last of them."""

from __future__ import annotations

import pytest

from amid.bus.protocol.acks import Outcome, check_ack


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b'{"stream":"AMID_pbx1","seq":7}', Outcome.STORED),
        (b'{"stream":"AMID_pbx1","seq":7,"domain":"hub","val":"1"}', Outcome.STORED),
        (b'{"stream":"AMID_pbx1","seq":6}', Outcome.CONFLICT),  # a message of the group was not stored
        (b'{"stream":"AMID_pbx1","seq":7,"duplicate":true}', Outcome.CONFLICT),
        (b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 9"}}', Outcome.CONFLICT),
        (b'{"error":{"code":400,"err_code":10164,"description":"wrong last sequence"}}', Outcome.CONFLICT),
        (b'{"error":{"code":400,"err_code":10070,"description":"wrong last msg ID: pbx1:5:6"}}', Outcome.CONFLICT),
        (b'{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}', Outcome.REFUSED),
        (b'{"error":{"code":503}}', Outcome.REFUSED),
        (b"", Outcome.REFUSED),
        (b"\xff\xfe", Outcome.REFUSED),
        (b'{"seq":"7"}', Outcome.REFUSED),
    ],
)
def test_the_outcome_of_an_answer(answer: bytes, outcome: Outcome) -> None:
    assert check_ack(answer, 7).outcome is outcome


def test_a_refusal_has_the_reason() -> None:
    verdict = check_ack(b'{"error":{"code":503,"err_code":10047,"description":"insufficient storage resources available"}}', 1)
    assert verdict.reason == "insufficient storage resources available (code 10047)"
