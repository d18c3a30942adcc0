"""Sequence numbers of events: the publisher's counters, and the detection of every loss by a
subscriber."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid.events.sequence import MAX_NAME_LENGTH, MAX_NAMES, Sequencer

calm = settings(deadline=None)
"""No time limit on an example: the machine may be busy, and none of this is about time."""


def test_each_event_has_the_number_of_the_previous_one_of_its_name() -> None:
    numbers = Sequencer(5)
    assert numbers.number("ABA") == (1, [0, 0, 1])
    assert numbers.number([]) == (4, [])
    assert numbers.number("AB") == (4, [3, 2])
    assert (numbers.epoch, numbers.seq, numbers.last) == (5, 5, {"A": 4, "B": 5})


@pytest.mark.parametrize(("proposed", "epoch"), [(9, 9), (6, 6), (5, 6), (0, 6)])
def test_epochs_always_grow(proposed: int, epoch: int) -> None:
    numbers = Sequencer(5)
    numbers.number("A")
    numbers.new_epoch(proposed)
    assert (numbers.epoch, numbers.seq, numbers.last) == (epoch, 0, {})
    assert numbers.number("A") == (1, [0])


def test_rare_names_share_a_counter() -> None:
    numbers = Sequencer(1)
    numbers.number([f"X{n}" for n in range(3 * MAX_NAMES)] + ["y" * (MAX_NAME_LENGTH + 1)])
    assert len(numbers.last) == MAX_NAMES
    _, prevs = numbers.number(["X0", "never before"])
    assert prevs == [1, 3 * MAX_NAMES + 1], "an own number, and that of all others: too great, and so loss is suspected"


def test_a_subscribed_name_always_has_its_own_counter() -> None:
    numbers = Sequencer(1)
    numbers.number(f"X{n}" for n in range(3 * MAX_NAMES))
    last = numbers.seq
    numbers.count_separately("Asked")
    assert numbers.number(["Asked", "Other", "Asked"])[1] == [last, last, last + 1]
    numbers.new_epoch(2)
    numbers.number(f"X{n}" for n in range(3 * MAX_NAMES))
    assert numbers.number(["Asked"])[1] == [0]


def test_a_place_that_a_subscription_adds_continues_the_shared_counter() -> None:
    """The place goes to a name that was counted among the others."""
    numbers = Sequencer(1)
    numbers.number([f"N{number}" for number in range(MAX_NAMES)])
    numbers.number(["X"])
    numbers.count_separately("N5")
    assert numbers.number(["X"]) == (MAX_NAMES + 2, [MAX_NAMES + 1])


def test_the_number_of_subscribed_names_is_limited() -> None:
    numbers = Sequencer(1)
    for n in range(3 * MAX_NAMES):
        numbers.count_separately(f"X{n}")
    numbers.count_separately("y" * (MAX_NAME_LENGTH + 1))
    assert len(numbers.last) == MAX_NAMES


@calm
@given(st.lists(st.lists(st.sampled_from("ABC"), max_size=4), max_size=8), st.data())
def test_every_loss_and_only_loss_is_detected_by_prev(reads: list[list[str]], data: st.DataObject) -> None:
    numbers, sent = Sequencer(1), []
    for names in reads:
        first, prevs = numbers.number(names)
        sent += [(first + place, prev, name) for place, (name, prev) in enumerate(zip(names, prevs, strict=True))]
    lost = data.draw(st.sets(st.sampled_from(range(len(sent))))) if sent else set()
    seen = dict.fromkeys("ABC", 0)
    missing = dict.fromkeys("ABC", False)
    for place, (seq, prev, name) in enumerate(sent):
        if place in lost:
            missing[name] = True
            continue
        assert (prev != seen[name]) == missing[name]
        seen[name], missing[name] = seq, False
    for name in "ABC":  # a tick
        assert (numbers.last.get(name, 0) != seen[name]) == missing[name]
