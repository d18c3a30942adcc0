"""A lane: one slow action at a time, a correct outcome for each, and free again only when Asterisk
has finished it."""

from __future__ import annotations

import pytest

from amid.ami.exchange import Answer, Call, TooLarge
from amid.ami.lane import ABANDONED_S, MAX_FINISHED, Lane
from amid.ami.packet import ProtocolError, parse_headers
from amid.ami.session import Login, Session, SessionTimeouts
from tests.ami.lane_call import lane_call

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
IDLESS = b"Response: Error\r\nMessage: Failed to parse message: line too long\r\n\r\n"


def sent(lane: Lane) -> list[tuple[str, str]]:
    """(action, ActionID) of the actions that the lane sends."""
    blocks = [parse_headers(b) for b in lane.session.data_to_send().split(b"\r\n\r\n") if b]
    return [(str(b["Action"]), str(b["ActionID"])) for b in blocks]


def answer(action_id: str, rest: str = "", response: str = "Success") -> bytes:
    return f"Response: {response}\r\nActionID: {action_id}\r\n{rest}\r\n".encode()


def event(action_id: str, rest: str = "") -> bytes:
    return f"Event: Item\r\nActionID: {action_id}\r\n{rest}\r\n".encode()


def ready(max_packet: int = 10_000) -> Lane:
    """A lane that is logged in, at 100 s, with nothing in flight."""
    lane = Lane(Session(Login("amid", "secret", "plain", "off"), SessionTimeouts(10.0, 10.0, 5.0), max_packet))
    assert not lane.idle
    lane.feed(GREETING, 100.0)
    [(_, login)] = sent(lane)
    lane.feed(answer(login), 100.0)
    assert lane.idle
    return lane


def start(lane: Lane, action: str = "Test", action_id: str = "a1", deadline: float = 105.0, max_bytes: int = 5000) -> Call:
    call = lane_call(1, action, action_id, deadline, max_bytes)
    lane.start(call, 100.0)
    assert sent(lane)[0] == (action, action_id)
    assert lane.in_flight and not lane.idle
    return call


def pong(lane: Lane, now: float = 100.0) -> list[tuple[Call, Answer | TooLarge]]:
    """Answer the one Ping that the lane wants sent."""
    [(action, ping)] = sent(lane)
    assert action == "Ping"
    return lane.feed(answer(ping, "Ping: Pong\r\n"), now)


def test_a_lane_serves_one_call_after_another() -> None:
    lane = ready()
    for action_id in ("a1", "a2"):
        call = start(lane, action_id=action_id)
        [(done, outcome)] = lane.feed(answer(action_id, f"Is: {action_id}\r\n"), 100.1)
        assert done is call and isinstance(outcome, Answer) and outcome.response
        assert outcome.response.get("Is") == action_id
        assert lane.idle and sent(lane) == []
    assert (lane.late, lane.unknown) == (0, 0)


def test_a_lane_has_one_slow_action_at_a_time() -> None:
    lane = ready()
    start(lane)
    with pytest.raises(AssertionError):
        start(lane, action_id="a2")


def test_a_list_arrives_byte_by_byte() -> None:
    lane = ready()
    call = start(lane)
    stream = answer("a1", "EventList: start\r\n") + event("a1") * 3 + event("a1", "EventList: Complete\r\n")
    outcomes = [o for byte in stream for o in lane.feed(bytes([byte]), 100.0)]
    [(done, outcome)] = outcomes
    assert done is call and isinstance(outcome, Answer) and len(outcome.events) == 3 and lane.idle


# ── the Ping behind ─────────────────────────────────────────────────────────────────────────────


def test_an_error_without_action_id_is_the_outcome_once_the_ping_is_answered() -> None:
    lane = ready()
    call = start(lane)
    assert lane.feed(IDLESS, 100.0) == []
    [(done, outcome)] = pong(lane)
    assert done is call and isinstance(outcome, Answer) and outcome.failed
    assert outcome.response and "line too long" in outcome.response.get("Message")
    assert lane.idle


