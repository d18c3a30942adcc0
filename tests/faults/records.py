"""The records that the load writes and the judge reads, one named tuple each. Times are monotonic
seconds, common to all processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack


class Call(NamedTuple):
    """A call that has ended, or whose answer is overdue.

    kind: how it ended ("ok", an error's kind, or "unanswered"); own: whether that error is the client's, and not the daemon's.
    wrong: what is not its own in its answer. late: how long the load itself, or the machine, held it up.
    token: what its UserEvent says, "" for other actions. fine: whether that is how this action should end.
    """

    caller: str
    action: str
    began: float
    timeout: float
    ended: float
    late: float
    kind: str
    sent: bool
    own: bool
    fine: bool
    token: str
    wrong: str


class Stray(NamedTuple):
    """An unexpected answer: a duplicate, or without a request."""

    caller: str
    at: float
    reply: str


class Seen(NamedTuple):
    """An event that a subscriber got; token: what it says when it is a UserEvent of the load."""

    subscriber: str
    at: float
    epoch: int
    seq: int
    prev: int
    name: str
    token: str


class Tick(NamedTuple):
    subscriber: str
    at: float
    epoch: int
    seq: int
    last: dict[str, int]


class Missed(NamedTuple):
    """A gap that the client library reported; `missed` is None if unknown."""

    subscriber: str
    at: float
    epoch: int
    after: int
    missed: int | None


class Witnessed(NamedTuple):
    """A UserEvent in the witness's own session with Asterisk, number `number` of those in session `session`."""

    at: float
    session: int
    number: int
    token: str


class Cut(NamedTuple):
    """The witness saw nothing from `since`, for certain, to `until`; None: up to now."""

    since: float
    until: float | None


class Away(NamedTuple):
    """There was no broker, by the word of the fault that took it away; until None: up to now."""

    since: float
    until: float | None


class Deaf(NamedTuple):
    """The subscribers without the last event at the end of the load."""

    who: str
    at: float


class RecordedCall(NamedTuple):
    """A call as the recorder has it, and as its events say; None: not at all."""

    at: float
    linkedid: str
    expected: dict[str, Any] | None
    found: dict[str, Any] | None


Record = Call | Stray | Seen | Tick | Missed | Witnessed | Cut | Away | Deaf | RecordedCall
KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Call, Stray, Seen, Tick, Missed, Witnessed, Cut, Away, Deaf, RecordedCall)
}


def pack(record: Record) -> bytes:
    packed: bytes = msgpack.packb([type(record).__name__, *record])
    return packed


def unpacked(value: list[Any]) -> Record:
    record: Record = KINDS[value[0]](*value[1:])
    return record
