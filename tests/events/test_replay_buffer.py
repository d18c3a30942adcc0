"""The buffer returns the events after a cursor, in order and contiguous, with the number of expired
ones, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.events import replay_buffer
from amid.events.replay_buffer import BLOCK_OVERHEAD, EVENT_OVERHEAD, MAX_READ_BYTES, Cursor, Page, ReplayBuffer
from amid.events.sequence import Sequencer

PACKET = b"Event: Ping\r\nN: %07d\r\n\r\n"
BLOCK = len(PACKET % 1) + EVENT_OVERHEAD + BLOCK_OVERHEAD
"""Bytes that a read of one such event counts for."""


class Stream:
    """A buffer and what numbers its events. `read`: the names of the events of one read."""

    def __init__(self, max_bytes: int = 10**6) -> None:
        self.numbers = Sequencer(1)
        self.buffer = ReplayBuffer(max_bytes, self.numbers)

    def read(self, *names: str, time: float = 0.0) -> None:
        first, prevs = self.numbers.number(names)
        packets = b"".join(PACKET % (first + at) for at in range(len(names)))
        self.buffer.add(first, list(names), prevs, time, packets)

    def begin(self, epoch: int) -> None:
        self.numbers.new_epoch(epoch)

    def after(self, epoch: int, seq: int, limit: int = 100, *names: str) -> Page:
        return self.buffer.read(Cursor(epoch, seq), limit, frozenset(names))


def flatten(max_bytes: int = 10**6, **epochs: int) -> Stream:
    """A stream with one event a read; `e1=3`: three events in epoch 1."""
    stream = Stream(max_bytes)
    for number, (epoch, count) in enumerate(epochs.items()):
        if number:
            stream.begin(int(epoch[1:]))
        for _ in range(count):
            stream.read("Ping")
    return stream


def summary(page: Page) -> tuple[list[int], tuple[int, int], int | None, bool]:
    """The event numbers, the cursor, the missing events, and whether there are more."""
    return page.events.seqs, page.cursor, page.missed, page.more


def test_it_returns_events_after_a_cursor() -> None:
    stream = flatten(e1=5)
    assert summary(stream.after(1, 0)) == ([1, 2, 3, 4, 5], (1, 5), 0, False)
    assert summary(stream.after(1, 3)) == ([4, 5], (1, 5), 0, False)
    assert summary(stream.after(1, 5)) == ([], (1, 5), 0, False)


def test_events_are_returned_unchanged() -> None:
    stream = Stream()
    packets = [b"Event: A\r\nX: 1", b"Event: B\nX: \xff", b"Event:C"]
    first, prevs = stream.numbers.number("ABA")
    stream.buffer.add(first, list("ABA"), prevs, 99.5, b"".join(packet + b"\r\n\r\n" for packet in packets))
    events = stream.after(1, 0).events
    assert (events.seqs, events.prevs, events.names, events.times) == ([1, 2, 3], [0, 0, 1], list("ABA"), [99.5] * 3)
    assert b"".join(events.packets) == b"".join(packet + b"\r\n\r\n" for packet in packets)


def test_a_limit_says_whether_there_is_more() -> None:
    stream = flatten(e1=5)
    assert summary(stream.after(1, 0, 2)) == ([1, 2], (1, 2), 0, True)
    assert summary(stream.after(1, 3, 2)) == ([4, 5], (1, 5), 0, False)


def test_a_limit_may_split_a_read() -> None:
    stream = Stream()
    stream.read(*["Ping"] * 5)
    assert summary(stream.after(1, 1, 2)) == ([2, 3], (1, 3), 0, True)


def test_a_cursor_ahead_of_the_last_event_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch 1 has 5 events so far, and none after 6"):
        flatten(e1=5).after(1, 6)


def test_the_oldest_events_expire_first_and_are_counted() -> None:
    stream = flatten(3 * BLOCK, e1=5)
    assert summary(stream.after(1, 0)) == ([3, 4, 5], (1, 5), 2, False)
    assert summary(stream.after(1, 1)) == ([3, 4, 5], (1, 5), 1, False)
    assert summary(stream.after(1, 2)) == ([3, 4, 5], (1, 5), 0, False)


def test_a_read_larger_than_the_buffer_expires_at_once() -> None:
    stream = Stream(2 * BLOCK)
    stream.read(*["Ping"] * 100)
    assert summary(stream.after(1, 10)) == ([], (1, 100), 90, False)


def test_a_buffer_of_no_bytes_holds_nothing() -> None:
    assert summary(flatten(0, e1=3).after(1, 1)) == ([], (1, 3), 2, False)


def test_the_rest_of_an_epoch_comes_before_the_next_one() -> None:
    stream = flatten(e1=3, e5=2)
    assert summary(stream.after(1, 1)) == ([2, 3], (1, 3), 0, True)
    assert summary(stream.after(1, 3)) == ([], (5, 0), None, True)
    assert summary(stream.after(5, 0)) == ([1, 2], (5, 2), 0, False)


def test_epochs_are_returned_in_the_order_of_their_start() -> None:
    """The clock was set back and the daemon's state was lost."""
    stream = flatten(e1=1, e9=1)
    stream.numbers.epoch, stream.numbers.seq = 4, 0
    stream.read("Ping")
    assert [summary(stream.after(*cursor))[1] for cursor in ((1, 1), (9, 1))] == [(9, 0), (4, 0)]


