"""A caller's message: the way back, the request, and what is wrong with its frames."""

from __future__ import annotations

from amid.broker.local_callers import MAX_FRAMES
from amid.broker.origin import Connection, Identity, Origin

MAX_ENVELOPE_BYTES = 1024
"""Limit of the frames that route an answer back; they are kept until it is sent."""

Message = tuple[Origin, bytes, str]
"""The origin of a request, the request, and what is wrong with the frames, or ""."""


def parse_message(connection: Connection, frames: list[bytes], identity: Identity, sets_id: bool) -> Message:
    """The message in `frames`, without its routing id. sets_id: whether the caller has set that itself."""
    end = frames.index(b"") + 1 if b"" in frames else 0
    envelope, payload = frames[:end], frames[end:]
    is_long = end > 1 and sum(map(len, envelope)) > MAX_ENVELOPE_BYTES
    fault = _fault(envelope, payload, is_long, sets_id)
    origin = Origin(connection, [b""] if is_long else envelope, identity, identity.principal)
    return origin, payload[0] if payload else b"", fault


def _fault(envelope: list[bytes], payload: list[bytes], is_long: bool, sets_id: bool) -> str:
    """What is wrong with the frames of a message, or ""."""
    if sets_id:  # the id could be another client's too, which would get its answers
        return "the socket sets a routing id (ZMQ_ROUTING_ID, ZMQ_IDENTITY); leave it unset"
    if not envelope:
        return "no empty delimiter frame: a DEALER must send one before its request; a REQ socket does"
    if is_long:
        return f"the frames before the empty delimiter have more than {MAX_ENVELOPE_BYTES} bytes"
    if len(payload) != 1:
        over = len(envelope) + len(payload) == MAX_FRAMES
        count = f"{len(payload)} or more" if over else len(payload)
        return f"a request is one frame after an empty delimiter frame; there were {count}"
    return ""
