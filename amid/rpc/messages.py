"""What the broker and a reader send each other, as types.

Each message is one MessagePack array that begins with its tag; `amid.process.pipe` carries it, with a
payload of bytes beside it that is not decoded. A reader says first who it is (`Hello`). Then it owes
the broker an outcome for each `RunAction` and `ReplayEvents`: `Done`, or `Returned` when Asterisk
never saw it.

What a reader can take is counted by both sides, so that a lost or repeated message cannot make the two
drift apart: the reader reports its capacity together with how many calls it has taken from this broker
so far, and the broker deducts those that it has sent since.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

# ── from the broker ──


class RunAction(Struct, tag="run", array_like=True):
    """Carry out an action on a lane.

    call_id: the broker's number for the call. deadline: seconds on the monotonic clock, after which nobody waits.
    own_id: the caller's own ActionID, to be given back in the answer. packet: the action as Asterisk reads it. until: the name of
    an event to wait for behind the answer. shape: "action" or "actions", the method whose result is wanted. quick: Asterisk
    answers it at once. behind: it may be put behind others on a lane, and no idle lane is meant for it.
    """

    call_id: int
    deadline: float
    action: str
    action_id: str
    packet: bytes
    began: float
    max_bytes: int
    as_json: bool = False
    quick: bool = False
    behind: bool = False
    shape: str = "action"
    own_id: bytes | None = None
    until: bytes | None = None


class ReplayEvents(Struct, tag="replay", array_like=True):
    """Give back events that are held: of `epoch`, behind number `after`, at most `limit`."""

    call_id: int
    deadline: float
    epoch: int
    after: int
    limit: int
    as_json: bool = False


class Forget(Struct, tag="forget", array_like=True):
    """Nobody waits for the answer to this call any more."""

    call_id: int


class WantLanes(Struct, tag="want", array_like=True):
    """So many calls wait. spare: one of them is of a caller without a lane, and others have them all."""

    waiting: int
    spare: bool


class Drained(Struct, tag="drained", array_like=True):
    """The answer to `Draining`: no call is on its way any more."""


ToReader = RunAction | ReplayEvents | Forget | WantLanes | Drained
Request = RunAction | ReplayEvents
"""What a call is at the reader."""

# ── from a reader ──


class Hello(Struct, tag="hello", array_like=True):
    """The reader of a server. started: orders the incarnations of one server's reader. bulk: this is the pipe for large results,
    which the others pass by on the first one."""

    server: str
    started: int
    bulk: bool = False


class Capacity(Struct, tag="capacity", array_like=True):
    """What the reader can take: `idle` lanes, and `room` for quick actions behind others. taken_idle, taken_behind: the calls
    of either kind that it has taken from this broker so far."""

    idle: int
    room: int
    taken_idle: int
    taken_behind: int


class Lanes(Struct):
    """idle and busy lanes, the most that are opened for one caller, and the calls whose actions Asterisk works on."""

    free: int
    busy: int
    limit: int
    calls: list[int]


class Status(Struct, tag="status", array_like=True):
    """All that the reader reports of itself. ready: it has a lane for actions. since: when `state` began, seconds since 1970."""

    capacity: Capacity
    ready: bool
    state: str
    detail: str
    since: float
    epoch: int
    seq: int
    asterisk: str
    lanes: Lanes
    counters: dict[str, int]


class Failure(Struct, array_like=True):
    """An error of `amid.errors`, with what is known about it."""

    kind: str
    message: str
    sent: bool
    data: dict[str, Any] = field(default_factory=dict)


class Done(Struct, tag="done", array_like=True):
    """The outcome of a call. Without an error the payload is the result, encoded as the request was."""

    call_id: int
    error: Failure | None = None


class Progress(Struct, tag="progress", array_like=True):
    """Asterisk has answered, and the call goes on waiting for an event; response: the packet."""

    call_id: int
    response: dict[Any, Any]


class Returned(Struct, tag="returned", array_like=True):
    """The action was not sent: no lane could take it any more."""

    call_id: int


class Draining(Struct, tag="draining", array_like=True):
    """The reader ends: it returns what comes from now on."""


FromReader = Hello | Capacity | Status | Done | Progress | Returned | Draining

encode = msgspec.msgpack.Encoder().encode
decode_to_reader = msgspec.msgpack.Decoder(ToReader).decode
decode_from_reader = msgspec.msgpack.Decoder(FromReader).decode
