"""A lane with several quick actions: which actions may follow which, and the owner of an Error
without ActionID."""

from __future__ import annotations

import pytest

from amid.ami.exchange import Answer, Call, TooLarge
from amid.ami.lane import ABANDONED_S, MAX_PIPELINED, PIPELINE_WITHIN_S, Lane
from amid.ami.packet import ProtocolError
from amid.ami.session import Login, Session, SessionTimeouts
from amid.simulator import session as simulated
from amid.simulator.actions import act
from amid.simulator.pbx import Pbx
from tests.ami.lane_call import lane_call
from tests.ami.test_lane import IDLESS, answer, event, pong, ready, sent
from tests.simulator.releases import RELEASES, act_of


def put(
    lane: Lane, *numbers: int, action: str = "Ping", quick: bool = True, deadline: float = 105.0, now: float = 100.0
) -> list[Call]:
    """Start calls with these numbers, whose ActionIDs are a1, a2, …"""
    calls: list[Call] = []
    for number in numbers:
        calls.append(lane_call(number, action, f"a{number}", deadline, 1000, quick=quick))
        lane.start(calls[-1], now)
    return calls


def deep(count: int = 3) -> tuple[Lane, list[Call]]:
    """A lane with `count` open quick calls."""
    lane = ready()
    calls = put(lane, *range(1, count + 1))
    assert [action_id for _, action_id in sent(lane)] == [call.action_id for call in calls]
    return lane, calls


def ids(outcomes: list[tuple[Call, Answer | TooLarge]]) -> list[int]:
    return [call.call_id for call, _ in outcomes]


# ── room ──


def test_an_idle_lane_has_full_capacity() -> None:
    lane = ready()
    assert lane.room(100.0) == MAX_PIPELINED == 16 and lane.call_ids == []


def test_capacity_shrinks_until_the_lane_is_full() -> None:
    lane, calls = deep(MAX_PIPELINED - 1)
    assert lane.room(100.0) == 1 and not lane.idle
    calls += put(lane, MAX_PIPELINED)
    assert lane.room(100.0) == 0 and lane.call_ids == [call.call_id for call in calls]
    with pytest.raises(AssertionError):
        put(lane, MAX_PIPELINED + 1)


def test_no_action_is_queued_behind_one_that_has_run_for_10_ms() -> None:
    lane = ready()
    put(lane, 1, now=100.0)
    put(lane, 2, now=100.009)
    assert lane.room(100.0099) == MAX_PIPELINED - 2 and lane.room(100.0 + PIPELINE_WITHIN_S) == 0
    lane.feed(answer("a1"), 100.011)
    assert lane.room(100.011) == MAX_PIPELINED - 1, "the oldest is over"
    assert lane.room(100.02) == 0


def test_a_slow_action_has_the_lane_to_itself() -> None:
    lane = ready()
    put(lane, 1, quick=False)
    assert lane.room(100.0) == 0
    lane.feed(answer("a1"), 100.0)
    put(lane, 2)
    with pytest.raises(AssertionError):
        put(lane, 3, quick=False)


def test_no_action_is_queued_behind_a_ping() -> None:
    lane, _ = deep()
    lane.feed(IDLESS, 100.0)
    assert lane.room(100.0) == 0
    lane.feed(answer("a1") + answer("a2"), 100.0)
    assert lane.room(100.0) == 0
    assert ids(pong(lane)) == [3] and lane.room(100.0) == MAX_PIPELINED


@pytest.mark.parametrize("how", ["spent", "logged off"])
def test_a_closing_lane_accepts_nothing_and_completes_open_calls(how: str) -> None:
    lane, _ = deep()
    if how == "spent":
        lane.spent = True
    else:
        lane.session.log_off()
    assert lane.room(100.0) == 0
    assert ids(lane.feed(answer("a2") + answer("a1") + answer("a3"), 100.0)) == [2, 1, 3] and not lane.idle


# ── answers ──


