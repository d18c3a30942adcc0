"""Pauses between reads: none for single events, longer ones the longer a storm lasts."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from amid.reader.read_pauses import FULL_RATE, GATHERED_BYTES, MAX_S, MIN_S, ReadPauses


def storm(rate: float, seconds: float) -> list[float]:
    """The pauses of a session that receives `rate` bytes a second: each read takes what has come."""
    pauses = ReadPauses()
    taken = [pauses.after(500, 0.0)]
    now = 0.0
    while now < seconds:
        waited = taken[-1] or 0.0005
        now += waited
        taken.append(pauses.after(max(1, int(rate * waited)), now))
    return taken


def test_events_that_do_not_follow_closely_are_read_at_once() -> None:
    pauses = ReadPauses()
    assert [pauses.after(500, number * 3 * MIN_S) for number in range(100)] == [0.0] * 100


def test_the_second_of_two_close_events_waits_briefly() -> None:
    pauses = ReadPauses()
    assert [pauses.after(500, 1.0), pauses.after(500, 1.001)] == [0.0, MIN_S]


def test_a_short_burst_has_short_pauses() -> None:
    assert max(storm(500_000, 0.015)) == MIN_S


def test_the_pauses_of_a_storm_grow_to_the_longest() -> None:
    pauses = storm(2_000_000, 0.5)
    assert pauses[1] == MIN_S and pauses[-1] == MAX_S
    assert all(later >= before for before, later in itertools.pairwise(pauses[1:]))


def test_after_silence_a_storm_begins_anew() -> None:
    pauses = ReadPauses()
    for number in range(200):
        pauses.after(500, number * 0.001)
    assert pauses.after(500, 0.2) > MIN_S
    assert [pauses.after(500, 1.0), pauses.after(500, 1.001)] == [0.0, MIN_S]


def test_a_stream_that_fills_its_reads_is_not_delayed() -> None:
    assert not any(storm(FULL_RATE * 1.1, 0.5)[1:])


@given(rate=st.floats(1000.0, 2.0 * FULL_RATE))
def test_a_pause_gathers_less_than_the_kernel_holds(rate: float) -> None:
    pauses = storm(rate, 0.3)
    assert max(pauses) <= MAX_S
    assert max(pauses) * rate <= GATHERED_BYTES * 1.01 + 1
