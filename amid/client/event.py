"""Events as the client delivers them, and the cursor of an event stream. No sockets.

The daemon holds the events and knows what is missing (method `events`), so the client only passes
the cursor back. Loss is never silent: it is a `Gap` or a warning. A daemon that does not answer is
logged, so that an outage does not look like a quiet PBX.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amid.client import protocol
from amid.client.protocol import log
from amid.client.results import EventBody, EventsPage, Server, Value
from amid.errors import AmidError, CallTimeout, unknown_server
from amid.events.sequence import Gap
from amid.outage import no_events

WAIT_S = 5.0
"""Seconds that one request waits in the daemon for an event. A request is lost when its broker
dies, and no event arrives until the request has timed out; with the daemon's default of 25 s that
was a noticeable outage."""
PAUSE_S = 0.5
"""Seconds before a failed request is repeated."""

TEMPORARY_ERRORS = frozenset({"unreachable", "not_connected", "busy", "timeout", "connection_lost", "cancelled", "internal_error"})
"""Kinds of error after which the request is repeated."""


@dataclass(frozen=True, slots=True)
class Event:
    """One Asterisk event. `event["Channel"]` is the value of a header.

    A value is `str`, `bytes` when it is not valid UTF-8, or a list of these when the header is
    repeated.

    Attributes:
        server: name of the server.
        epoch: number of the event session; it grows with each session.
        seq: number of the event within the session, from 1.
        prev: `seq` of the previous event with this name in the session; 0 when there is none.
        time: when amid received the event, in seconds since 1970 (UTC).
        event: name of the event, such as `Newchannel`.
        fields: the headers, name to value.
    """

    server: str
    epoch: int
    seq: int
    prev: int
    time: float
    event: str
    fields: dict[str, Value]

    def __getitem__(self, header: str) -> Value:
        return self.fields[header]

    def __contains__(self, header: object) -> bool:
        return header in self.fields

    def get(self, header: str, default: Value = "") -> Value:
        """The value of a header, or `default` when the event does not have it."""
        return self.fields.get(header, default)


def as_event(body: EventBody) -> Event:
    """Convert an event of a reply or of a published message."""
    return Event(body["server"], body["epoch"], body["seq"], body["prev"], body["time"], body["event"], body["fields"])


class EventCursor:
    """The position of a stream in the events of one server. `after` is the daemon's cursor, None
    before the first page. grace_s: how long requests may fail before that is logged."""

    def __init__(self, server: str, names: Iterable[str], grace_s: float = 0.0) -> None:
        self.server = server
        self.after: dict[str, int] | None = None
        self._names = list(names)
        self._outage = no_events(log, server, grace_s)

    def request(self, wait_s: float) -> protocol.Call:
        """The request for the next page; it waits up to `wait_s` seconds for an event."""
        return protocol.events(self.server, self.after, self._names, None, wait_s)

    def take(self, page: EventsPage) -> Iterator[Event | Gap]:
        """The events of a page, after a `Gap` if some are missing. A new stream has no previous
        epoch, so it reports no gap for one that ended."""
        self._outage.succeeded()
        before, self.after = self.after, {"epoch": page["epoch"], "seq": page["seq"]}
        missed = page["missed"]
        if before is not None and missed != 0:
            yield Gap(self.server, before["epoch"], before["seq"], missed)
        elif missed:
            first = page["events"][0]["seq"] if page["events"] else page["seq"] + 1
            yield Gap(self.server, page["epoch"], first - missed - 1, missed)
        yield from map(as_event, page["events"])

    def retry_after_s(self, error: AmidError) -> float:
        """The delay in seconds before the request is repeated. Raises `error` itself when repeating
        cannot help."""
        if error.kind not in TEMPORARY_ERRORS:
            raise error
        self._outage.failed(error.message)
        return PAUSE_S


class Inbox:
    """Events that the program has not taken yet, and the counts of missing events (`missed`) and of
    gaps (`gaps`). Gaps are delivered in place if `gaps` is set, else logged."""

    def __init__(self, gaps: bool) -> None:
        self._show = gaps
        self._items: deque[Event | Gap] = deque()
        self.missed = 0
        self.gaps = 0

    def put(self, items: Iterable[Event | Gap]) -> None:
        for item in items:
            if isinstance(item, Gap):
                self.gaps += 1
                self.missed += item.missed or 0
                if not self._show:
                    log.warning("%s", describe(item))
                    continue
            self._items.append(item)

    def next(self) -> Event | Gap | None:
        return self._items.popleft() if self._items else None


def cursors_of(listed: list[Server], server: str | None, names: Iterable[str]) -> list[EventCursor]:
    """One cursor for the named server, or for every server. Raises `AmidError` of kind
    `unknown_server`."""
    servers = [one["name"] for one in listed]
    if server is not None and server not in servers:
        raise unknown_server(server, servers)
    if not servers:
        raise AmidError("unknown_server", "no server is configured")
    return [EventCursor(name, names) for name in servers if server in (None, name)]


def describe(gap: Gap) -> str:
    """A gap as a line of text."""
    if gap.missed is None:
        return f"{gap.server}: events may be missing after number {gap.after}: the event session ended"
    return f"{gap.server}: {gap.missed} events missing after number {gap.after}: the daemon no longer holds them"


def no_event(timeout: float) -> CallTimeout:
    return CallTimeout("timeout", f"no event came within {timeout:g} s; the stream is still open")