def test_answers_are_matched_by_action_id_not_by_order() -> None:
    lane, _ = deep()
    stream = answer("a3", "EventList: start\r\n") + answer("a1", "Is: 1\r\n") + event("a3") + answer("a2", "Is: 2\r\n")
    outcomes = lane.feed(stream + event("a3", "EventList: Complete\r\n"), 100.0)
    assert ids(outcomes) == [1, 2, 3] and lane.idle
    for call, outcome in outcomes[:2]:
        assert isinstance(outcome, Answer) and outcome.response and outcome.response.get("Is") == str(call.call_id)
    assert isinstance(outcomes[2][1], Answer) and len(outcomes[2][1].events) == 1


@pytest.mark.parametrize("packet", [b"Event: PeerEntry", b"text", b"Response: Success", b"Event: X\r\nActionID: a9"])
def test_a_packet_with_an_unknown_action_id_is_counted(packet: bytes) -> None:
    lane, _ = deep()
    assert lane.feed(packet + b"\r\n\r\n", 100.0) == [] and lane.unknown == 1 and not lane.session.pinging()


@pytest.mark.parametrize("together", [True, False])
def test_an_unmarked_list_on_a_shared_lane(together: bool) -> None:
    """Lists before Asterisk 13.2 are unmarked: the Ping after it proves its end, and nothing about
    other actions."""
    lane = ready()
    put(lane, 1, 3)
    put(lane, 2, action="QueueStatus")
    sent(lane)
    marked_half = answer("a3", "EventList: start\r\n")
    assert ids(lane.feed(answer("a1") + marked_half + answer("a2") + event("a2"), 100.0)) == [1]
    assert lane.room(100.0) == 0
    closing = b"Event: QueueStatusComplete\r\nActionID: a2\r\n\r\n" if together else b""
    assert ids(lane.feed(closing, 100.0) if closing else []) == ([2] if together else [])
    assert ids(pong(lane)) == ([] if together else [2])
    assert lane.call_ids == [3], "half a marked list is not whole because of another's Ping"
    assert ids(lane.feed(event("a3", "EventList: Complete\r\n"), 100.0)) == [3]


# ── an Error without ActionID ──


@pytest.mark.parametrize("early", [True, False], ids=["before the others' answers", "behind them"])
def test_an_error_without_id_belongs_to_the_only_unanswered_call(early: bool) -> None:
    lane, _ = deep()
    stream = [IDLESS, answer("a1") + answer("a3")]
    outcomes = [o for data in (stream if early else stream[::-1]) for o in lane.feed(data, 100.0)]
    assert ids(outcomes) == [1, 3], "nothing is said of the second before the Ping is answered"
    [(call, outcome)] = pong(lane)
    assert call.call_id == 2 and isinstance(outcome, Answer) and outcome.failed and outcome.response
    assert "line too long" in outcome.response.get("Message") and lane.idle and lane.unknown == 0


def test_an_error_without_id_is_counted_when_all_calls_are_answered() -> None:
    lane, _ = deep()
    assert ids(lane.feed(answer("a1") + IDLESS + answer("a2") + answer("a3"), 100.0)) == [1, 2, 3]
    assert not lane.idle, "the Ping is out"
    assert pong(lane) == [] and lane.unknown == 1 and lane.idle


def test_a_started_list_counts_as_an_answer() -> None:
    lane, _ = deep(2)
    assert lane.feed(answer("a1", "EventList: start\r\n") + IDLESS, 100.0) == []
    assert ids(pong(lane)) == [2] and lane.call_ids == [1]


def test_an_error_without_id_with_two_candidates_ends_the_session() -> None:
    lane, calls = deep()
    assert lane.feed(IDLESS, 100.0) == []
    [(_, ping)] = sent(lane)
    with pytest.raises(ProtocolError, match="Error without ActionID belongs to one of 2 actions"):
        lane.feed(answer("a2") + answer(ping), 100.0)
    (done, outcome), *lost = lane.lost()
    assert done is calls[1] and isinstance(outcome, Answer), "what was complete is not lost"
    assert lost == [(calls[0], None), (calls[2], None)]


