"""How a call is described: its summary, and its ladder, with one line for each thing that a person
would mention.

What several events report is one line. A Local pair that only joins two channels has no lines; the
party that it called has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amid.history.model import Call, Leg, Step
from amid.history.rules import PHRASES

NORMAL_CLEARING = 16
"""The hangup cause (Q.850) of an ordinary end, which the ladder omits."""
UNANSWERED = frozenset({"", "busy", "no answer", "failed", "cancelled", "abandoned", "voicemail"})
"""Outcomes of a lost call: nobody spoke to the caller."""


def summary(call: Call, server: str) -> dict[str, Any]:
    """The call as the contract describes it. Times are seconds since 1970, durations are in seconds;
    `ended` is None during the call. Those of a late call count from its first recorded event: the
    Linkedid has the time of its beginning only if no program has named the channel."""
    first, other = call.caller, _other(call)
    return {
        "server": server,
        "linkedid": call.linkedid,
        "joined": list(call.joined),
        "began": call.began,
        "late": call.late,
        "ended": call.ended or None,
        "who": first.label if first else "",
        "whom": other.label if other else "",
        "dialled": call.dialled,
        "queue": call.queue,
        "agent": call.agent,
        "outcome": outcome(call),
        "waited": round(_waited(call), 3),
        "talked": round(call.talked + (call.last.time - call.talks_since if call.talks_since else 0.0), 3),
        "ended_by": _ended_by(call),
        "cause": _cause(call)[0],
        "cause_text": _cause(call)[1],
        "numbers": sorted(call.numbers | {leg.number for leg in call.legs if leg.number and not leg.connects}),
        "channels": call.channels,
        "events": call.events,
    }


def outcome(call: Call) -> str:
    """One of the outcomes in the contract; "" during the call if it is not known yet."""
    if call.outcome or not call.ended:
        return call.outcome
    if call.late or (call.has_gap and call.first_end != "restart"):
        return "unknown"
    if _answered_the_pbx(call):
        return "answered"
    return "cancelled" if call.first_end is call.caller else "failed"


def _answered_the_pbx(call: Call) -> bool:
    """Whether the PBX itself called, as Originate does, and everybody who was called answered: the
    first party may talk to an application."""
    first = call.caller
    called = [leg for leg in call.legs if leg.dialled and not leg.connects]
    return first is not None and first.dialled and first.caller is None and all(leg.up for leg in called)


Label = Callable[[str], str]


def ladder(call: Call, label: Label = str) -> list[dict[str, Any]]:
    """The steps in order: `time`, `after` (seconds since the call began), `epoch`, `seq`, `kind`,
    `parties`, `text`. label: replaces names and numbers (`amid.history.masking`)."""
    ended = {step.parties[-1] for step in call.steps if step.kind in _ENDS}
    repeated = _repeated(call)
    steps = [Step(call.first, "late", (), {})] if call.late else []
    steps += [step for step in call.steps if step not in repeated and _is_shown(step, ended)]
    lines = [_line(call, step, label) for step in steps]
    if call.left_out:
        lines.append(_plain(call, call.last.time, "left_out", f"{call.left_out} further steps are left out"))
    if call.ended:
        lines.append(_plain(call, call.ended, "end", _end(call)))
    return lines


_ENDS = frozenset({"answer", "busy", "no_answer", "unreachable", "rejected", "forward", "stop"})
_OF_AGENTS = frozenset({"dial", "answer", "no_answer", "stop"})
_FAILURES = frozenset({"busy", "unreachable", "rejected"})
"""Ends of a queue member's call that the queue reports too, as `agent_no_answer`."""


def _is_shown(step: Step, ended: set[Leg | None]) -> bool:
    if step.hidden:
        return False
    whom = step.parties[-1] if step.parties else None
    if step.kind in _ENDS or step.kind in ("dial", "ring", "pbx_call"):
        if whom is None or whom.connects:
            return False
        if step.kind in _OF_AGENTS and whom.answers_for:
            return False
    if step.kind == "dial" and whom is not None:
        return not whom.rang_at and whom not in ended
    return True