@pytest.mark.parametrize("action", ["Ping", "Queues"])
def test_two_errors_without_action_id_are_one_outcome(action: str) -> None:
    lane = ready()
    lane.start(lane_call(1, action, "a1", 105.0, 5000), 100.0)
    lane.feed(IDLESS + IDLESS, 100.0)
    [_, (_, ping)] = sent(lane)
    [(_, outcome)] = lane.feed(answer(ping), 100.0)
    assert isinstance(outcome, Answer) and outcome.failed and len(outcome.packets) == 1 and lane.idle


def test_an_error_without_action_id_after_a_response_is_unknown() -> None:
    lane = ready()
    start(lane)
    assert lane.feed(answer("a1", "EventList: start\r\n") + IDLESS, 100.0) == []
    assert lane.unknown == 1 and not lane.session.pinging()


def test_a_forged_error_before_a_list_does_not_end_it() -> None:
    lane = ready()
    start(lane, "Status")
    assert lane.feed(IDLESS + answer("a1", "EventList: start\r\n"), 100.0) == []
    assert pong(lane) == []
    [(_, outcome)] = lane.feed(event("a1", "EventList: Complete\r\n"), 100.0)
    assert isinstance(outcome, Answer) and not outcome.failed and lane.idle


@pytest.mark.parametrize("together", [True, False], ids=["in one read", "apart"])
def test_a_forged_error_does_not_replace_the_answer(together: bool) -> None:
    lane = ready()
    start(lane)
    stream = [IDLESS + answer("a1")] if together else [IDLESS, answer("a1")]
    outcomes = [o for data in stream for o in lane.feed(data, 100.0)]
    [(_, outcome)] = outcomes
    assert isinstance(outcome, Answer) and not outcome.failed
    assert not lane.idle, "the Ping is still out"
    assert pong(lane) == [] and lane.idle


@pytest.mark.parametrize("action", ["VoicemailUsersList", "ModuleLoad", "FAXStats"])
def test_a_ping_ends_an_answer_without_end_marker(action: str) -> None:
    lane = ready()
    start(lane, action)
    assert lane.feed(answer("a1"), 100.0) == []
    [(_, outcome)] = pong(lane)
    assert isinstance(outcome, Answer) and not outcome.failed and lane.idle


def test_a_ping_is_sent_with_an_action_that_may_have_no_response() -> None:
    lane = ready()
    lane.start(lane_call(1, "Queues", "a1", 105.0, 5000), 100.0)
    (action, _), (_, ping) = sent(lane)
    assert action == "Queues"
    [(_, outcome)] = lane.feed(b"default has 0 calls\n   No Members\n\r\n\r\n" + answer(ping), 100.0)
    assert isinstance(outcome, Answer) and outcome.response is None
    assert outcome.output == ["default has 0 calls", "   No Members"]


def test_items_and_the_pings_answer_in_one_read() -> None:
    lane = ready()
    start(lane, "Status")
    lane.feed(answer("a1"), 100.0)
    [(_, ping)] = sent(lane)
    [(_, outcome)] = lane.feed(event("a1") * 2 + answer(ping), 100.0)
    assert isinstance(outcome, Answer) and len(outcome.events) == 2 and lane.idle


# ── strangers ───────────────────────────────────────────────────────────────────────────────────


def test_late_and_unknown_packets_are_counted_and_dropped() -> None:
    lane = ready()
    start(lane, "ModuleLoad")
    [(_, outcome)] = lane.feed(answer("a1", "Message: 1\r\n", "Error") + answer("a1", "", "Error") * 2, 100.0)
    assert isinstance(outcome, Answer) and outcome.response and outcome.response.get("Message") == "1"
    assert (lane.late, lane.unknown) == (2, 0)
    start(lane, action_id="a2")
    assert lane.feed(answer("a1") + answer("other") + b"Event: X\r\n\r\n" + b"text\r\n\r\n", 100.0) == []
    assert (lane.late, lane.unknown) == (3, 3)
    assert len(lane.feed(answer("a2"), 100.0)) == 1