def test_an_abandoned_call_is_also_a_candidate() -> None:
    lane = ready()
    put(lane, 1, deadline=101.0)
    [_, other] = [*put(lane, 2, deadline=101.0), *put(lane, 3, deadline=110.0)]
    sent(lane)
    lane.check(101.0)
    [(_, ping)] = sent(lane)
    lane.feed(IDLESS + answer("a2"), 101.0)
    with pytest.raises(ProtocolError, match="belongs to one of 2 actions"):
        lane.feed(answer(ping), 101.0)
    assert lane.lost() == [(other, None)]


def test_the_error_of_an_abandoned_call_is_late() -> None:
    lane = ready()
    put(lane, 1, deadline=101.0)
    put(lane, 2, deadline=110.0)
    sent(lane)
    lane.check(101.0)
    assert ids(lane.feed(IDLESS + answer("a2"), 101.0)) == [2]
    assert pong(lane, 101.0) == [] and lane.idle and lane.unknown == 1


def test_an_error_without_id_is_no_outcome_when_a_shared_session_ends() -> None:
    """It may be forged in the first answer; the outcome of the second call is unknown."""
    lane, calls = deep(2)
    assert ids(lane.feed(answer("a1") + IDLESS, 100.0)) == [1]
    with pytest.raises(ProtocolError):
        lane.feed(b"", 100.0)
    assert lane.lost() == [(calls[1], None)]


# ── deadlines and sizes ──


def test_a_timeout_does_not_affect_other_calls_of_the_lane() -> None:
    lane = ready()
    put(lane, 1, deadline=101.0)
    put(lane, 2, 3, deadline=110.0)
    sent(lane)
    assert lane.next_deadline() == 101.0
    lane.check(101.0)
    assert lane.room(101.0) == 0 and lane.call_ids == [1, 2, 3]
    assert ids(lane.feed(answer("a2"), 101.0)) == [2]
    assert ids(lane.feed(answer("a1"), 101.0)) == [] and lane.late == 1 and lane.call_ids == [1, 3]
    assert pong(lane, 101.1) == [] and lane.call_ids == [3], "the Ping's answer frees its place"
    assert ids(lane.feed(answer("a3"), 101.2)) == [3] and lane.idle


def test_a_ping_is_not_overdue_while_a_call_before_it_may_be_slow() -> None:
    """Behind a call that timed out, and behind a UserEvent."""
    lane = ready()
    put(lane, 1, deadline=101.0)
    [event_call, slow] = [*put(lane, 2, action="UserEvent", deadline=130.0), *put(lane, 3, deadline=120.0)]
    sent(lane)
    lane.feed(answer("a2"), 100.0)
    lane.check(101.0)
    assert len(sent(lane)) == 1 and lane.next_deadline() == 120.0
    lane.check(119.9)
    assert ids(lane.feed(answer("a3"), 119.9)) == [3]
    lane.check(120.0)
    assert lane.next_deadline() == 124.9
    with pytest.raises(ProtocolError, match="a Ping was not answered within 5 s"):
        lane.check(124.9)
    assert slow.call_id == 3 and [(call, isinstance(one, Answer)) for call, one in lane.lost()] == [(event_call, True)]


def test_the_deadline_of_a_slow_call_ends_the_wait_for_a_ping() -> None:
    lane = ready()
    put(lane, 1, deadline=101.0)
    put(lane, 2, deadline=400.0)
    lane.check(101.0)
    lane.feed(answer("a1"), 101.5)
    lane.check(399.9)
    assert lane.next_deadline() == 400.0
    with pytest.raises(ProtocolError, match="a Ping was not answered within 5 s"):
        lane.check(400.0)
    assert lane.lost() == []


def test_an_endless_answer_fails_once_the_calls_beside_it_are_done() -> None:
    lane = ready()
    put(lane, 1, action="QueueStatus", deadline=101.0)
    put(lane, 2, deadline=400.0)
    lane.check(101.0)
    lane.feed(answer("a2") + event("a1"), 160.0)
    assert lane.next_deadline() == 101.0 + ABANDONED_S
    with pytest.raises(ProtocolError, match="no complete answer within 60 s of the deadline: QueueStatus"):
        lane.check(101.0 + ABANDONED_S)


