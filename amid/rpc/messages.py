"""What the broker and a reader send each other, as types.

Each message is one MessagePack array that begins with its tag. `amid.process.pipe` carries it,
together with a payload of bytes that is not decoded. A reader introduces itself first (`Hello`).
After that it owes the broker an outcome for each `RunAction` and `PullEvents`: `Done`, or
`Returned` if the action was not sent.

A service is another child that answers methods. It names them (`ServiceHello`), and owes the
broker a `Done` for each `CallService`.

Both sides count what a reader can take, so that a lost or repeated message cannot make them
disagree: the reader reports its capacity together with the number of calls that it has taken from
this broker, and the broker deducts the calls that it has sent since.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field

# ── from the broker ──


class RunAction(Struct, tag="run", array_like=True):
    """Run an action on a lane.

    call_id: the broker's number of the call. deadline: monotonic seconds; the caller does not wait
    longer. packet: the action as sent to Asterisk. began: when it was requested, monotonic seconds.
    max_bytes: limit of the answer. quick: Asterisk answers it at once. behind: it may be pipelined
    behind others; no idle lane is meant for it. shape: of the result, by method: "action" or
    "actions", or "raw". own_id: the caller's own ActionID, for the answer. until: the name of an
    event to wait for after the answer.
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


class PullEvents(Struct, tag="pull", array_like=True):
    """Return at most `limit` events after number `seq` of `epoch`, or wait for one until `end`.

    epoch: None for events from now on. names: those wanted, all if empty. end, deadline: monotonic
    seconds; the deadline is a moment later. recorded: the recorder may have events that the reader
    no longer holds; such a request is passed on.
    """

    call_id: int
    deadline: float
    end: float
    epoch: int | None
    seq: int
    names: list[str]
    limit: int
    as_json: bool = False
    recorded: bool = False


class CallService(Struct, tag="call", array_like=True):
    """Answer a method. For a service.

    deadline: monotonic seconds; the caller does not wait longer. end: when a call that waits for
    something is answered without it, a moment earlier. params: of the method (`amid.rpc.requests`),
    in MessagePack. principal: what the call counts for. held: of `PassOn`.
    """

    call_id: int
    deadline: float
    end: float
    method: str
    server: str
    params: bytes
    as_json: bool = False
    principal: str = ""
    held: tuple[int, int] | None = None


class Forget(Struct, tag="forget", array_like=True):
    """The caller no longer waits for the answer to this call."""

    call_id: int


class WantLanes(Struct, tag="want", array_like=True):
    """`waiting` calls are queued. spare: one is of a caller without a
    lane, while others hold all lanes."""

    waiting: int
    spare: bool


class Drained(Struct, tag="drained", array_like=True):
    """The answer to `Draining`: no more calls are on their way."""


ToReader = RunAction | PullEvents | Forget | WantLanes | Drained
ToService = CallService | Forget
Request = RunAction | PullEvents | CallService
"""What a call asks of a reader or a service."""

# ── from a reader ──


class Hello(Struct, tag="hello", array_like=True):
    """The reader of a server introduces itself. started: orders the readers that a server has had."""

    server: str
    started: int


class ServiceHello(Struct, tag="service", array_like=True):
    """The service `name`, for example "state", introduces itself and its methods."""

    name: str
    methods: list[str]


class ServiceStatus(Struct, tag="service_status", array_like=True):
    """The report of the service `name`, for the method `status`."""

    name: str
    report: dict[str, Any]


class Capacity(Struct, tag="capacity", array_like=True):
    """What the reader can take: `idle` lanes, and `room` for quick actions behind others.

    taken_idle, taken_behind: calls of either kind that it has taken from this broker so far.
    """

    idle: int
    room: int
    taken_idle: int
    taken_behind: int


class Lanes(Struct):
    """Idle and busy lanes, the most that one caller can use, and the
    calls whose actions Asterisk works on."""

    free: int
    busy: int
    limit: int
    calls: list[int]


class Status(Struct, tag="status", array_like=True):
    """The reader's full report. ready: it has a lane for actions. since:
    start of `state`, seconds since 1970."""

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
    """An `amid.errors` error. data: further members of its `data`."""

    kind: str
    message: str
    sent: bool
    data: dict[str, Any] = field(default_factory=dict)


class Done(Struct, tag="done", array_like=True):
    """The outcome of a call.

    Without an error, the payload is the result, encoded as the request was.
    """

    call_id: int
    error: Failure | None = None


class PassOn(Struct, tag="pass_on", array_like=True):
    """The next events of a request for events are not here. From a reader: it no longer holds them,
    and the recorder may have them. From the recorder: the reader continues after number `seq` of
    `epoch`. held: from a reader, the epoch and number after which it holds all events."""

    call_id: int
    epoch: int
    seq: int
    held: tuple[int, int] | None = None


class Progress(Struct, tag="progress", array_like=True):
    """Asterisk has answered, and the call now waits for an event.
    response: the packet's headers."""

    call_id: int
    response: dict[Any, Any]


class Returned(Struct, tag="returned", array_like=True):
    """The action was not sent, because no lane could take it."""

    call_id: int


class Draining(Struct, tag="draining", array_like=True):
    """The reader is ending. It returns every call that arrives from now on."""


FromReader = Hello | ServiceHello | ServiceStatus | Capacity | Status | Done | PassOn | Progress | Returned | Draining

encode = msgspec.msgpack.Encoder().encode
decode_to_reader = msgspec.msgpack.Decoder(ToReader).decode
decode_to_service = msgspec.msgpack.Decoder(ToService).decode
decode_from_reader = msgspec.msgpack.Decoder(FromReader).decode
