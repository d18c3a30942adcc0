"""Missing events are detected from their numbers."""

from __future__ import annotations

from amid.manager.raw_feed import Loss, RawFeed


def started() -> RawFeed:
    """After events 5 to 7 of epoch 1."""
    feed = RawFeed()
    assert feed.receive(1, 5, 3) is None, "nothing is missing before the first message"
    return feed


def test_nothing_is_missing_between_consecutive_messages() -> None:
    feed = started()
    assert feed.receive(1, 8, 1) is None and feed.receive_tick(1, 8) is None


def test_missing_events_are_counted_once() -> None:
    feed = started()
    assert feed.receive(1, 10, 1) == Loss(2)
    assert feed.receive_tick(1, 13) == Loss(3) and feed.receive(1, 14, 1) is None


def test_a_new_session_whose_first_event_was_received() -> None:
    assert started().receive(2, 1, 3) == Loss(None)
    assert started().receive_tick(2, 0) == Loss(None)


def test_a_new_session_whose_first_event_is_missing() -> None:
    assert started().receive(2, 2, 1) == Loss(None, misses_boot=True)
    feed = started()
    assert feed.receive_tick(2, 4) == Loss(None, misses_boot=True) and feed.receive(2, 5, 1) is None
