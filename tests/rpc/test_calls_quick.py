"""The choice of a lane: quick actions share lanes when none is idle, and never delay a slow one."""

from __future__ import annotations

import pytest

from amid.rpc.calls import Calls
from amid.rpc.messages import WantLanes
from amid.rpc.open_call import Effect
from tests.rpc.test_calls import LANES, NOW, Asker, action, actions, capacity, handed, open_, replies, report, sends, status, up


def open_for(calls: Calls, principal: str, *, quick: bool = False) -> list[Effect]:
    return calls.open(Asker(principal, principal), "pbx1", action(calls, principal, quick=quick), NOW)


def behind(effects: list[Effect]) -> list[bool]:
    """For each action that goes to the reader, whether it may be put behind others."""
    return [request.behind for request in handed(effects)]


def test_quick_calls_go_to_idle_lanes_first_then_behind_other_calls() -> None:
    calls = up(free=2, room=2)
    assert [behind(open_(calls, name, quick=True)) for name in "abcde"] == [[False], [False], [True], [True], []]


def test_a_slow_action_is_never_queued_behind_another() -> None:
    calls = up(free=1, room=9)
    assert behind(open_(calls, "a")) == [False]
    effects = open_(calls, "b")
    assert sends(effects) == []
    assert [send.message for send in sends(effects, WantLanes)] == [WantLanes(1, False)]


def test_a_call_behind_others_requests_no_lane() -> None:
    assert sends(open_(up(free=0, room=1), "a", quick=True), WantLanes) == []


def test_while_a_slow_action_is_next_no_call_goes_behind_others() -> None:
    calls = up(free=0, room=9, limit=9)
    for effects in (open_(calls, "slow"), open_(calls, "quick", quick=True), open_for(calls, "other", quick=True)):
        assert sends(effects) == []
    assert sends(report(calls, capacity(0, room=9))) == []
    effects = report(calls, capacity(1, room=9))
    assert sorted(zip(actions(effects), behind(effects), strict=True)) == [("other", True), ("quick", True), ("slow", False)]
    assert actions(effects)[0] == "slow"


def test_a_slow_action_of_a_busy_caller_does_not_delay_quick_calls_of_others() -> None:
    calls = up(free=1, room=9, limit=9)
    open_for(calls, "busy")
    assert sends(open_for(calls, "busy")) == []
    assert behind(open_for(calls, "crm", quick=True)) == [True]


# ── the spare lane ──


def with_spare_lane(room: int = 9) -> Calls:
    """One caller, `slow`, has all lanes but the spare one."""
    calls = up(free=LANES, limit=9)
    for _ in range(LANES):
        open_for(calls, "slow")
    held = tuple(range(1, LANES + 1))
    assert sends(report(calls, status(capacity(1, LANES, room=room), on_lanes=held))) == []
    return calls


def test_the_last_idle_lane_is_kept_from_the_quick_calls_of_a_caller_that_has_others() -> None:
    calls = with_spare_lane()
    assert behind(open_for(calls, "slow", quick=True)) == [True]
    assert behind(open_for(calls, "crm", quick=True)) == [False]
    assert behind(open_for(calls, "crm", quick=True)) == [True]


def test_without_capacity_such_a_quick_call_waits() -> None:
    calls = with_spare_lane(room=0)
    assert behind(open_for(calls, "slow", quick=True)) == []
    assert behind(open_for(calls, "crm", quick=True)) == [False]


def test_a_call_behind_others_counts_as_its_callers_lane() -> None:
    calls = with_spare_lane()
    report(calls, status(capacity(0, LANES, room=9), on_lanes=tuple(range(1, LANES + 2))))
    open_for(calls, "crm", quick=True)
    open_for(calls, "crm")
    open_for(calls, "web")
    assert actions(report(calls, capacity(2, LANES, room=8, behind=1))) == ["web"]


# ── what is on its way ──

TAKEN = {"all taken": (2, 2, 2), "one on its way": (2, 1, 1), "both on their way": (2, 0, 0), "no room": (0, 2, 0)}


@pytest.mark.parametrize(("room", "taken", "more"), TAKEN.values(), ids=TAKEN)
def test_capacity_of_calls_in_transit_is_not_assigned_again(room: int, taken: int, more: int) -> None:
    calls = up(free=0, room=2, limit=10)
    for name in "abcde":
        open_(calls, name, quick=True)
    assert behind(report(calls, capacity(0, 0, room, taken))) == [True] * more


def test_lanes_and_capacity_are_counted_separately() -> None:
    calls = up(free=1, room=1, limit=10)
    for name in "abcd":
        open_(calls, name, quick=True)
    assert behind(report(calls, capacity(1, 1, room=1, behind=0))) == [False], "the one behind others is on its way"
    assert behind(report(calls, capacity(1, 1, room=1, behind=1))) == [True], "and so is the second one for a lane"


def test_a_duplicate_report_assigns_no_further_calls() -> None:
    calls = up(free=0, limit=99)
    for _ in range(9):
        open_(calls, "a", quick=True)
    assert behind(report(calls, capacity(1, 0, room=2))) == [False, True, True]
    for _ in range(3):
        assert sends(report(calls, capacity(1, 0, room=2))) == []


def test_the_next_report_replaces_a_lost_one() -> None:
    calls = up(free=1, room=1, limit=99)
    for _ in range(9):
        open_(calls, "a", quick=True)
    assert behind(report(calls, capacity(3, 1, room=2, behind=1))) == [False] * 3 + [True] * 2
    assert behind(report(calls, capacity(1, 4, room=1, behind=3))) == [False, True]


def test_counting_restarts_with_a_new_reader() -> None:
    calls = up(free=1, room=1, limit=9)
    for name in "abcd":
        open_(calls, name, quick=True)
    calls.reader_lost(b"pbx1/1")
    assert behind(report(calls, status(capacity(1, room=1)), reader=b"pbx1/2", started=2)) == [False, True]


def test_a_returned_call_goes_to_any_available_lane() -> None:
    calls = up(free=0, room=1)
    assert behind(open_(calls, "a", quick=True)) == [True]
    calls.returned(1)
    assert behind(report(calls, capacity(1, 0, behind=1))) == [False]
    calls.returned(1)
    assert behind(report(calls, capacity(0, 1, room=1, behind=1))) == [True]


def test_an_undelivered_quick_call_waits_for_the_next_reader() -> None:
    calls = up(free=0, room=1)
    (send,) = sends(open_(calls, "a", quick=True))
    assert replies(calls.reader_lost(b"pbx1/1", [send.message])) == []
    assert behind(report(calls, status(capacity(1)), reader=b"pbx1/2", started=2)) == [False]