def test_an_error_within_a_list_ends_it_and_the_rest_is_late() -> None:
    lane = ready()
    start(lane)
    stream = answer("a1", "EventList: start\r\n") + event("a1") + answer("a1", "Message: no\r\n", "Error")
    [(_, outcome)] = lane.feed(stream, 100.0)
    assert isinstance(outcome, Answer) and outcome.failed and len(outcome.events) == 1
    start(lane, action_id="a2")
    assert lane.feed(event("a1") + event("a1", "EventList: Complete\r\n"), 100.0) == []
    assert (lane.late, lane.unknown) == (2, 0)
    assert len(lane.feed(answer("a2"), 100.0)) == 1


def test_the_number_of_remembered_ids_is_limited() -> None:
    lane = ready()
    for n in range(MAX_FINISHED + 1):
        start(lane, action_id=f"a{n}")
        lane.feed(answer(f"a{n}"), 100.0)
    lane.feed(answer("a1") + answer("a0"), 100.0)
    assert (lane.late, lane.unknown) == (1, 1)


# ── too large ───────────────────────────────────────────────────────────────────────────────────


TOO_LARGE = {
    "list": (answer("a1", "EventList: start\r\n") + event("a1", "X: " + "y" * 600 + "\r\n") * 9, 5000),
    "packet": (answer("a1", "Output: " + "y" * 6000 + "\r\n"), 5000),
    "packet over the parser's bound": (answer("a1", "Output: " + "y" * 20_000 + "\r\n"), 1 << 20),
}