@pytest.mark.parametrize("unknown", [0, 3, 99])
def test_an_unknown_epoch_continues_at_the_oldest_one_held(unknown: int) -> None:
    assert summary(flatten(e1=2, e5=1).after(unknown, 7)) == ([], (1, 0), None, True)


def test_the_expired_end_of_an_epoch_is_reported() -> None:
    stream = flatten(2 * BLOCK, e1=3, e5=3)
    assert summary(stream.after(1, 1)) == ([], (5, 0), None, True)
    assert summary(stream.after(5, 0)) == ([2, 3], (5, 3), 1, False)


def test_an_empty_buffer_returns_nothing() -> None:
    stream = Stream()
    assert summary(stream.after(1, 0)) == ([], (1, 0), 0, False)
    assert summary(stream.after(77, 5)) == ([], (77, 5), 0, False)


# ── some names ──


def test_names_compare_without_case() -> None:
    stream = Stream()
    stream.read("Hangup", "Newstate", "HANGUP")
    assert summary(stream.after(1, 0, 100, "hangup")) == ([1, 3], (1, 3), 0, False)
    assert summary(stream.after(1, 0, 1, "hangup")) == ([1], (1, 1), 0, True)
    assert summary(stream.after(1, 0, 100, "nothing")) == ([], (1, 3), 0, False)


def test_expired_events_count_if_a_requested_name_is_among_them() -> None:
    stream = Stream(3 * BLOCK)
    for name in ("Hangup", "Newstate", "Newstate", "Hangup", "Newstate", "Newstate"):
        stream.read(name)
    assert summary(stream.after(1, 0, 100, "hangup")) == ([4], (1, 6), 3, False)
    assert summary(stream.after(1, 1, 100, "hangup")) == ([4], (1, 6), 0, False)


def test_expired_events_of_other_names_do_not_count() -> None:
    stream = Stream(2 * BLOCK)
    for name in ("Hangup", "Newstate", "Newstate", "Newstate"):
        stream.read(name)
    assert summary(stream.after(1, 1, 100, "hangup")) == ([], (1, 4), 0, False)
    assert summary(stream.after(1, 0, 100, "hangup")) == ([], (1, 4), 2, False)


def test_a_search_for_a_rare_name_is_incremental(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_buffer, "MAX_SCAN", 10)
    stream = Stream()
    for _ in range(25):
        stream.read("Newstate")
    stream.read("Hangup")
    cursor, pages = Cursor(1, 0), 0
    while not (page := stream.after(*cursor, 100, "hangup")).events:
        assert page.more and cursor < page.cursor
        cursor, pages = page.cursor, pages + 1
    assert (page.events.seqs, page.more, pages) == ([26], False, 2)


@given(
    st.lists(st.lists(st.sampled_from("AB"), min_size=1, max_size=5), max_size=12),
    st.integers(0, 12 * BLOCK),
    st.integers(0, 20),
    st.integers(1, 7),
    st.sampled_from([(), ("a",), ("a", "b")]),
)
def test_following_the_cursor_returns_every_event_once_or_counts_it_as_missing(
    reads: list[list[str]], max_bytes: int, after: int, limit: int, names: tuple[str, ...]
) -> None:
    stream, sent = Stream(max_bytes), []
    for read in reads:
        stream.read(*read)
        sent += read
    cursor, missed = Cursor(1, min(after, len(sent))), 0
    got: list[tuple[int, str]] = []
    began = cursor.seq
    while True:
        page = stream.buffer.read(cursor, limit, frozenset(names))
        assert len(page.events) <= limit and page.missed is not None
        got += zip(page.events.seqs, page.events.names, strict=True)
        assert b"".join(page.events.packets) == b"".join(PACKET % seq for seq in page.events.seqs)
        missed += page.missed
        cursor = page.cursor
        if not page.more:
            break
    assert cursor == (1, len(sent))
    wanted = [(seq, name) for seq, name in enumerate(sent, 1) if seq > began and (not names or name.lower() in names)]
    assert got == wanted[len(wanted) - len(got) :]
    lost = wanted[: len(wanted) - len(got)]
    assert (missed >= len(lost) if names else missed == len(lost)) and bool(missed) == bool(lost)


def test_a_dropped_event_in_another_spelling_counts_as_missed() -> None:
    stream = Stream(10 * BLOCK)
    for name in ("N", "FOO", *["N"] * 30, "Foo", "N"):
        stream.read(name)
    page = stream.after(1, 1, 100, "foo")
    assert page.events.seqs == [33] and page.missed
    assert stream.after(1, 2, 100, "foo").missed == 0


def test_a_read_ends_after_many_bytes() -> None:
    stream = Stream(10**8)
    packet = b"Event: Big\r\nData: " + b"x" * 60_000 + b"\r\n\r\n"
    for _ in range(20):
        first, prevs = stream.numbers.number(["Big"])
        stream.buffer.add(first, ["Big"], prevs, 0.0, packet)
    page = stream.after(1, 0, 1000)
    assert sum(map(len, page.events.packets)) < MAX_READ_BYTES + len(packet)
    assert page.more and page.cursor == Cursor(1, len(page.events))
