"""The outcomes of a call, each reported correctly, and no call sent twice."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from amid import wire
from amid.errors import AmidError
from amid.rpc.calls import Calls
from amid.rpc.messages import Capacity, Hello, Lanes, PullEvents, RunAction, Status, WantLanes
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
    """taken, behind: the calls for idle lanes and for shared lanes that the reader has accepted so
    far."""
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
    """The calls that are sent to the reader."""
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


def test_a_call_without_a_free_lane_waits_and_the_reader_is_notified() -> None:
    calls = up(free=1)
    open_(calls, "a")
    effects = open_(calls, "b")
    assert not sends(effects)
    assert sends(effects, WantLanes) == [Send(READER, WantLanes(1, False))]


def test_the_reader_is_asked_again_while_a_call_waits() -> None:
    """When it was asked, its lane had become free, and it opened one lane for two calls. Later calls waited for slow actions,
    although it could open more lanes."""
    calls = up(free=1, limit=9)
    for name in "abc":
        open_(calls, name)
    assert actions(report(calls, capacity(1, 1), NOW + 0.001)) == ["b"]
    assert not open_(calls, "d"), "it was asked for two lanes already"
    assert actions(report(calls, capacity(1, 2), NOW + 0.002)) == ["c"]
    effects = report(calls, status(capacity(0, 3), on_lanes=(2, 3)), NOW + 0.5)
    assert sends(effects, WantLanes) == [Send(READER, WantLanes(1, False))]


def test_the_queue_is_served_in_order_as_lanes_become_free() -> None:
    calls = up(free=1)
    for name in "abc":
        open_(calls, name)
    assert actions(report(calls, capacity(2, 1), NOW + 0.1)) == ["b", "c"]


CREDIT = {"all taken": (2, 2, 2), "one on its way": (2, 1, 1), "both on their way": (2, 0, 0), "no lane": (0, 2, 0)}


@pytest.mark.parametrize(("free", "taken", "more"), CREDIT.values(), ids=CREDIT)
def test_lanes_of_calls_in_transit_are_not_assigned_again(free: int, taken: int, more: int) -> None:
    calls = up(free=2, limit=10)
    for name in "abcde":
        open_(calls, name)
    assert len(handed(report(calls, capacity(free, taken)))) == more


def test_a_returned_call_goes_to_the_front_of_the_queue() -> None:
    calls = up(free=1, limit=3)
    open_(calls, "a")
    open_(calls, "b")
    calls.returned(1)
    assert sends(open_(calls, "c")) == [], "the lane is not there before the reader reports it"
    assert actions(report(calls, capacity(1, 1))) == ["a"]


def test_a_call_returned_twice_is_queued_once() -> None:
    calls = up(free=1)
    open_(calls, "a")
    calls.returned(1)
    calls.returned(1)
    assert len(sends(report(calls, capacity(4, 1)))) == 1


def test_returning_an_ended_call_does_nothing() -> None:
    calls = up()
    open_(calls, "a")
    calls.answered(1, b"", None, NOW)
    calls.returned(1)
    assert report(calls, capacity(1, 1)) == []


# ── deadlines ──


def test_an_open_call_at_its_deadline_times_out_and_may_have_run() -> None:
    calls = up()
    open_(calls, "a", timeout=2.0)
    assert calls.next_deadline() == NOW + 2.0
    assert calls.tick(NOW + 1.9) == []
    failure = error(calls.tick(NOW + 2.0))
    assert (failure.kind, failure.sent, failure.server, failure.action_id) == ("timeout", True, "pbx1", "amid-a")


def test_a_queued_call_at_its_deadline_times_out_unsent() -> None:
    calls = up(free=0)
    open_(calls, "a", timeout=2.0)
    failure = error(calls.tick(NOW + 2.0))
    assert (failure.kind, failure.sent, failure.action_id) == ("timeout", False, None)
    assert not sends(report(calls, capacity(1, 0), NOW + 2.0)), "an overdue call is never handed out"


def test_a_lane_that_becomes_free_after_the_deadline_does_not_get_the_call() -> None:
    calls = up(free=0)
    open_(calls, "late", timeout=2.0)
    open_(calls, "in time", timeout=9.0)
    effects = report(calls, capacity(1, 0), NOW + 2.0)
    assert (error(effects).kind, error(effects).sent) == ("timeout", False)
    assert actions(effects) == ["in time"]


LATENESS = {"nothing": (None, "Asterisk had not answered"), "the response": ({"Response": "Success"}, "Hangup had not come")}


@pytest.mark.parametrize(("response", "said"), LATENESS.values(), ids=LATENESS)
def test_a_timeout_includes_partial_answers(response: dict[Any, Any] | None, said: str) -> None:
    calls = up()
    calls.open(Asker("a"), "pbx1", action(calls, until=b"Hangup"), NOW)
    if response is not None:
        calls.progressed(1, response)
    failure = error(calls.tick(NOW + 5.0))
    assert said in failure.message
    assert failure.response == response


def test_an_answer_after_the_deadline_is_counted_and_dropped() -> None:
    calls = up()
    open_(calls, "a", timeout=2.0)
    assert calls.answered(1, b"late", None, NOW + 2.0) == []
    assert calls.late == 1
    assert error(calls.tick(NOW + 2.0)).kind == "timeout"
    assert calls.answered(1, b"later", None, NOW + 3.0) == []
    assert calls.late == 2


def test_without_calls_there_is_no_deadline() -> None:
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


def test_a_call_waits_for_a_session_for_a_limited_time() -> None:
    calls = fresh()
    assert open_(calls, "a") == []
    assert calls.next_deadline() == NOW + SESSION_GRACE_S
    assert calls.tick(NOW + SESSION_GRACE_S - 0.01) == []
    failure = error(calls.tick(NOW + SESSION_GRACE_S))
    assert (failure.kind, failure.sent) == ("not_connected", False)


def test_a_call_after_that_time_is_refused_with_the_readers_reason() -> None:
    calls = fresh()
    report(calls, status(ready=False, detail="connection refused"))
    failure = error(open_(calls, "a", now=NOW + SESSION_GRACE_S))
    assert (failure.kind, failure.sent) == ("not_connected", False)
    assert "connection refused" in failure.message


def test_a_session_that_reconnects_in_time_serves_the_queue() -> None:
    calls = up()
    report(calls, status(ready=False))
    open_(calls, "a", now=NOW + 1)
    assert len(sends(report(calls, status(capacity(1)), NOW + 2))) == 1


# ── readers that go ──


def test_a_replaced_reader_loses_open_calls_and_the_next_serves_the_queue() -> None:
    calls = up(free=1)
    open_(calls, "a")
    open_(calls, "b")
    effects = report(calls, status(capacity(1)), NOW + 1, b"pbx1/2", 2)
    failure = error(effects)
    assert (failure.kind, failure.sent, failure.action_id) == ("connection_lost", True, "amid-a")
    assert [send.reader for send in sends(effects)] == [b"pbx1/2"]
    assert actions(effects) == ["b"]


def test_messages_of_an_older_reader_are_ignored() -> None:
    calls = up(free=1)
    report(calls, status(capacity(0)), NOW, b"pbx1/2", 2)
    assert report(calls, status(capacity(5))) == []
    assert not sends(open_(calls, "a"))


def test_calls_are_not_sent_to_a_silent_reader() -> None:
    calls = up(free=4)
    assert sends(open_(calls, "a", now=NOW + READER_FRESH_S - 0.01))
    assert not sends(open_(calls, "b", now=NOW + READER_FRESH_S))


def test_a_silent_reader_loses_its_calls() -> None:
    calls = up(free=1)
    open_(calls, "a")
    assert calls.next_deadline() == NOW + READER_TTL_S
    failure = error(calls.tick(NOW + READER_TTL_S))
    assert (failure.kind, failure.sent) == ("connection_lost", True)


def test_calls_of_an_ended_reader_are_lost_at_once() -> None:
    calls = up(free=4)
    open_(calls, "a")
    assert calls.reader_lost(b"pbx1/0") == [], "it is not the one that has it"
    failure = error(calls.reader_lost(READER))
    assert (failure.kind, failure.sent, failure.action_id) == ("connection_lost", True, "amid-a")


def test_an_undelivered_call_waits_for_the_next_reader() -> None:
    calls = up(free=4)
    open_(calls, "a")
    (send,) = sends(open_(calls, "b"))
    assert [reply.origin.request_id for reply in replies(calls.reader_lost(READER, [send.message]))] == ["a"]
    effects = report(calls, status(capacity(1)), NOW + 1, b"pbx1/2", 2)
    assert replies(effects) == []
    assert sends(effects) == [Send(b"pbx1/2", send.message)]


def test_undelivered_calls_keep_their_order() -> None:
    calls = up(free=3, limit=9)
    messages = [sends(open_(calls, name))[0].message for name in "abc"]
    calls.reader_lost(READER, [messages[0], messages[2], messages[1]])
    assert actions(report(calls, status(capacity(9)), NOW + 1, b"pbx1/2", 2)) == ["a", "b", "c"]


def test_no_call_is_sent_to_an_ended_reader() -> None:
    calls = up(free=4)
    calls.reader_lost(READER)
    assert open_(calls, "a") == []


def test_an_undelivered_lane_request_is_repeated_to_the_next_reader() -> None:
    calls = up(free=0)
    (want,) = sends(open_(calls, "a"), WantLanes)
    calls.reader_lost(READER, [want.message])
    assert sends(report(calls, status(capacity(0)), NOW + 1, b"pbx1/2", 2), WantLanes)


# ── events by pull ──


def pull(calls: Calls, now: float = NOW, after: tuple[int | None, int] = (1, 7), name: str = "p") -> list[Effect]:
    request = PullEvents(calls.new_call_id(), now + 5.03, now + 5.0, *after, [], 100)
    return calls.open(Asker(name), "pbx1", request, now)


def pulled(effects: list[Effect]) -> list[tuple[bytes, int | None, int]]:
    """The readers that are asked, and the cursors."""
    requests = [(send.reader, send.message) for send in sends(effects, PullEvents)]
    return [(reader, one.epoch, one.seq) for reader, one in requests if isinstance(one, PullEvents)]


def page(effects: list[Effect]) -> dict[str, Any]:
    """The result of the one reply among `effects`."""
    (reply,) = replies(effects)
    assert reply.result is not None
    result: dict[str, Any] = wire.unpack(reply.result)
    return result


def test_a_pull_needs_no_lane_and_no_session() -> None:
    calls = fresh()
    report(calls, status(ready=False))
    assert pulled(pull(calls)) == [(READER, 1, 7)]


def test_a_pull_uses_no_lane_credit() -> None:
    calls = up(free=1)
    pull(calls)
    assert len(sends(open_(calls, "a"))) == 1


def test_a_pull_waits_for_a_reader() -> None:
    calls = fresh()
    assert pull(calls) == []
    assert pulled(report(calls, status(ready=False), NOW + 1)) == [(READER, 1, 7)]
    assert pulled(report(calls, status(), NOW + 2)) == [], "it is handed once"


def test_a_pull_continues_at_the_next_reader() -> None:
    calls = up()
    pull(calls)
    assert calls.reader_lost(READER) == []
    assert pulled(report(calls, status(), NOW + 1, b"pbx1/2", 2)) == [(b"pbx1/2", 1, 7)]
    assert calls.answered(1, b"page", None, NOW + 2) == [Reply(Asker("p"), b"page", None)]


def test_a_reader_replaced_before_its_end_is_noticed_loses_no_pull() -> None:
    calls = up()
    pull(calls)
    assert pulled(report(calls, status(), NOW + 1, b"pbx1/2", 2)) == [(b"pbx1/2", 1, 7)]


def test_a_pull_without_a_cursor_continues_after_the_last_reported_event() -> None:
    """Events in between must not be lost silently."""
    calls = up()
    pull(calls, after=(None, 0))
    calls.reader_lost(READER)
    assert pulled(report(calls, status(), NOW + 1, b"pbx1/2", 2)) == [(b"pbx1/2", 1, 0)]


def test_an_abandoned_pull_is_not_sent() -> None:
    calls = fresh()
    pull(calls)
    calls.disconnected("connection 1")
    assert report(calls, status(), NOW + 1) == []
    assert calls.next_deadline() is None and len(calls) == 0


def test_a_silent_reader_fails_no_pull() -> None:
    calls = up()
    pull(calls)
    assert calls.tick(NOW + READER_TTL_S) == []


def test_a_pull_whose_reader_does_not_answer_is_answered_empty() -> None:
    calls = up()
    pull(calls)
    assert calls.next_deadline() == NOW + 5.03
    expected = {"server": "pbx1", "epoch": 1, "seq": 7, "events": [], "missed": 0, "more": False}
    assert page(calls.tick(NOW + 5.03)) == expected
    assert calls.answered(1, b"late", None, NOW + 5.04) == [] and calls.late == 1


def test_a_pull_without_a_cursor_gets_the_reported_one_from_a_reader_that_does_not_answer() -> None:
    """A busy reader may take longer than the moment that a pull with timeout 0 has."""
    calls = up()
    pull(calls, after=(None, 0))
    expected = {"server": "pbx1", "epoch": 1, "seq": 0, "events": [], "missed": 0, "more": False}
    assert page(calls.tick(NOW + 5.03)) == expected


def test_a_pull_without_cursor_and_reader_times_out() -> None:
    calls = fresh()
    pull(calls, after=(None, 0))
    failure = error(calls.tick(NOW + 5.03))
    assert (failure.kind, failure.sent) == ("timeout", False)
    assert "the reader of server pbx1 did not answer" in failure.message


def test_pulls_end_at_once_with_the_broker() -> None:
    calls = up()
    pull(calls)
    pull(calls, after=(None, 0), name="q")
    first, second = replies(calls.end_pulls())
    assert wire.unpack(first.result or b"")["seq"] == 7
    assert wire.unpack(second.result or b"")["seq"] == 0
    assert len(calls) == 0


def test_the_pulls_of_a_removed_server_end() -> None:
    calls = up()
    pull(calls)
    assert error(calls.configure({}, 100, 100, NOW)).kind == "not_connected"
    assert len(calls) == 0


# ── configuration and the end ──


def test_the_calls_of_a_removed_server_end_with_correct_sent() -> None:
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


def test_a_kept_server_keeps_its_calls_and_gets_its_new_limit() -> None:
    calls = up(free=0, limit=2)
    open_(calls, "a")
    calls.configure({"pbx1": 1}, 100, 100, NOW)
    assert error(open_(calls, "b")).kind == "busy"
    assert len(calls) == 1


def test_a_reader_older_than_its_servers_return_is_not_overloaded() -> None:
    """It continues its counters on the same pipe."""
    calls = up(free=1)
    open_(calls, "a")
    for names in ("other", "pbx1"):
        calls.configure({names: 9}, 100, 100, NOW)
    report(calls, status(capacity(1, taken=1)))
    assert [len(sends(open_(calls, name))) for name in "bc"] == [1, 0]


def test_shutdown_answers_every_call() -> None:
    calls = up(free=1)
    open_(calls, "a")
    open_(calls, "b")
    outcomes = {reply.origin.request_id: (reply.error.kind, reply.error.sent) for reply in replies(calls.fail_all()) if reply.error}
    assert outcomes == {"a": ("connection_lost", True), "b": ("not_connected", False)}
    assert len(calls) == 0


# ── bugs ──


def test_a_call_that_cannot_be_sent_ends_unsent_and_frees_its_lane() -> None:
    calls = up(free=1)
    (send,) = sends(open_(calls, "a"))
    failure = error(calls.cannot_carry_out(send))
    assert (failure.kind, failure.sent, len(calls)) == ("internal_error", False, 0)
    assert actions(open_(calls, "b")) == ["b"], "nothing is on the lane"
    assert calls.cannot_carry_out(send) == [], "it has ended"


def test_a_pull_that_cannot_be_sent_ends() -> None:
    calls = up()
    (send,) = sends(pull(calls), PullEvents)
    assert error(calls.cannot_carry_out(send)).kind == "internal_error"
    assert len(calls) == 0


def test_a_reply_that_cannot_be_sent_becomes_an_error_once() -> None:
    calls = up()
    open_(calls, "a")
    (reply,) = calls.answered(1, b"result", None, NOW + 1)
    (instead,) = calls.cannot_carry_out(reply)
    assert (error([instead]).kind, error([instead]).sent) == ("internal_error", True)
    assert calls.cannot_carry_out(instead) == []


def test_ended_pulls_do_not_accumulate_without_a_reader() -> None:
    calls = fresh()
    for _ in range(3):
        pull(calls, after=(None, 0))
        calls.tick(NOW + 5.03)
    assert not calls.servers["pbx1"].pulls
