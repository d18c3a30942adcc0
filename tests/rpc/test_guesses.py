"""How wrong tokens and secrets are delayed, and what counts as one network."""

from __future__ import annotations

import pytest

from amid.rpc.guesses import FORGET_S, LOCK_OVER_S, MAX_DELAY_S, REMEMBERED, Guesses, network_of

MARK, RIGHT = b"guess", b"right"


def test_each_wrong_token_from_a_network_is_delayed_longer() -> None:
    guesses, now, waits = Guesses(), 0.0, []
    for _ in range(10):
        waits.append(guesses.failed("192.0.2.1", now))
        now += waits[-1]
    assert waits == sorted(waits) and waits[0] == 0.1 and waits[-1] == pytest.approx(MAX_DELAY_S)
    assert guesses.failed("192.0.2.2", now) == pytest.approx(0.1), "another network begins at the beginning"
    assert guesses.failed("192.0.2.1", now + FORGET_S) == pytest.approx(0.1), "and so does one that was quiet"
    assert guesses.count == 12


def test_simultaneous_wrong_tokens_are_no_faster() -> None:
    """720 connections of one network that try tokens one after the other for a minute."""
    guesses, answered = Guesses(), []
    for now in range(60):
        for _ in range(720):
            if not guesses.locked_s("192.0.2.1", MARK, float(now)):
                answered.append(now + guesses.failed("192.0.2.1", float(now)))
    assert answered == sorted(answered) and len(answered) < 25
    assert not guesses.locked_s("192.0.2.2", MARK, 59.0), "others are compared at once"


def test_a_valid_token_is_accepted_during_guesses_from_its_network() -> None:
    guesses = Guesses()
    guesses.succeeded("192.0.2.1", RIGHT)
    while not guesses.locked_s("192.0.2.1", MARK, 0.0):
        guesses.failed("192.0.2.1", 0.0)
    assert guesses.locked_s("192.0.2.1", RIGHT, 0.0) == 0
    assert guesses.locked_s("192.0.2.1", MARK, 0.0) > LOCK_OVER_S
    assert guesses.locked_s("192.0.2.1", MARK, MAX_DELAY_S) == 0, "it is a short while"


def test_the_number_of_remembered_networks_is_limited() -> None:
    guesses = Guesses()
    for number in range(REMEMBERED + 10):
        guesses.failed(str(number), 0.0)
        guesses.succeeded(str(number), RIGHT)
    assert len(guesses._recent) == len(guesses._right) == REMEMBERED


def test_an_answer_is_never_delayed_for_longer_than_two_limits() -> None:
    guesses = Guesses()
    assert max(guesses.failed("192.0.2.1", 0.0) for _ in range(1000)) == LOCK_OVER_S + MAX_DELAY_S


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_networks_are_addresses_of_ipv4_and_prefixes_of_ipv6(address: str, network: str) -> None:
    assert network_of(address) == network
