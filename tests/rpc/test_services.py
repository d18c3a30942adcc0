"""Calls that a service answers: handed to the one that says it does, and never left without an end."""

from __future__ import annotations

from typing import Any

import pytest

from amid.errors import AmidError
from amid.rpc.calls import Calls
from amid.rpc.messages import CallService, Forget, ServiceHello
from amid.rpc.open_call import Effect, Reply, Send
from amid.rpc.services import SERVICE_GRACE_S
from tests.rpc.test_calls import NOW, Asker, error, fresh, replies

HELLO = ServiceHello("state", ["state", "events"])
LINK = "link 1"


def request_of(calls: Calls, timeout: float = 5.0) -> CallService:
    return CallService(calls.new_call_id(), NOW + timeout, NOW + timeout, "state", "pbx1", b"")


def opened(calls: Calls, request: CallService, name: str = "1", now: float = NOW) -> list[Effect]:
    return calls.open(Asker(name), "pbx1", request, now, "state")


def connected() -> Calls:
    calls = fresh()
    assert calls.service_connected(LINK, HELLO) == []
    return calls


def test_a_call_goes_to_the_service_and_its_answer_to_the_caller() -> None:
    calls = connected()
    request = request_of(calls)
    assert opened(calls, request) == [Send(LINK, request)]
    (reply,) = replies(calls.answered(request.call_id, b"result", None, NOW))
    assert (reply.origin, reply.result) == (Asker("1"), b"result")
    assert not len(calls)


def test_a_call_waits_for_a_service_that_starts() -> None:
    calls = fresh()
    request = request_of(calls)
    assert opened(calls, request) == []
    assert calls.next_deadline() == NOW + SERVICE_GRACE_S
    assert calls.service_connected(LINK, HELLO) == [Send(LINK, request)]
    assert calls.next_deadline() == request.deadline


@pytest.mark.parametrize("timeout", [1.0, 5.0])
def test_a_call_whose_service_does_not_come_fails(timeout: float) -> None:
    calls = fresh()
    opened(calls, request_of(calls, timeout))
    at = NOW + min(timeout, SERVICE_GRACE_S)
    assert calls.tick(at - 0.01) == []
    failed = error(calls.tick(at))
    assert (failed.kind, failed.sent) == ("timeout" if timeout < SERVICE_GRACE_S else "not_connected", False)
    assert calls.service_connected(LINK, HELLO) == [], "nobody waits for it"


def test_what_a_service_had_when_it_ended_fails_and_nothing_else() -> None:
    calls = connected()
    other = ServiceHello("recorder", ["calls"])
    calls.service_connected("link 2", other)
    opened(calls, request_of(calls))
    kept = CallService(calls.new_call_id(), NOW + 5.0, NOW + 5.0, "calls", "pbx1", b"")
    calls.open(Asker("2"), "pbx1", kept, NOW, "recorder")
    failed = error(calls.service_lost(LINK))
    assert (failed.kind, failed.sent, failed.server) == ("not_connected", False, "pbx1")
    (reply,) = replies(calls.answered(kept.call_id, b"x", None, NOW))
    assert reply.result == b"x"


def test_a_service_that_is_replaced_before_its_end_was_seen() -> None:
    calls = connected()
    first = request_of(calls)
    opened(calls, first)
    calls.service_connected("link 2", HELLO)
    second = request_of(calls)
    assert opened(calls, second, "2") == [Send("link 2", second)]
    assert [reply.origin for reply in replies(calls.service_lost(LINK))] == [Asker("1")]
    third = request_of(calls)
    assert opened(calls, third, "3") == [Send("link 2", third)]


def test_deadlines_limits_and_cancelling_hold_as_for_actions() -> None:
    calls = Calls({"pbx1": 2}, 2, 2, NOW)
    calls.service_connected(LINK, HELLO)
    late, cancelled, refused = request_of(calls, 1.0), request_of(calls), request_of(calls)
    opened(calls, late, "late")
    opened(calls, cancelled, "cancelled")
    assert error(opened(calls, refused)).kind == "busy"
    assert error(calls.tick(NOW + 1.0)).kind == "timeout"
    assert calls.answered(late.call_id, b"", None, NOW + 1.1) == [] and calls.late == 1
    ended, effects = calls.cancel(Asker("cancelled"), "cancelled")
    assert [call.call_id for call in ended] == [cancelled.call_id]
    assert Send(LINK, Forget(cancelled.call_id)) in effects
    assert error(effects).kind == "cancelled"


def test_a_caller_that_goes_is_forgotten_at_the_service() -> None:
    calls = connected()
    request = request_of(calls)
    opened(calls, request)
    _, effects = calls.disconnected("connection 1")
    assert effects == [Send(LINK, Forget(request.call_id))]
    assert calls.service_lost(LINK) == []


def test_what_a_service_refuses_is_told_as_it_said_it() -> None:
    calls = connected()
    request = request_of(calls)
    opened(calls, request)
    (reply,) = calls.answered(request.call_id, None, AmidError("not_connected", "no session"), NOW)
    assert isinstance(reply, Reply) and reply.error is not None and reply.error.message == "no session"


def test_open_calls_end_with_the_broker_and_with_their_server() -> None:
    calls = connected()
    opened(calls, request_of(calls))
    assert error(calls.end_pulls()).kind == "not_connected"
    opened(calls, request_of(calls))
    failed: Any = error(calls.configure({}, 100, 100, NOW))
    assert failed.kind == "not_connected" and "removed" in failed.message


def test_a_service_that_the_configuration_turns_off() -> None:
    services = fresh().services
    with pytest.raises(AmidError, match=r"see \[state\]") as failed:
        services.check("state", "state")
    assert (failed.value.kind, failed.value.sent) == ("not_connected", False)
    services.configured = ["state"]
    services.check("state", "state")
