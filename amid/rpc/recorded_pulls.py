"""Requests for events that the reader no longer holds, on their way to the recorder and back.

The reader passes such a request on to the recorder. At the end of what is recorded, or where events
were not recorded that the reader still holds, the recorder passes it back, and the reader answers
it from its buffer.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from amid.rpc.messages import CallService, PassOn
from amid.rpc.open_call import OpenCall
from amid.rpc.requests import Cursor, EventsParams

ANSWER_S = 0.5
"""Time for the recorder to answer, at least. A client waits one second longer than its timeout."""


def hand_over(call: OpenCall, message: PassOn, now: float) -> None:
    """Make a request to the recorder of a request for events that the reader passes on."""
    pull = call.pull
    assert pull is not None
    call.recorded_pull = replace(pull, epoch=message.epoch, seq=message.seq)
    call.deadline = max(call.deadline, now + ANSWER_S)
    call.link = None
    params = EventsParams(server=call.server, after=Cursor(message.epoch, message.seq), names=pull.names or None, limit=pull.limit)
    encoded = msgspec.msgpack.encode(params)
    call.request = CallService(
        call.call_id, call.deadline, pull.end, "events", call.server, encoded, pull.as_json, call.principal, message.held
    )


def take_back(call: OpenCall, epoch: int, seq: int) -> None:
    """Make a request to the reader of it again, which the reader answers in any case."""
    pull = call.recorded_pull
    assert pull is not None
    call.request = replace(pull, deadline=call.deadline, epoch=epoch, seq=seq, recorded=False)
    call.recorded_pull = call.link = None
