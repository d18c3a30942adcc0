"""The change log: each change once and in order after a cursor, or a loss."""

from __future__ import annotations

import pytest

from amid.state.change_log import ChangeLog
from amid.state.model import Change

KINDS = frozenset({"device"})


def changes(*names: str, state: str = "x") -> list[Change]:
    return [Change("device", name, {"state": state}) for name in names]


@pytest.fixture
def log() -> ChangeLog:
    log = ChangeLog("pbx1", 10_000)
    log.reset(7, 0)
    return log


def ids(log: ChangeLog, seq: int, rev: int | None = None, limit: int = 100) -> list[str]:
    return [delta["id"] for delta in log.page_after(7, seq, rev, KINDS, limit).deltas]


def test_changes_after_an_event_or_a_change(log: ChangeLog) -> None:
    log.add(3, changes("a", "b"))
    log.add(5, changes("c"))
    assert ids(log, 0) == ["a", "b", "c"] and ids(log, 3) == ["c"] and ids(log, 5) == []
    first = log.page_after(7, 0, None, KINDS, 100).deltas[0]
    assert first == {"server": "pbx1", "epoch": 7, "seq": 3, "rev": 2, "kind": "device", "id": "a", "set": {"state": "x"}}
    assert ids(log, 3, rev=2) == ["b", "c"]
    log.add(5, changes("d"))
    assert ids(log, 5, rev=4) == ["d"], "a change without an event"


def test_without_a_rev_a_page_ends_with_the_last_change_of_an_event(log: ChangeLog) -> None:
    log.add(3, changes("a", "b", "c"))
    log.add(4, changes("d"))
    page = log.page_after(7, 0, None, KINDS, 1)
    assert [one["id"] for one in page.deltas] == ["a", "b", "c"] and (page.seq, page.more) == (3, True)
    page = log.page_after(7, 0, 1, KINDS, 1)
    assert [one["id"] for one in page.deltas] == ["a"] and page.more
    assert ids(log, page.seq, page.rev) == ["b", "c", "d"]


def test_dropped_changes_are_missed() -> None:
    log = ChangeLog("pbx1", 2000)
    log.reset(7, 0)
    for seq in range(1, 51):
        log.add(seq, changes(f"d{seq}"))
    page = log.page_after(7, 1, None, KINDS, 100)
    assert page.missed is None and not page.deltas and page.seq == 50
    missed = log.page_after(7, 1, 2, KINDS, 100).missed
    assert missed is not None and 0 < missed < 50
    assert log.page_after(7, 49, None, KINDS, 100).missed == 0


def test_a_new_epoch_and_a_reset_are_losses(log: ChangeLog) -> None:
    log.add(3, changes("a"))
    assert log.page_after(6, 3, None, KINDS, 10).missed is None
    log.reset(7, 9)
    assert log.page_after(7, 3, None, KINDS, 10).missed is None
    assert log.unpublished[0]["kind"] == "reset"
    log.add(10, changes("b"))
    assert ids(log, 9) == ["b"]


@pytest.mark.parametrize("rev", [5, 1_000, 10_000])
def test_a_rev_of_a_replaced_process_is_a_loss(rev: int) -> None:
    """The epoch continues, and the new process has none of the earlier changes."""
    log = ChangeLog("pbx1", 10_000, first_rev=5_000)
    log.reset(7, 3)
    log.add(4, changes("a", "b"))
    assert log.page_after(7, 4, rev, KINDS, 10).missed is None
    assert log.page_after(7, 4, log.rev, KINDS, 10).missed == 0 and log.count == 3


def test_a_loaded_state_is_published_and_not_held(log: ChangeLog) -> None:
    cursor = log.rev
    log.load(3, changes("a", "b"))
    assert [delta["id"] for delta in log.take_unpublished()] == ["", "a", "b"]
    assert log.page_after(7, 0, None, KINDS, 10).missed is None
    assert log.page_after(7, 0, cursor, KINDS, 10).missed == 2
    log.add(4, changes("c"))
    assert ids(log, 3) == ["c"]
