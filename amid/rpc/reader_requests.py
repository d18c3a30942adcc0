"""Turns checked requests into messages for readers and services."""

from __future__ import annotations

import msgspec

from amid.ami.catalogue import is_quick
from amid.ami.session import new_action_id
from amid.errors import AmidError
from amid.rpc.action_packet import encode_params
from amid.rpc.messages import CallService, PullEvents, RunAction
from amid.rpc.requests import ActionParams, EventsParams, TimedParams

PULL_GRACE_S = 0.03
"""Time for a reader to report that no event came, before the broker does."""
ANSWER_GRACE_S = 0.25
"""The same time for a service."""


def run_action(call_id: int, params: ActionParams, shape: str, as_json: bool, max_bytes: int, now: float) -> RunAction:
    """An action. shape: of its result (`RunAction`). max_bytes: limit of its answer.

    Raises `AmidError` of kind `invalid_params`, and `timeout` if its caller gave up before now.
    """
    deadline = now + params.timeout if params.deadline is None else min(now + params.timeout, params.deadline)
    if deadline <= now:
        raise AmidError("timeout", "the caller gave up before the broker had read the request; it was not sent")
    action_id = params.action_id or new_action_id()
    packet, own_id = encode_params(params, action_id)
    return RunAction(
        call_id,
        deadline,
        params.action.encode("utf-8", "replace").decode(),
        action_id,
        packet,
        now,
        max_bytes,
        as_json,
        quick=is_quick(params.action, params.fields),
        shape=shape,
        own_id=own_id,
        until=params.until.encode("utf-8", "surrogateescape") if params.until is not None else None,
    )


def pull_events(call_id: int, params: EventsParams, as_json: bool, now: float, recorded: bool = False) -> PullEvents:
    """A request for the events behind a cursor. recorded: whether there is a recorder."""
    end, after = now + params.timeout, params.after
    epoch, seq = (after.epoch, after.seq) if after is not None else (None, 0)
    return PullEvents(call_id, end + PULL_GRACE_S, end, epoch, seq, params.names or [], params.limit, as_json, recorded)


def call_service(
    call_id: int, method: str, server: str, params: TimedParams | EventsParams, as_json: bool, principal: str, now: float
) -> CallService:
    """A call of a service. Raises `AmidError` of kind `invalid_params`."""
    try:
        encoded = msgspec.msgpack.encode(params)
    except (UnicodeEncodeError, OverflowError):
        message = f"{method}: text in the params must be UTF-8, and a whole number have at most 64 bits"
        raise AmidError("invalid_params", message) from None
    end = now + params.timeout
    grace = ANSWER_GRACE_S if method == "events" else 0.0
    return CallService(call_id, end + grace, end, method, server, encoded, as_json, principal)
