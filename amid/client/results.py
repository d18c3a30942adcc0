"""Result types of the methods, as documented in clients/README.md. Times and durations are in seconds."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

Text = str | bytes
"""A name or value; `bytes` when it is not valid UTF-8."""
Value = Text | list[Text]
"""A header's value; a list when the header occurs more than once."""
Packet = dict[str, Any]
"""Headers of a packet, name to value."""


class ActionResult(TypedDict):
    """The answer to an action.

    response: the response packet. events: the items of a list. complete: the event that ends the
    list, None without a list. output: output lines of Command. until: the event that was waited
    for. packets: with `raw`, the packets as bytes, in place of `response`, `events`, `complete` and
    `until`. elapsed: seconds from receipt of the request to the answer.
    """

    server: str
    action_id: str
    response: Packet
    events: list[Packet]
    complete: Packet | None
    output: list[Text]
    until: NotRequired[Packet]
    packets: NotRequired[list[bytes]]
    elapsed: float


class Lanes(TypedDict):
    """Action sessions of a server: free, busy, and the limit."""

    free: int
    busy: int
    limit: int


class Server(TypedDict):
    """state: "up", "booting", "connecting", "rejected" or "lost". detail: why it is not up. since:
    when the state began, in seconds since 1970. queued: calls waiting for a lane."""

    name: str
    state: str
    detail: str
    asterisk: str
    epoch: int
    seq: int
    events: str
    stream: str
    lanes: Lanes
    queued: int
    since: float
    counters: NotRequired[dict[str, int]]


class Process(TypedDict):
    """A process of the daemon. uptime: in seconds. last_exit: how the previous process ended.
    problem: what is wrong with it, or ""."""

    name: str
    pid: int
    uptime: float
    restarts: int
    last_exit: str
    problem: str


class CallerCalls(TypedDict):
    """The number of open calls of a caller."""

    name: str
    open_calls: int


class Status(TypedDict):
    """The result of `status`. uptime: in seconds. services: the report of each child that
    has one, by its name."""

    version: str
    uptime: float
    servers: list[Server]
    processes: list[Process]
    services: dict[str, dict[str, Any]]
    callers: list[CallerCalls]
    counters: dict[str, int]


class OfferedAction(TypedDict):
    """An action that Asterisk offers, with its synopsis and the privileges it requires."""

    name: str
    synopsis: str
    privilege: str


class EventBody(TypedDict):
    """An event in a reply; see `amid.Event`."""

    server: str
    epoch: int
    seq: int
    prev: int
    time: float
    event: str
    fields: dict[str, Any]


class EventsPage(TypedDict):
    """epoch, seq: the cursor to pass as `after` for the next page. missed: number of missing
    events, None when an event session ended. more: whether the next page is already available."""

    server: str
    epoch: int
    seq: int
    events: list[EventBody]
    missed: int | None
    more: bool


class State(TypedDict):
    """The state of a PBX as of event `seq`, with the lists that were requested.

    rev: number of its last change. exact: False if it only converges; `detail` has the reason.
    settled_at: when it was last loaded or reconciled, in seconds since 1970.
    """

    server: str
    epoch: int
    seq: int
    rev: int
    exact: bool
    detail: str
    settled_at: float
    channels: NotRequired[list[dict[str, Any]]]
    calls: NotRequired[list[dict[str, Any]]]
    bridges: NotRequired[list[dict[str, Any]]]
    queues: NotRequired[list[dict[str, Any]]]
    members: NotRequired[list[dict[str, Any]]]
    callers: NotRequired[list[dict[str, Any]]]
    devices: NotRequired[list[dict[str, Any]]]
    hints: NotRequired[list[dict[str, Any]]]
    contacts: NotRequired[list[dict[str, Any]]]
    registrations: NotRequired[list[dict[str, Any]]]
    parked: NotRequired[list[dict[str, Any]]]
    conferences: NotRequired[list[dict[str, Any]]]
    participants: NotRequired[list[dict[str, Any]]]


class ChangesPage(TypedDict):
    """`EventsPage` for changes of state.

    events: maps with `server`, `epoch`, `seq`, `rev`, `kind`, `id`, and `set` (the changed members)
    or `gone`. missed: if not 0, some changes are no longer held; request the state again.
    """

    server: str
    epoch: int
    seq: int
    rev: int
    events: list[dict[str, Any]]
    missed: int | None
    more: bool


class CallSummary(TypedDict):
    """One recorded call; the contract (clients/README.md, Requests) describes the members.

    ended: None during the call. late: it began before the recording, `began` is its first recorded
    event.
    """

    server: str
    linkedid: str
    joined: list[str]
    began: float
    late: bool
    ended: float | None
    who: str
    whom: str
    dialled: str
    queue: str
    agent: str
    outcome: str
    waited: float
    talked: float
    ended_by: str
    cause: int
    cause_text: str
    numbers: list[str]
    channels: int
    events: int


class CallsPage(TypedDict):
    """Recorded calls. unreadable: recorded files that could not be read, with the reason."""

    server: str
    calls: list[CallSummary]
    more: bool
    unreadable: NotRequired[list[str]]


class LadderStep(TypedDict):
    """after: seconds since the call began. The last step has no `epoch`, `seq` or `parties`."""

    time: float
    after: float
    kind: str
    text: str
    epoch: NotRequired[int]
    seq: NotRequired[int]
    parties: NotRequired[list[str]]


class RecordedCall(TypedDict):
    """call: None if there is no such call. events: with `all`. left_out: number of further events."""

    server: str
    call: CallSummary | None
    ladder: list[LadderStep]
    events: NotRequired[list[EventBody]]
    left_out: NotRequired[int]
    unreadable: NotRequired[list[str]]


class Cancelled(TypedDict):
    """cancelled: number of calls that were cancelled. sent: whether Asterisk may have received one
    of them."""

    cancelled: int
    sent: bool


class AuditRecord(TypedDict):
    """A record of the audit trail. time: in seconds since 1970. elapsed: in seconds. left_out:
    records dropped before this one."""

    seq: int
    time: float
    caller: str
    principal: str
    method: str
    action: str
    server: str
    target: str
    outcome: str
    sent: bool
    elapsed: float
    left_out: int


class AuditPage(TypedDict):
    """A page of the audit trail, the oldest records first. seq: number of the newest record that exists."""

    records: list[AuditRecord]
    seq: int
    left_out: int