def test_a_repeated_response_is_no_part_of_the_answer_to_a_user_event() -> None:
    lane = ready()
    put(lane, 1, action="UserEvent")
    sent(lane)
    lane.feed(answer("a1") * 2, 100.0)
    [(_, outcome)] = pong(lane, 100.1)
    assert isinstance(outcome, Answer) and len(outcome.packets) == 1 and lane.unknown == 1


def test_a_list_in_place_of_the_response_to_a_user_event_is_whole() -> None:
    lane = ready()
    [call] = put(lane, 1, action="UserEvent")
    item, end = (b"Event: Item%b\r\nActionID: a1\r\n\r\n" % mark for mark in (b"", b"\r\nEventList: Complete"))
    assert lane.feed(answer("a1", "EventList: start\r\n"), 100.0) == []
    assert lane.lost() == [(call, None)], "its end is missing"
    [(_, outcome)] = lane.feed(item + end, 100.1)
    assert isinstance(outcome, Answer) and len(outcome.events) == 1 and outcome.complete is not None


def test_simultaneous_timeouts_send_one_ping() -> None:
    lane, _ = deep(5)
    lane.check(105.0)
    assert len(sent(lane)) == 1 and lane.lost() == []


def test_a_too_large_answer_does_not_affect_other_calls() -> None:
    lane, _ = deep()
    [(call, outcome), (other, _)] = lane.feed(answer("a2", "X: " + "y" * 1000 + "\r\n") + answer("a3"), 100.0)
    assert call.call_id == 2 and isinstance(outcome, TooLarge) and other.call_id == 3
    assert lane.call_ids == [1, 2] and lane.room(100.0) == 0
    assert pong(lane) == [] and lane.call_ids == [1]
    assert ids(lane.feed(answer("a1"), 100.0)) == [1]


def test_a_session_end_loses_all_open_calls() -> None:
    lane, calls = deep()
    lane.feed(answer("a2"), 100.0)
    with pytest.raises(ProtocolError):
        lane.feed(b"", 100.0)
    assert lane.lost() == [(calls[0], None), (calls[2], None)]


def test_a_session_end_keeps_the_response_to_a_user_event() -> None:
    lane = ready()
    [event_call, other] = [*put(lane, 1, action="UserEvent"), *put(lane, 2)]
    lane.feed(answer("a1", "Message: Event Sent\r\n"), 100.0)
    [(call, outcome), second] = lane.lost()
    assert call is event_call and isinstance(outcome, Answer) and not outcome.failed and second == (other, None)


# ── the releases ──


@pytest.mark.parametrize("version", RELEASES)
def test_a_full_lane_works_on_each_release(version: int) -> None:
    """Unmarked lists and single answers mixed: all are complete and reach their callers."""
    user = simulated.User("amid", "secret")
    peer = simulated.Session(Pbx(100.0, 1), [user], act_of(version, act), RELEASES[version])
    lane = Lane(Session(Login("amid", "secret", events="off"), SessionTimeouts(), 1 << 20))
    outcomes: list[tuple[Call, Answer | TooLarge]] = []

    def exchange() -> None:
        data, peer.outgoing = bytes(peer.outgoing), bytearray()
        outcomes.extend(lane.feed(data, 100.0))
        peer.receive(lane.session.data_to_send(), 100.0)

    while not lane.idle:
        exchange()
    for number in range(MAX_PIPELINED):
        action, fields = (("QueueStatus", {}), ("Getvar", {"Variable": f"V{number}"}))[number % 2]
        lane.start(lane_call(number, action, f"a{number}", 105.0, 1 << 20, quick=True, fields=fields), 100.0)
    peer.receive(lane.session.data_to_send(), 100.0)
    while not lane.idle:
        exchange()
    assert ids(outcomes) == list(range(MAX_PIPELINED)) and lane.unknown == lane.late == 0
    for call, outcome in outcomes:
        assert isinstance(outcome, Answer) and outcome.response and outcome.response.action_id == call.action_id
        complete = outcome.complete.event if outcome.complete else ""
        assert complete == ("QueueStatusComplete" if call.action == "QueueStatus" else "")
        assert call.action == "QueueStatus" or outcome.response.get("Variable") == f"V{call.call_id}"
