"""What JetStream's answer to the last message of a group says about the whole group.

A stream has one publisher at a time, and each message expects the sequence of the one before it. So
the last message has the expected sequence exactly if all were stored.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import msgspec

WRONG_LAST = frozenset({10070, 10071, 10164})
"""JetStream's error codes for a message that expects another last message than the stream has, by
id or by sequence (nats-server, server/errors.json)."""


class Outcome(Enum):
    STORED = auto()
    """All messages of the group are in the stream."""
    CONFLICT = auto()
    """The stream is at another position than expected; its last message must be read again."""
    REFUSED = auto()
    """JetStream cannot store now, for example for lack of space."""


class Verdict(NamedTuple):
    outcome: Outcome
    reason: str = ""


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


def check_ack(answer: bytes, last_sequence: int) -> Verdict:
    """The outcome of a group, by the answer to its last message. last_sequence: the expected
    sequence of that message."""
    try:
        ack = msgspec.json.decode(answer, type=_Ack)
    except (msgspec.MsgspecError, UnicodeError):
        return Verdict(Outcome.REFUSED, f"not an answer of JetStream: {answer[:80]!r}")
    if ack.error is not None:
        conflict = ack.error.err_code in WRONG_LAST
        reason = f"{ack.error.description} (code {ack.error.err_code or ack.error.code})"
        return Verdict(Outcome.CONFLICT if conflict else Outcome.REFUSED, reason)
    if ack.duplicate:
        return Verdict(Outcome.CONFLICT, "the stream already has this message")
    if ack.seq != last_sequence:
        return Verdict(Outcome.CONFLICT, f"stored with sequence {ack.seq}, expected {last_sequence}")
    return Verdict(Outcome.STORED)
