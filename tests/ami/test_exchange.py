"""One open action: the packets of its answer, the end of the answer, and when a Ping must prove the
end."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from amid.ami.exchange import Answer, Exchange, TooLarge
from amid.ami.packet import Packet
from tests.ami.lane_call import lane_call

R, E = "Response: Success", "Response: Error"
ID = "ActionID: 7"
PONG = "PONG"
"""In a script: the Ping sent behind the action is answered."""


def exchange_for(action: str, max_bytes: int) -> Exchange:
    return Exchange(lane_call(1, action, "7", 105.0, max_bytes), 100.0)


def packet(*lines: str) -> Packet:
    return Packet("\r\n".join(lines).encode())


@dataclass(frozen=True)
class Case:
    """`script`: packets in order, of which only the last completes the answer."""

    action: str
    script: list[str]
    response: str | None = "Success"
    events: list[str] = field(default_factory=list)
    complete: str | None = None
    output: list[str] = field(default_factory=list)
    failed: bool = False
    probes: bool = False


def run(case: Case) -> tuple[Answer | None, Exchange]:
    exchange = exchange_for(case.action, 10_000)
    answer = None
    for step in case.script:
        assert answer is None, f"whole before {step!r}"
        if step == PONG:
            answer = exchange.on_probe_reply()
        else:
            taken = packet(*step.split("|"))
            assert taken.action_id == "7" or exchange.matches(taken), step
            outcome = exchange.feed(taken)
            assert not isinstance(outcome, TooLarge)
            answer = outcome
    return answer, exchange


START = f"{R}|{ID}|EventList: start|Message: will follow"
CASES = {
    "single": Case("Ping", [f"{R}|{ID}|Ping: Pong"]),
    "pong from the oldest": Case("Ping", [f"Response: Pong|{ID}"], "Pong"),
    "goodbye": Case("Logoff", [f"Response: Goodbye|{ID}"], "Goodbye"),
    "lower case": Case("Ping", ["response: Success|actionid:7"]),
    "error": Case("Ping", [f"{E}|{ID}|Message: no"], "Error", failed=True),
    "error in lower case": Case("Ping", [f"Response: error|{ID}"], "error", failed=True),
    "command": Case("Command", [f"{R}|{ID}|Output: a|Output: |Output: b"], output=["a", "", "b"]),
    "command that failed": Case("Command", [f"{E}|{ID}|Output: No such"], "Error", output=["No such"], failed=True),
    "old command": Case(
        "Command", [f"Response: Follows|Privilege: Command|{ID}|a: b\n\nc\n--END COMMAND--"], "Follows", output=["a: b", "", "c"]
    ),
    "value that forges an event": Case("Getvar", [f"{R}|{ID}|Value: x|Event: Y"]),
    "list": Case("X", [START, f"Event: I|{ID}", f"Event: C|{ID}|EventList: Complete"], events=["I"], complete="C"),
    "empty list": Case("X", [START, f"Event: C|{ID}|EventList: Complete|ListItems: 0"], complete="C"),
    "Start with a capital": Case(
        "FAXSessions", [f"{R}|{ID}|EventList: Start", f"Event: C|{ID}|EventList: complete"], complete="C"
    ),
    "start, then error": Case("X", [START, f"Event: I|{ID}", f"{E}|{ID}"], "Error", ["I"], failed=True),
    "cancelled": Case("X", [START, f"Event: C|{ID}|EventList: cancelled"], complete="C", failed=True),
    "voicemail with no users": Case("VoicemailUsersList", [f"{R}|{ID}", PONG], probes=True),
    "old list with no closing event": Case("Status", [f"{R}|{ID}", f"Event: Status|{ID}", PONG], events=["Status"], probes=True),
    "old list in another case": Case(
        "quEUestatus", [f"{R}|{ID}", f"Event: QueueStatusComplete|{ID}"], complete="QueueStatusComplete", probes=True
    ),
    "FAXStats": Case("FAXStats", [f"{R}|{ID}", f"Event: FAXStats|{ID}"], events=["FAXStats"], probes=True),
    "FAXSession that is not there": Case("FAXSession", [f"{E}|{ID}"], "Error", failed=True),
    "FAXStats without its event": Case("FAXStats", [f"{R}|{ID}", PONG], probes=True),
    "WaitEvent": Case(
        "WaitEvent",
        [f"{R}|{ID}|Message: Waiting for Event completed.", "Event: A", "Event: B", f"Event: WaitEventComplete|{ID}"],
        events=["A", "B"],
        complete="WaitEventComplete",
    ),
    "WaitEvent with nothing": Case("WaitEvent", [f"{R}|{ID}", f"Event: WaitEventComplete|{ID}"], complete="WaitEventComplete"),
    "IAXpeers": Case(
        "IAXpeers", [START, "Event: PeerEntry", "Event: PeerEntry", f"Event: P|{ID}|EventList: Complete"],
        events=["PeerEntry", "PeerEntry"], complete="P",
    ),
    "ModuleLoad that went well": Case("ModuleLoad", [f"{R}|{ID}", PONG], probes=True),
    "ModuleLoad's first error": Case("ModuleLoad", [f"{E}|{ID}|Message: 1"], "Error", failed=True),
    "JabberSend, ack and error": Case("JabberSend", [f"{R}|{ID}", f"{E}|{ID}"], "Error", failed=True, probes=True),
    "JabberSend, two acks": Case("JabberSend", [f"{R}|{ID}", f"{R}|{ID}", PONG], probes=True),
    "UserEvent": Case("UserEvent", [f"{R}|{ID}|Message: Event Sent", PONG], probes=True),
    "UserEvent that is refused": Case("UserEvent", [f"{E}|{ID}"], "Error", failed=True),
    "Events with a response": Case("Events", [f"{R}|{ID}|Events: Off"], probes=True),
    "Events without": Case("Events", [PONG], None, probes=True),
    "raw text": Case("IAXnetstats", ["a: b|c", "d", PONG], None, output=["a: b", "c", "d"], probes=True),
    "DataGet": Case("DataGet", [f"Event: DataGet Tree|{ID}", PONG], None, ["DataGet Tree"], probes=True),
    "originate": Case("Originate", [f"{R}|{ID}|Message: Originate successfully queued"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_answers(case: Case) -> None:
    answer, exchange = run(case)
    assert answer is not None
    assert (answer.response.response if answer.response else None) == case.response
    assert [e.event for e in answer.events] == case.events
    assert (answer.complete.event if answer.complete else None) == case.complete
    assert answer.output == case.output
    assert answer.failed == case.failed
    assert exchange.ends_with_probe == case.probes


WHOLE_LIST = [START, f"Event: I|{ID}", f"Event: I|{ID}"]


@pytest.mark.parametrize("action", ["Status", "QueueStatus", "VoicemailUsersList", "CoreShowChannels"])
def test_a_marked_list_is_complete_without_a_ping(action: str) -> None:
    answer, exchange = run(Case(action, WHOLE_LIST))
    assert answer is None and not exchange.ends_with_probe


NOT_OURS = {
    "success without id": ("Ping", R),
    "error without id": ("Ping", E),
    "event without id": ("Status", "Event: Status"),
    "IAXpeers item before its response": ("IAXpeers", "Event: PeerEntry"),
    "raw text where a response is due": ("Ping", "text"),
    "an event of another, for raw text": ("Queues", "Event: A"),
    "OriginateResponse without id": ("Originate", "Event: OriginateResponse|Response: Error"),
}


@pytest.mark.parametrize(("action", "stranger"), NOT_OURS.values(), ids=NOT_OURS)
def test_packets_of_other_actions_are_not_part_of_the_answer(action: str, stranger: str) -> None:
    assert not exchange_for(action, 1000).matches(packet(*stranger.split("|")))


def test_originate_response_is_an_event_not_a_response() -> None:
    """Its Response header is the outcome of the call, not of the action."""
    exchange = exchange_for("Originate", 1000)
    early = packet("Event: OriginateResponse", "Response: Error", ID)
    assert exchange.feed(early) is None
    answer = exchange.feed(packet(R, ID))
    assert isinstance(answer, Answer) and not answer.failed and [e.event for e in answer.events] == ["OriginateResponse"]


@pytest.mark.parametrize("script", [[], [f"Event: I|{ID}"]], ids=["nothing", "an item"])
def test_a_ping_answered_before_any_response_proves_nothing(script: list[str]) -> None:
    answer, exchange = run(Case("Ping", [*script, PONG]))
    assert answer is None
    assert exchange.feed(packet(R, ID)) is not None


def test_an_answer_over_the_limit_is_too_large() -> None:
    exchange = exchange_for("X", 500)
    exchange.feed(packet(*START.split("|")))
    item = packet("Event: I", ID, "X: " + "y" * 50)
    assert isinstance(next(filter(None, (exchange.feed(item) for _ in range(100)))), TooLarge)


def test_an_answer_at_the_limit_is_not_too_large() -> None:
    answer = packet(R, ID, "X: " + "y" * 50)
    assert exchange_for("X", len(answer.raw)).feed(answer) is not None
    assert isinstance(exchange_for("X", len(answer.raw) - 1).feed(answer), TooLarge)


def test_an_abandoned_exchange_keeps_no_packets() -> None:
    exchange = exchange_for("X", 1000)
    exchange.feed(packet(*START.split("|")))
    exchange.feed(packet("Event: I", ID))
    exchange.abandon()
    assert exchange.answer == Answer()
