"""The ring gives again what it holds, in order and without a hole, says what is gone, and stays within its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.events.ring import BLOCK_OVERHEAD, Gone, Ring

EVENT = b"Event: Ping\r\nN: 1234567"
BLOCK = len(EVENT) + 4 + 8 + BLOCK_OVERHEAD
"""Bytes that a read of one such event counts for."""


def add(ring: Ring, epoch: int, first: int, count: int = 1) -> None:
    """One read that brought `count` events."""
    ring.add(epoch, first, list(range(first, first + count)), 0.0, (EVENT + b"\r\n\r\n") * count)


def filled(max_bytes: int, **epochs: int) -> Ring:
    """Each event came in a read of its own; `e1=3`: three events in epoch 1."""
    ring = Ring(max_bytes)
    for epoch, count in epochs.items():
        for seq in range(1, count + 1):
            add(ring, int(epoch[1:]), seq)
    return ring


def seqs(ring: Ring, epoch: int, after: int, limit: int = 100, last: int | None = None) -> tuple[list[int], bool]:
    events, more = ring.after(epoch, after, limit, last)
    return [event.seq for event in events], more


def test_it_gives_what_follows_a_number() -> None:
    ring = filled(9 * BLOCK, e1=5)
    assert seqs(ring, 1, 0) == ([1, 2, 3, 4, 5], False)
    assert seqs(ring, 1, 3) == ([4, 5], False)
    assert seqs(ring, 1, 5) == ([], False)


def test_events_are_given_as_they_came() -> None:
    ring = Ring(10_000)
    packets = [b"Event: A\r\nX: 1", b"Event: B\nX: \xff", b"Event:C"]
    ring.add(1, 7, [3, 1, 2], 99.5, b"".join(packet + b"\r\n\r\n" for packet in packets))
    events, _ = ring.after(1, 6, 10, None)
    assert [(e.seq, e.nth, e.time, e.raw) for e in events] == [(7 + i, n, 99.5, packets[i]) for i, n in enumerate((3, 1, 2))]


def test_a_limit_says_whether_there_is_more() -> None:
    ring = filled(9 * BLOCK, e1=5)
    assert seqs(ring, 1, 0, 2) == ([1, 2], True)
    assert seqs(ring, 1, 3, 2) == ([4, 5], False)


def test_a_number_that_was_never_given_out_has_nothing_behind_it() -> None:
    assert seqs(filled(9 * BLOCK, e1=5), 1, 99) == ([], False)


def test_what_is_oldest_goes_first_and_is_said_to_be_gone() -> None:
    ring = filled(3 * BLOCK, e1=5)
    assert seqs(ring, 1, 2) == ([3, 4, 5], False)
    with pytest.raises(Gone, match="the oldest held is 3") as gone:
        ring.after(1, 1, 100, 5)
    assert gone.value.oldest == 3


def test_an_older_epoch_is_held_beside_the_current_one_and_goes_first() -> None:
    ring = filled(4 * BLOCK, e1=3, e2=2)
    assert seqs(ring, 1, 1) == ([2, 3], False)
    add(ring, 2, 3)
    add(ring, 2, 4)
    with pytest.raises(Gone, match=r"epoch 1 is not held; the epochs held are \[2\]"):
        ring.after(1, 2, 100, None)
    assert seqs(ring, 2, 0) == ([1, 2, 3, 4], False)


def test_an_unknown_epoch_is_gone() -> None:
    with pytest.raises(Gone, match="none"):
        Ring(1000).after(7, 0, 100, None)


def test_a_current_epoch_without_events_has_nothing_to_give_and_is_not_gone() -> None:
    assert seqs(Ring(1000), 7, 0, last=0) == ([], False)
    assert seqs(filled(9 * BLOCK, e6=3), 7, 0, last=0) == ([], False)


def test_a_read_larger_than_the_ring_is_gone_at_once() -> None:
    ring = Ring(BLOCK - 1)
    add(ring, 1, 1)
    with pytest.raises(Gone):
        ring.after(1, 0, 100, 1)
    assert seqs(ring, 1, 1, last=1) == ([], False)


def test_a_ring_of_no_bytes_holds_nothing() -> None:
    with pytest.raises(Gone):
        filled(0, e1=3).after(1, 0, 100, 3)


@given(
    reads=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    max_bytes=st.integers(0, 20 * BLOCK),
    after=st.integers(0, 100),
    limit=st.integers(1, 10),
)
def test_whatever_came_the_answer_is_contiguous_and_bounded(reads: list[int], max_bytes: int, after: int, limit: int) -> None:
    ring, sizes = Ring(max_bytes), [n * (BLOCK - BLOCK_OVERHEAD) + BLOCK_OVERHEAD for n in reads]
    for number, count in enumerate(reads):
        add(ring, 1, 1 + sum(reads[:number]), count)
    last = sum(reads)
    kept = next(n for n in range(len(reads), -1, -1) if sum(sizes[len(reads) - n :]) <= max_bytes)
    oldest = last - sum(reads[len(reads) - kept :]) + 1
    if after < min(oldest - 1, last):
        with pytest.raises(Gone):
            ring.after(1, after, limit, last)
    else:
        expected = list(range(after + 1, last + 1))
        assert seqs(ring, 1, after, limit, last) == (expected[:limit], len(expected) > limit)
