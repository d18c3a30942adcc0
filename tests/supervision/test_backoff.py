"""The delay before the next attempt: bounded, doubling, jittered, and reset after a long success."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amid.supervision.backoff import Backoff


def test_it_doubles_up_to_the_maximum_and_is_never_under_half() -> None:
    backoff = Backoff(0.1, 1.0)
    for whole in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0):
        assert whole / 2 <= backoff.next() <= whole


def test_simultaneous_failures_are_retried_at_different_times() -> None:
    delays = {Backoff(1.0, 30.0).next() for _ in range(20)}
    assert len(delays) == 20


def test_a_long_success_resets_the_delay_and_a_short_one_does_not() -> None:
    backoff = Backoff(0.1, 30.0)
    for _ in range(5):
        backoff.next()
    backoff.settled(Backoff.STABLE_S - 0.1)
    assert backoff.next() > 0.1
    backoff.settled(Backoff.STABLE_S)
    assert backoff.next() <= 0.1


@given(least=st.floats(0.001, 10), factor=st.floats(1, 1000), tries=st.integers(1, 50))
def test_it_stays_between_half_of_the_minimum_and_the_maximum(least: float, factor: float, tries: int) -> None:
    backoff = Backoff(least, least * factor)
    for _ in range(tries):
        assert least / 2 <= backoff.next() <= least * factor