def _repeated(call: Call) -> set[Step]:
    """Steps that repeat how the call of a queue member ended. Both the queue and the dialled leg
    report it: if a phone rang, the line of the queue is shown, and otherwise the reason why none
    did."""
    rang = {_called_by_queue(leg) for leg in call.legs if leg.rang_at}
    steps = [step for step in call.steps if step.kind in _FAILURES or step.kind == "agent_no_answer"]
    ends = [(step, leg) for step in steps if (leg := step.parties[-1]) is not None and leg.answers_for]
    failed = {_called_by_queue(leg) for step, leg in ends if step.kind in _FAILURES and not leg.connects}
    return {step for step, leg in ends if _called_by_queue(leg) in (rang if step.kind in _FAILURES else failed - rang)}


def _called_by_queue(leg: Leg) -> Leg:
    """The leg that the queue called, of one that is called through it."""
    while leg.caller is not None and leg.caller.connects and leg.caller.agent:
        leg = leg.caller
    return leg


def _line(call: Call, step: Step, label: Label) -> dict[str, Any]:
    labels = [label(leg.label) if leg is not None else "the PBX" for leg in step.parties]
    kind = step.kind
    if kind.endswith("_transfer") and step.details.get("result") not in ("", "Success"):
        kind = "transfer_failed"
    details = {name: label(value) if isinstance(value, str) else value for name, value in step.details.items()}
    details["all"] = _list(labels)
    if kind == "gap":
        missed = details["missed"]
        details["missed"] = "events" if missed is None else f"{missed} event{'s' if missed != 1 else ''}"
    phrase = PHRASES[kind].format(*labels, **details)
    return {**_plain(call, step.at.time, kind, phrase), "epoch": step.at.epoch, "seq": step.at.seq, "parties": labels}


def _plain(call: Call, time: float, kind: str, text: str) -> dict[str, Any]:
    return {"time": time, "after": round(max(0.0, time - call.began), 3), "kind": kind, "text": text}


def _end(call: Call) -> str:
    cause, text = _cause(call)
    why = f": {text} ({cause})" if cause not in (0, NORMAL_CLEARING) else ""
    seconds = round(call.ended - call.began)
    ends = "the PBX ends the call" if call.first_end == "pbx" else "the call ends"
    return f"{ends} after {'more than ' if call.late else ''}{seconds} s{why}"


def _list(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}" if labels else ""


def _other(call: Call) -> Leg | None:
    """The leg that the caller spoke to last; otherwise the one that was called last."""
    caller = call.caller
    others = [leg for leg in call.legs if leg is not caller and not leg.connects]
    if call.late or call.has_gap:  # which Local pairs only connect others was perhaps not recorded
        others = [leg for leg in others if not leg.local] or others
    spoke = [leg for leg in others if leg.announced is not None and caller in leg.announced]
    known = spoke or others
    return known[-1] if known else None


def _ended_by(call: Call) -> str:
    """One of "caller", "agent", "callee", "pbx", "restart"; "" during the call, and if it is not
    known."""
    end, caller = call.first_end, call.caller
    if not call.ended or isinstance(end, str):
        return end if isinstance(end, str) and call.ended else ""
    if end is caller:
        return "caller"
    if end.answers_for:
        return "agent"
    return "callee" if caller is not None else ""


def _cause(call: Call) -> tuple[int, str]:
    """The hangup cause of the first leg, or of another one in the call if that has none."""
    legs = [leg for leg in call.legs if leg.up and not leg.connects and leg.cause]
    return (legs[0].cause, legs[0].cause_text) if legs and call.ended else (0, "")


def _waited(call: Call) -> float:
    """Seconds in queues; without a queue, until the answer."""
    return call.waited or (call.answered_at - call.began if call.answered_at else 0.0)
