"""Requests for events that the reader no longer holds: the recorder answers, or the reader does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amid import wire
from amid.rpc.calls import Calls
from amid.rpc.messages import CallService, Forget, PassOn, PullEvents, ServiceHello
from amid.rpc.open_call import RECORDER_ANSWER_S, Effect, Send
from amid.rpc.requests import Cursor, EventsParams
from amid.rpc.services import SERVICE_GRACE_S
from tests.rpc.test_calls import NOW, READER, Asker, error, replies, report, status, up

HELLO = ServiceHello("recorder", ["calls", "call", "events"])
LINK = "link 1"


def pulled(calls: Calls, timeout: float = 5.0) -> PullEvents:
    """A request that was sent to the reader."""
    request = PullEvents(calls.new_call_id(), NOW + timeout, NOW + timeout, 3, 50, ["Hangup"], 10, recorded=True)
    assert calls.open(Asker("1"), "pbx1", request, NOW) == [Send(READER, request)]
    return request


def passed_on(calls: Calls, request: PullEvents, now: float = NOW) -> list[Effect]:
    """The reader no longer holds what is after number 70, up to 90."""
    return calls.passed_on(PassOn(request.call_id, 3, 70, (3, 90)), False, now)


def service_call(effects: list[Effect]) -> CallService:
    (effect,) = effects
    assert isinstance(effect, Send) and effect.reader == LINK and isinstance(effect.message, CallService)
    return effect.message


def page(effects: list[Effect]) -> dict[str, Any]:
    (reply,) = replies(effects)
    found: dict[str, Any] = wire.unpack(reply.result or b"")
    return found


@pytest.fixture
def calls() -> Calls:
    """With a reader and a recorder."""
    made = up()
    assert made.service_connected(LINK, HELLO) == []
    return made


def test_the_recorder_answers(calls: Calls) -> None:
    request = pulled(calls)
    asked = service_call(passed_on(calls, request))
    assert (asked.method, asked.server, asked.end, asked.held) == ("events", "pbx1", request.end, (3, 90))
    params = msgspec.msgpack.decode(asked.params, type=EventsParams)
    assert (params.after, params.names, params.limit) == (Cursor(3, 70), ["Hangup"], 10)
    (reply,) = replies(calls.answered(request.call_id, b"recorded", None, NOW))
    assert reply.result == b"recorded" and not len(calls)


def test_the_reader_answers_at_the_end_of_the_recording(calls: Calls) -> None:
    """It has as much time as the recorder had."""
    request = pulled(calls, timeout=0.0)
    passed_on(calls, request)
    (effect,) = calls.passed_on(PassOn(request.call_id, 4, 90), True, NOW)
    assert isinstance(effect, Send) and effect.reader == READER and isinstance(effect.message, PullEvents)
    last = effect.message
    assert (last.epoch, last.seq, last.names, last.recorded, last.deadline) == (4, 90, ["Hangup"], False, NOW + RECORDER_ANSWER_S)
    (reply,) = replies(calls.answered(request.call_id, b"held", None, NOW))
    assert reply.result == b"held" and not len(calls)


def test_it_waits_for_a_recorder_that_starts() -> None:
    calls = up()
    request = pulled(calls)
    assert passed_on(calls, request) == []
    (effect,) = calls.service_connected(LINK, HELLO)
    assert isinstance(effect, Send) and isinstance(effect.message, CallService)


def test_the_reader_answers_if_no_recorder_comes() -> None:
    calls = up()
    passed_on(calls, pulled(calls))
    report(calls, status(), NOW + SERVICE_GRACE_S)
    (effect,) = calls.tick(NOW + SERVICE_GRACE_S)
    assert isinstance(effect, Send) and effect.reader == READER and isinstance(effect.message, PullEvents)
    assert (effect.message.seq, effect.message.recorded) == (70, False)


def test_a_recorder_that_ends_costs_no_event(calls: Calls) -> None:
    passed_on(calls, pulled(calls))
    assert page(calls.service_lost(LINK)) == {"server": "pbx1", "epoch": 3, "seq": 70, "missed": 0, "more": True, "events": []}
    assert not len(calls)


def test_a_recorder_that_is_slow_costs_no_event(calls: Calls) -> None:
    request = pulled(calls, timeout=0.01)
    passed_on(calls, request)
    assert calls.tick(NOW + RECORDER_ANSWER_S - 0.01) == [], "the caller waits a moment longer"
    answer = page(calls.tick(NOW + RECORDER_ANSWER_S))
    assert (answer["seq"], answer["missed"], answer["more"]) == (70, 0, True)
    assert calls.passed_on(PassOn(request.call_id, 3, 70), True, NOW + RECORDER_ANSWER_S) == []


def test_a_message_of_the_other_process_is_ignored(calls: Calls) -> None:
    request = pulled(calls)
    assert calls.passed_on(PassOn(request.call_id, 3, 70), True, NOW) == [], "the recorder does not have it"
    passed_on(calls, request)
    assert passed_on(calls, request) == [], "the reader no longer has it"


def test_cancelled_and_forgotten(calls: Calls) -> None:
    request = pulled(calls)
    passed_on(calls, request)
    _, effects = calls.cancel(Asker("1"), "1")
    assert Send(LINK, Forget(request.call_id)) in effects and error(effects).kind == "cancelled"
    passed_on(calls, again := pulled(calls))
    assert calls.disconnected("connection 1")[1] == [Send(LINK, Forget(again.call_id))]


def test_the_broker_ends(calls: Calls) -> None:
    passed_on(calls, pulled(calls))
    assert page(calls.end_pulls())["more"] is True
