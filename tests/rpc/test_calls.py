"""What becomes of a call: every end that it can have, told honestly, and no call handed out twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from amid.errors import AmidError
from amid.rpc.calls import Calls
from amid.rpc.messages import Capacity, Hello, Lanes, ReplayEvents, RunAction, Status, WantLanes
from amid.rpc.open_call import Effect, Reply, Send
from amid.rpc.server_queue import READER_FRESH_S, READER_TTL_S, SESSION_GRACE_S

NOW = 1000.0
READER = b"pbx1/1"
LANES = 4


class Asker(NamedTuple):
    request_id: str
    principal: str = "uid:1000"
    connection: str = "connection 1"


def action(
    calls: Calls, name: str = "Ping", *, deadline: float = NOW + 5.0, quick: bool = False, until: bytes | None = None
) -> RunAction:
    return RunAction(calls.new_call_id(), deadline, name, f"amid-{name}", b"", NOW, 65536, quick=quick, until=until)


def capacity(idle: int = 0, taken: int = 0, room: int = 0, behind: int = 0) -> Capacity:
    """taken, behind: the calls for idle lanes and for room that the reader has taken so far."""
    return Capacity(idle, room, taken, behind)


def status(free: Capacity | None = None, *, ready: bool = True, detail: str = "", on_lanes: tuple[int, ...] = ()) -> Status:
    """on_lanes: the calls that the reader has on its lanes, beside those that are free."""
    free = free or capacity()
    lanes = Lanes(free.idle, len(on_lanes), LANES, list(on_lanes))
    return Status(free, ready, "up" if ready else "connecting", detail, 0.0, 1, 0, "", lanes, {})


def report(calls: Calls, what: Status | Capacity, now: float = NOW, reader: Any = READER, started: int = 1) -> list[Effect]:
    return calls.reader_reported(reader, Hello("pbx1", started), what, now)


def replies(effects: list[Effect]) -> list[Reply]:
    return [effect for effect in effects if isinstance(effect, Reply)]


def sends(effects: list[Effect], kind: type = RunAction) -> list[Send]:
    return [effect for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def handed(effects: list[Effect]) -> list[RunAction]:
    """The calls that go to the reader."""
    return [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, RunAction)]


def actions(effects: list[Effect]) -> list[str]:
    return [request.action for request in handed(effects)]


def error(effects: list[Effect]) -> AmidError:
    """The error of the one reply among `effects`."""
    (reply,) = replies(effects)
    assert reply.error is not None
    return reply.error


def fresh(limit: int = 2, max_calls: int = 100) -> Calls:
    """No reader has reported yet."""
    return Calls({"pbx1": limit}, max_calls, max_calls, NOW)


def up(free: int = 1, limit: int = 2, max_calls: int = 100, room: int = 0) -> Calls:
    """A reader has reported and has `free` lanes."""
    calls = fresh(limit, max_calls)
    report(calls, status(capacity(free, room=room)))
    return calls


def open_(calls: Calls, name: str, *, timeout: float = 5.0, now: float = NOW, quick: bool = False) -> list[Effect]:
    return calls.open(Asker(name), "pbx1", action(calls, name, deadline=now + timeout, quick=quick), now)


def test_a_call_goes_to_a_free_lane_and_its_answer_to_its_caller() -> None:
    calls = up()
    effects = open_(calls, "a")
    (send,) = sends(effects)
    assert (send.reader, send.message) == (READER, RunAction(1, NOW + 5.0, "a", "amid-a", b"", NOW, 65536))
    assert calls.answered(1, b"result", None, NOW + 1) == [Reply(Asker("a"), b"result", None)]
    assert len(calls) == 0


def test_what_finds_no_free_lane_waits_and_the_reader_is_told() -> None:
    calls = up(free=1)
    open_(calls, "a")
    effects = open_(calls, "b")
    assert not sends(effects)
    assert sends(effects, WantLanes) == [Send(READER, WantLanes(1, False))]


def test_the_queue_is_served_in_order_as_lanes_become_free() -> None:
    calls = up(free=1)
    for name in "abc":
        open_(calls, name)
    assert actions(report(calls, capacity(2, 1), NOW + 0.1)) == ["b", "c"]


CREDIT = {"all taken": (2, 2, 2), "one on its way": (2, 1, 1), "both on their way": (2, 0, 0), "no lane": (0, 2, 0)}


@pytest.mark.parametrize(("free", "taken", "more"), CREDIT.values(), ids=CREDIT)
def test_lanes_promised_to_calls_that_are_still_on_their_way_are_not_given_again(free: int, taken: int, more: int) -> None:
    calls = up(free=2, limit=10)
    for name in "abcde":
        open_(calls, name)
    assert len(handed(report(calls, capacity(free, taken)))) == more


def test_a_reader_that_has_no_lane_after_all_gives_the_call_back_to_the_front() -> None:
    calls = up(free=1, limit=3)
    open_(calls, "a")
    open_(calls, "b")
    calls.returned(1)
    assert sends(open_(calls, "c")) == [], "the lane is not there before the reader reports it"
    assert actions(report(calls, capacity(1, 1))) == ["a"]


def test_a_call_given_back_twice_is_in_the_queue_once() -> None:
    calls = up(free=1)
    open_(calls, "a")
    calls.returned(1)
    calls.returned(1)
    assert len(sends(report(calls, capacity(4, 1)))) == 1


def test_giving_back_what_is_over_does_nothing() -> None:
    calls = up()
    open_(calls, "a")
    calls.answered(1, b"", None, NOW)
    calls.returned(1)
    assert report(calls, capacity(1, 1)) == []


# ── deadlines ──


def test_in_flight_at_its_deadline_is_a_timeout_that_may_have_been_carried_out() -> None:
    calls = up()
    open_(calls, "a", timeout=2.0)
    assert calls.next_deadline() == NOW + 2.0
    assert calls.tick(NOW + 1.9) == []
    failure = error(calls.tick(NOW + 2.0))
    assert (failure.kind, failure.sent, failure.server, failure.action_id) == ("timeout", True, "pbx1", "amid-a")


def test_queued_at_its_deadline_is_a_timeout_that_asterisk_never_saw() -> None:
    calls = up(free=0)
    open_(calls, "a", timeout=2.0)
    failure = error(calls.tick(NOW + 2.0))
    assert (failure.kind, failure.sent, failure.action_id) == ("timeout", False, None)
    assert not sends(report(calls, capacity(1, 0), NOW + 2.0)), "an overdue call is never handed out"


def test_a_lane_that_becomes_free_behind_the_deadline_does_not_get_the_call() -> None:
    calls = up(free=0)
    open_(calls, "late", timeout=2.0)
    open_(calls, "in time", timeout=9.0)
    effects = report(calls, capacity(1, 0), NOW + 2.0)
    assert (error(effects).kind, error(effects).sent) == ("timeout", False)
    assert actions(effects) == ["in time"]


LATENESS = {"nothing": (None, "its answer had not come"), "the response": ({"Response": "Success"}, "Hangup had not come")}


@pytest.mark.parametrize(("response", "said"), LATENESS.values(), ids=LATENESS)
def test_a_timeout_says_what_had_come(response: dict[Any, Any] | None, said: str) -> None:
    calls = up()
    calls.open(Asker("a"), "pbx1", action(calls, until=b"Hangup"), NOW)
    if response is not None:
        calls.progressed(1, response)
    failure = error(calls.tick(NOW + 5.0))
    assert said in failure.message
    assert failure.response == response


def test_an_answer_behind_the_deadline_is_counted_and_dropped() -> None:
    calls = up()
    open_(calls, "a", timeout=2.0)
    assert calls.answered(1, b"late", None, NOW + 2.0) == []
    assert calls.late == 1
    assert error(calls.tick(NOW + 2.0)).kind == "timeout"
    assert calls.answered(1, b"later", None, NOW + 3.0) == []
    assert calls.late == 2


def test_nothing_open_has_no_deadline() -> None:
    calls = up()
    open_(calls, "a")
    calls.answered(1, b"", None, NOW)
    assert calls.next_deadline() is None


# ── refusals ──


def test_a_full_queue_is_busy() -> None:
    calls = up(free=0, limit=2)
    open_(calls, "a")
    open_(calls, "b")
    failure = error(open_(calls, "c"))
    assert (failure.kind, failure.sent, len(calls)) == ("busy", False, 2)


def test_too_many_open_calls_are_busy() -> None:
    calls = up(free=2, max_calls=1)
    open_(calls, "a")
    failure = error(open_(calls, "b"))
    assert (failure.kind, failure.sent) == ("busy", False)
    assert "max_calls" in failure.message


def test_a_call_waits_through_a_gap_and_no_longer() -> None:
    calls = fresh()
    assert open_(calls, "a") == []
    assert calls.next_deadline() == NOW + SESSION_GRACE_S
    assert calls.tick(NOW + SESSION_GRACE_S - 0.01) == []
    failure = error(calls.tick(NOW + SESSION_GRACE_S))
    assert (failure.kind, failure.sent) == ("not_connected", False)


def test_a_call_behind_the_gap_is_refused_at_once_with_the_readers_reason() -> None:
    calls = fresh()
    report(calls, status(ready=False, detail="connection refused"))
    failure = error(open_(calls, "a", now=NOW + SESSION_GRACE_S))
    assert (failure.kind, failure.sent) == ("not_connected", False)
    assert "connection refused" in failure.message


def test_a_session_that_comes_back_in_time_takes_the_queue() -> None:
    calls = up()
    report(calls, status(ready=False))
    open_(calls, "a", now=NOW + 1)
    assert len(sends(report(calls, status(capacity(1)), NOW + 2))) == 1


# ── readers that go ──


def test_a_replaced_reader_loses_what_was_in_flight_and_its_successor_takes_the_queue() -> None:
    calls = up(free=1)
    open_(calls, "a")
    open_(calls, "b")
    effects = report(calls, status(capacity(1)), NOW + 1, b"pbx1/2", 2)
    failure = error(effects)
    assert (failure.kind, failure.sent, failure.action_id) == ("connection_lost", True, "amid-a")
    assert [send.reader for send in sends(effects)] == [b"pbx1/2"]
    assert actions(effects) == ["b"]


def test_an_older_incarnation_is_not_listened_to() -> None:
    calls = up(free=1)
    report(calls, status(capacity(0)), NOW, b"pbx1/2", 2)
    assert report(calls, status(capacity(5))) == []
    assert not sends(open_(calls, "a"))


def test_calls_are_not_handed_to_a_reader_that_was_not_heard_lately() -> None:
    calls = up(free=4)
    assert sends(open_(calls, "a", now=NOW + READER_FRESH_S - 0.01))
    assert not sends(open_(calls, "b", now=NOW + READER_FRESH_S))


def test_a_reader_that_falls_silent_loses_what_it_was_given() -> None:
    calls = up(free=1)
    open_(calls, "a")
    assert calls.next_deadline() == NOW + READER_TTL_S
    failure = error(calls.tick(NOW + READER_TTL_S))
    assert (failure.kind, failure.sent) == ("connection_lost", True)


def test_what_a_reader_that_has_ended_was_given_is_lost_at_once() -> None:
    calls = up(free=4)
    open_(calls, "a")
    assert calls.reader_lost(b"pbx1/0") == [], "it is not the one that has it"
    failure = error(calls.reader_lost(READER))
    assert (failure.kind, failure.sent, failure.action_id) == ("connection_lost", True, "amid-a")


def test_a_call_that_did_not_reach_its_reader_waits_for_the_next_one() -> None:
    calls = up(free=4)
    open_(calls, "a")
    (send,) = sends(open_(calls, "b"))
    assert [reply.origin.request_id for reply in replies(calls.reader_lost(READER, [send.message]))] == ["a"]
    effects = report(calls, status(capacity(1)), NOW + 1, b"pbx1/2", 2)
    assert replies(effects) == []
    assert sends(effects) == [Send(b"pbx1/2", send.message)]


def test_calls_that_did_not_reach_their_reader_keep_their_order() -> None:
    calls = up(free=3, limit=9)
    messages = [sends(open_(calls, name))[0].message for name in "abc"]
    calls.reader_lost(READER, [messages[0], messages[2], messages[1]])
    assert actions(report(calls, status(capacity(9)), NOW + 1, b"pbx1/2", 2)) == ["a", "b", "c"]


def test_nothing_is_handed_to_a_reader_that_has_ended() -> None:
    calls = up(free=4)
    calls.reader_lost(READER)
    assert open_(calls, "a") == []


def test_a_want_that_did_not_arrive_is_said_again_to_the_next_reader() -> None:
    calls = up(free=0)
    (want,) = sends(open_(calls, "a"), WantLanes)
    calls.reader_lost(READER, [want.message])
    assert sends(report(calls, status(capacity(0)), NOW + 1, b"pbx1/2", 2), WantLanes)


# ── replay ──


def replay(calls: Calls, now: float = NOW) -> list[Effect]:
    return calls.open(Asker("r"), "pbx1", ReplayEvents(calls.new_call_id(), now + 5.0, 1, 0, 100), now)


def test_replay_needs_no_lane_and_no_session() -> None:
    calls = fresh()
    report(calls, status(ready=False))
    assert len(sends(replay(calls), ReplayEvents)) == 1


def test_replay_takes_no_credit_from_the_lanes() -> None:
    calls = up(free=1)
    replay(calls)
    assert len(sends(open_(calls, "a"))) == 1


def test_replay_without_a_reader_is_refused() -> None:
    failure = error(replay(fresh()))
    assert (failure.kind, failure.sent) == ("not_connected", False)


def test_replay_from_a_reader_that_fell_silent_is_refused() -> None:
    assert error(replay(up(), NOW + READER_TTL_S)).kind == "not_connected"


def test_a_replay_that_fails_was_never_an_action() -> None:
    calls = up()
    replay(calls)
    assert error(calls.tick(NOW + 5.0)).sent is False


# ── configuration and the end ──


def test_the_calls_of_a_server_taken_out_end_honestly() -> None:
    calls = up(free=1)
    open_(calls, "a")
    open_(calls, "b")
    effects = calls.configure({"other": 2}, 100, 100, NOW)
    outcomes = {reply.origin.request_id: (reply.error.kind, reply.error.sent) for reply in replies(effects) if reply.error}
    assert outcomes == {"a": ("connection_lost", True), "b": ("not_connected", False)}
    assert list(calls.servers) == ["other"]
    assert calls.answered(1, b"", None, NOW) == []
    assert report(calls, status(capacity(1, 1))) == []
    calls.returned(2)
    assert len(calls) == 0


def test_a_server_that_stays_keeps_its_calls_and_takes_its_new_limit() -> None:
    calls = up(free=0, limit=2)
    open_(calls, "a")
    calls.configure({"pbx1": 1}, 100, 100, NOW)
    assert error(open_(calls, "b")).kind == "busy"
    assert len(calls) == 1


def test_a_reader_that_was_there_before_its_server_came_back_is_given_no_more_than_it_takes() -> None:
    """It goes on counting what it has taken on the same pipe."""
    calls = up(free=1)
    open_(calls, "a")
    for names in ("other", "pbx1"):
        calls.configure({names: 9}, 100, 100, NOW)
    report(calls, status(capacity(1, taken=1)))
    assert [len(sends(open_(calls, name))) for name in "bc"] == [1, 0]


def test_the_end_answers_everybody() -> None:
    calls = up(free=1)
    open_(calls, "a")
    open_(calls, "b")
    outcomes = {reply.origin.request_id: (reply.error.kind, reply.error.sent) for reply in replies(calls.fail_all()) if reply.error}
    assert outcomes == {"a": ("connection_lost", True), "b": ("not_connected", False)}
    assert len(calls) == 0
