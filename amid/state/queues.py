"""Queues, their members, and the callers that wait in them.

Members' events have absolute values. Callers' events are relative: a caller that joins moves the
callers behind its position back, and one that leaves moves them up. Such an event may be applied to
a list that includes it: a known caller does not join again, and an unknown one does not leave.

`completed` and the averages come from Asterisk's lists only: `completed` grows once for each time
that a member was called, and AgentComplete is more frequent (asterisk/asterisk, apps/app_queue.c,
update_queue).
"""

from __future__ import annotations

from amid.state.headers import Fields, flag, number, text
from amid.state.model import Model

MEMBER_STATUS = (
    "unknown",
    "not in use",
    "in use",
    "busy",
    "invalid",
    "unavailable",
    "ringing",
    "ring in use",
    "on hold",
)
"""By number (asterisk/asterisk, include/asterisk/devicestate.h, enum ast_device_state)."""


def child_id(queue: str, of: str) -> str:
    """The id of a member or caller: the queue's name, a slash, and the interface or the Uniqueid."""
    return f"{queue}/{of}"


# ── members ──


def put_member(model: Model, fields: Fields, time: float) -> None:
    """An event of a member, or an item of QueueStatus, which names the interface Location and the
    name Name."""
    queue = text(fields, "Queue")
    interface = text(fields, "Interface") or text(fields, "Location")
    status, paused = number(fields, "Status"), flag(fields, "Paused")
    values = {
        "queue": queue,
        "interface": interface,
        "name": text(fields, "MemberName") or text(fields, "Name"),
        "device": text(fields, "StateInterface"),
        "membership": text(fields, "Membership"),
        "penalty": number(fields, "Penalty"),
        "status": MEMBER_STATUS[status] if 0 <= status < len(MEMBER_STATUS) else "unknown",
        "paused": paused,
        "paused_reason": text(fields, "PausedReason") if paused else "",
        "in_call": flag(fields, "InCall"),
        "calls_taken": number(fields, "CallsTaken"),
        "last_call": number(fields, "LastCall"),
        "last_pause": number(fields, "LastPause"),
    }
    model.put("member", child_id(queue, interface), values)


def end_member(model: Model, fields: Fields, time: float) -> None:
    model.remove("member", child_id(text(fields, "Queue"), text(fields, "Interface")))


# ── callers ──


def join_queue(model: Model, fields: Fields, time: float) -> None:
    """A known caller is where the list has it. The position may count a channel Surrogate, see
    `list_caller`."""
    queue = text(fields, "Queue")
    if model.get("caller", child_id(queue, text(fields, "Uniqueid"))) is None:
        position = min(number(fields, "Position"), _last_position(model, queue) + 1)
        _shift(model, queue, position, 1)
        _put_caller(model, fields, time, position)


def _last_position(model: Model, queue: str) -> int:
    return len(model.queue_callers.get(queue, ()))


def _put_caller(model: Model, fields: Fields, since: float, position: int) -> None:
    queue, uniqueid = text(fields, "Queue"), text(fields, "Uniqueid")
    values = {
        "queue": queue,
        "uniqueid": uniqueid,
        "channel": text(fields, "Channel"),
        "caller": text(fields, "CallerIDNum"),
        "caller_name": text(fields, "CallerIDName"),
        "position": position,
    }
    if model.get("caller", child_id(queue, uniqueid)) is None:
        values["since"] = since
    model.put("caller", child_id(queue, uniqueid), values)
    _count_callers(model, queue)


def leave_queue(model: Model, fields: Fields, time: float) -> None:
    _remove_caller(model, text(fields, "Queue"), text(fields, "Uniqueid"))


def leave_all_queues(model: Model, fields: Fields, time: float) -> None:
    """The events Hangup and BridgeEnter. A caller that hangs up, or that the action Bridge takes
    away, may leave without QueueCallerLeave and QueueCallerAbandon; Asterisk counts it as
    abandoned."""
    uniqueid = text(fields, "Uniqueid")
    for kind, caller in list(model.dependents.get(uniqueid, ())):
        if kind == "caller":
            queue = model.kinds[kind][caller]["queue"]
            _remove_caller(model, queue, uniqueid)
            _add_abandoned(model, queue)


def _remove_caller(model: Model, queue: str, uniqueid: str) -> None:
    known = model.get("caller", child_id(queue, uniqueid))
    if known is not None:
        model.remove("caller", child_id(queue, uniqueid))
        _shift(model, queue, known["position"] + 1, -1)
        _count_callers(model, queue)


def abandon_queue(model: Model, fields: Fields, time: float) -> None:
    _add_abandoned(model, text(fields, "Queue"))


def _add_abandoned(model: Model, queue: str) -> None:
    known = model.get("queue", queue)
    if known is not None:
        model.put("queue", queue, {"abandoned": known["abandoned"] + 1})
        model.stale_queues[queue] = None


def complete_call(model: Model, fields: Fields, time: float) -> None:
    model.stale_queues[text(fields, "Queue")] = None


def _shift(model: Model, queue: str, first: int, by: int) -> None:
    """Move the callers of a queue from position `first` on."""
    for caller in model.queue_callers.get(queue, ()):
        position = model.kinds["caller"][caller]["position"]
        if position >= first:
            model.put("caller", caller, {"position": position + by})


def _count_callers(model: Model, queue: str) -> None:
    if model.get("queue", queue) is not None:
        model.put("queue", queue, {"waiting": _last_position(model, queue)})


# ── lists ──


def list_queue(model: Model, fields: Fields, time: float) -> None:
    """An item QueueParams of QueueStatus."""
    queue = text(fields, "Queue")
    values = {
        "name": queue,
        "strategy": text(fields, "Strategy"),
        "max": number(fields, "Max"),
        "weight": number(fields, "Weight"),
        "waiting": 0,
        "completed": number(fields, "Completed"),
        "abandoned": number(fields, "Abandoned"),
        "hold_time": number(fields, "Holdtime"),
        "talk_time": number(fields, "TalkTime"),
        "service_level": number(fields, "ServiceLevel"),
        "service_level_percent": float(text(fields, "ServicelevelPerf") or 0),
    }
    model.put("queue", queue, values)


def list_caller(model: Model, fields: Fields, time: float) -> None:
    """An item QueueEntry of QueueStatus. The items are in the order of their positions. After the
    action Bridge has taken a caller away, Asterisk lists a channel Surrogate in its position for a
    moment, and counts it as abandoned when it ends."""
    queue = text(fields, "Queue")
    if str(text(fields, "Channel")).startswith("Surrogate/"):
        model.stale_queues[queue] = None
    else:
        _put_caller(model, fields, time - number(fields, "Wait"), _last_position(model, queue) + 1)
