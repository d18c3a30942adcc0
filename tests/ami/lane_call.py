"""A call as the reader gives it to a lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amid.ami.action import encode_action
from amid.rpc.messages import RunAction


def lane_call(
    call_id: int,
    action: str,
    action_id: str,
    deadline: float,
    max_bytes: int,
    *,
    quick: bool = False,
    fields: Mapping[Any, Any] | None = None,
    packet: bytes = b"",
) -> RunAction:
    """packet: what is sent instead of `action` and `fields`."""
    packet = packet or encode_action(action, action_id, fields or {})
    return RunAction(call_id, deadline, action, action_id, packet, 0.0, max_bytes, quick=quick)
