"""What else a step of a rule changes in its call, by the kind of the step."""

from __future__ import annotations

from collections.abc import Callable

from amid.history.model import Call, Leg, Step

RECENT_S = 1.0
"""Seconds within which two events may describe the same thing: Asterisk sends some of them from
different threads, in any order."""
RECENT_STEPS = 20
"""How many of the last steps are searched for the other one."""


def stop_waiting(call: Call, leg: Leg, time: float) -> None:
    """A caller no longer waits in a queue."""
    if leg.waits_since:
        call.waited += time - leg.waits_since
        leg.waits_since = 0.0


def hide_recent(call: Call, kind: str, step: Step) -> None:
    """Hide recent steps of this kind and of the same party: `step` says the same."""
    for other in call.steps[-RECENT_STEPS:]:
        if other.kind == kind and other.parties[0] is step.parties[0] and step.at.time - other.at.time < RECENT_S:
            other.hidden = True


def _queue_join(call: Call, step: Step) -> None:
    _first(step).waits_since = step.at.time
    call.queue = step.details["queue"]


def _abandon(call: Call, step: Step) -> None:
    call.outcome = "abandoned"
    stop_waiting(call, _first(step), step.at.time)


def _agent_call(call: Call, step: Step) -> None:
    if step.parties[1] is not None:
        step.parties[1].agent = step.details["agent"]


def _agent_answer(call: Call, step: Step) -> None:
    call.agent = step.details["agent"]
    call.queue = step.details["queue"]
    stop_waiting(call, _first(step), step.at.time)
    hide_recent(call, "queue_exit", step)


def _agent_complete(call: Call, step: Step) -> None:
    """Only says what is known, unless events of the call are missing."""
    step.hidden = True
    if not (call.late or call.has_gap):
        return
    call.agent = step.details["agent"]
    call.queue = step.details["queue"]
    call.outcome = call.outcome or "answered"
    ends: dict[str, Leg | str] = {"agent": "agent", "caller": _first(step)}
    call.first_end = ends.get(step.details["reason"], call.first_end)


def _hold(call: Call, step: Step) -> None:
    _first(step).on_hold = True


def _unhold(call: Call, step: Step) -> None:
    """Asterisk sends Unhold also with a transfer, although nothing was on hold."""
    if not _first(step).on_hold:
        step.hidden = True
    _first(step).on_hold = False


def _blind_transfer(call: Call, step: Step) -> None:
    call.numbers |= {step.details["to"]} - {""}
    _leave(step)


def _leave(step: Step) -> None:
    """Who has transferred the call is no longer in it. That the phone hangs up, perhaps before
    Asterisk does, is no step, and ends nothing."""
    if step.details["result"] in ("", "Success"):
        _first(step).asked_to_end = True


def _attended_transfer(call: Call, step: Step) -> None:
    if step.details["type"] != "Threeway":
        _leave(step)
    _hide_talk(call, step.parties[1:])
    hide_recent(call, "unhold", step)


def _unpark(call: Call, step: Step) -> None:
    _hide_talk(call, step.parties)


def _hide_talk(call: Call, parties: tuple[Leg | None, ...]) -> None:
    """Hide the `talk` of these parties, which the step implies. The events of the bridge between them
    may come before or after it."""
    pair = frozenset(leg for leg in parties if leg is not None)
    for other in call.steps[-RECENT_STEPS:]:
        if other.kind == "talk" and frozenset(other.parties) == pair:
            other.hidden = True
    for leg in pair:
        leg.announced = pair


def _pickup(call: Call, step: Step) -> None:
    """Move the step before the `talk` that it leads to, whose events may come first."""
    recent = call.steps[-RECENT_STEPS:]
    for other in recent if recent[-1] is step else []:
        if other.kind == "talk" and step.parties[0] in other.parties and step.at.time - other.at.time < RECENT_S:
            call.steps.insert(call.steps.index(other), call.steps.pop())
            return


def _conference_join(call: Call, step: Step) -> None:
    call.answered_at = call.answered_at or step.at.time
    call.outcome = "answered"


def _conference_leave(call: Call, step: Step) -> None:
    if _first(step).asked_to_end:
        step.hidden = True


def _first(step: Step) -> Leg:
    leg = step.parties[0]
    assert leg is not None  # no rule makes a step without it
    return leg


CONSEQUENCES: dict[str, Callable[[Call, Step], None]] = {
    "queue_join": _queue_join,
    "abandon": _abandon,
    "agent_call": _agent_call,
    "agent_answer": _agent_answer,
    "agent_complete": _agent_complete,
    "hold": _hold,
    "unhold": _unhold,
    "blind_transfer": _blind_transfer,
    "attended_transfer": _attended_transfer,
    "unpark": _unpark,
    "pickup": _pickup,
    "conference_join": _conference_join,
    "conference_leave": _conference_leave,
}