@pytest.mark.parametrize(("stream", "max_bytes"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_too_large_answer_is_reported_once(stream: bytes, max_bytes: int) -> None:
    """It is reported once, later packets are late, and the pong frees the lane."""
    lane = ready()
    call = start(lane, max_bytes=max_bytes)
    [(done, outcome)] = lane.feed(stream, 100.0)
    assert done is call and isinstance(outcome, TooLarge)
    assert lane.lost() == [] and not lane.idle
    late = lane.late
    assert lane.feed(event("a1") * 100, 100.0) == [] and lane.late == late + 100
    assert pong(lane) == [] and lane.idle
    start(lane, action_id="a2")
    assert len(lane.feed(answer("a2"), 100.0)) == 1
    lane.feed(answer("a1"), 100.0)
    assert (lane.late, lane.unknown) == (late + 101, 0), "a hundred late packets must not push other ids out of memory"


# ── deadlines ───────────────────────────────────────────────────────────────────────────────────


def test_a_call_past_its_deadline_is_abandoned_and_its_answer_is_late() -> None:
    lane = ready()
    start(lane, deadline=105.0)
    assert lane.next_deadline() == 105.0
    lane.check(104.9)
    assert sent(lane) == []
    lane.check(105.0)
    assert lane.lost() == [], "every waiting caller has been answered"
    [(_, ping)] = sent(lane)
    lane.check(106.0)
    assert sent(lane) == [] and lane.next_deadline() == 110.0
    assert lane.feed(answer("a1"), 107.0) == [] and lane.late == 1 and not lane.idle
    assert lane.feed(answer(ping), 107.0) == [] and lane.idle
    start(lane, action_id="a2", deadline=112.0)
    assert len(lane.feed(answer("a2"), 108.0)) == 1


def test_only_the_pong_frees_an_abandoned_lane() -> None:
    lane = ready()
    start(lane)
    lane.check(105.0)
    assert pong(lane, 105.1) == [] and lane.idle
    lane.feed(answer("a1"), 105.2)
    assert (lane.late, lane.unknown) == (1, 0)


def test_an_abandoned_silent_lane_fails_when_the_pong_is_overdue() -> None:
    lane = ready()
    start(lane)
    lane.check(105.0)
    lane.check(109.9)
    with pytest.raises(ProtocolError, match="a Ping was not answered"):
        lane.check(110.0)


def test_the_ping_behind_a_refused_action_is_overdue_before_its_deadline() -> None:
    lane = ready()
    call = start(lane, "Originate", deadline=400.0)
    lane.feed(IDLESS, 100.0)
    assert lane.next_deadline() == 105.0
    with pytest.raises(ProtocolError, match="a Ping was not answered"):
        lane.check(105.0)
    [(lost, outcome)] = lane.lost()
    assert lost is call and isinstance(outcome, Answer) and outcome.failed


def test_an_abandoned_lane_with_an_endless_answer_fails() -> None:
    lane = ready()
    start(lane, deadline=105.0)
    lane.check(105.0)
    now = 105.0
    while now + 4 < 105.0 + ABANDONED_S:
        now += 4
        lane.feed(event("a1"), now)
        lane.check(now)
    lane.feed(event("a1"), 105.0 + ABANDONED_S - 0.1)
    assert lane.next_deadline() == 105.0 + ABANDONED_S
    with pytest.raises(ProtocolError, match="no complete answer within 60 s of the deadline: Test"):
        lane.check(105.0 + ABANDONED_S)


def test_abandoning_a_probed_call_sends_no_second_ping() -> None:
    lane = ready()
    start(lane, "Status")
    lane.feed(answer("a1"), 104.0)
    [(_, ping)] = sent(lane)
    lane.check(105.0)
    assert sent(lane) == []
    assert lane.feed(answer(ping), 105.5) == [] and lane.idle


def test_an_idle_lane_is_kept_alive() -> None:
    lane = ready()
    lane.check(109.9)
    assert lane.idle and lane.next_deadline() == 110.0
    lane.check(110.0)
    assert not lane.idle, "what is sent now would wait for the Ping"
    assert pong(lane, 110.1) == [] and lane.idle
    lane.check(120.1)
    with pytest.raises(ProtocolError, match="a Ping was not answered"):
        lane.check(125.1)


def test_a_busy_lane_is_not_pinged_before_its_deadline() -> None:
    """Asterisk would not answer before the action has ended: an Originate may use its whole timeout."""
    lane = ready()
    start(lane, "Originate", deadline=160.0)
    lane.check(159.0)
    assert sent(lane) == []


# ── the end ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", ["Logoff", "events", "LOGIN", "Filter", "Challenge"])
@pytest.mark.parametrize("response", ["Success", "Goodbye", "Error"])
def test_a_lane_is_not_used_again_after_an_action_that_changes_its_session(action: str, response: str) -> None:
    lane = ready()
    lane.start(lane_call(1, action, "a1", 105.0, 5000), 100.0)
    assert not lane.spent
    assert len(lane.feed(answer("a1", "", response), 100.0)) == 1
    assert lane.spent and not lane.idle and not lane.in_flight


def test_a_lane_accepts_nothing_after_logoff() -> None:
    lane = ready()
    lane.session.log_off()
    assert not lane.idle


LOST = {
    "nothing in flight": (None, b"", False),
    "nothing known": ("Test", b"", False),
    "half a list": ("Test", answer("a1", "EventList: start\r\n") + event("a1"), False),
    "an old list under way": ("Status", answer("a1"), False),
    "an error without id": ("Test", IDLESS, True),
    "a forged error and the start of a list": ("Test", IDLESS + answer("a1", "EventList: start\r\n"), False),
}


@pytest.mark.parametrize(("action", "stream", "known"), LOST.values(), ids=LOST)
def test_a_session_end_ends_all_calls_of_the_lane(action: str | None, stream: bytes, known: bool) -> None:
    """Only an error without ActionID is an outcome; a partial list is not a complete one."""
    lane = ready()
    call = start(lane, action) if action else None
    if stream:
        assert lane.feed(stream, 100.0) == []
    with pytest.raises(ProtocolError, match="Asterisk closed the session"):
        lane.feed(b"", 100.0)
    lost = lane.lost()
    assert [c for c, _ in lost] == ([call] if call else [])
    assert [isinstance(answer, Answer) and answer.failed for _, answer in lost] == ([known] if call else [])
