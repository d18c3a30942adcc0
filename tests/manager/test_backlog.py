"""Which clients are closed when all together have too many unread bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amid.manager.backlog import largest_backlogs


def test_nobody_is_closed_at_the_limit() -> None:
    assert largest_backlogs({"a": 60, "b": 40}, 100) == []
    assert largest_backlogs({}, 0) == []


def test_the_client_with_the_most_unread_bytes_is_closed() -> None:
    assert largest_backlogs({"a": 30, "b": 41, "c": 30}, 100) == ["b"]


def test_as_many_are_closed_as_it_takes() -> None:
    assert largest_backlogs({"a": 50, "b": 70, "c": 60, "idle": 0}, 60) == ["b", "c"]


@given(st.dictionaries(st.integers(), st.integers(0, 1000)), st.integers(1, 5000))
def test_the_others_fit_and_none_is_closed_needlessly(unread: dict[int, int], limit: int) -> None:
    closed = largest_backlogs(unread, limit)
    kept = sum(unread.values()) - sum(unread[client] for client in closed)
    assert kept <= limit
    assert not closed or kept + unread[closed[-1]] > limit
    assert all(unread[client] <= unread[closed[-1]] for client in unread.keys() - set(closed) if closed)
