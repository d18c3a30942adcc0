"""What a subscriber does with event messages, without a socket or a clock: `Feed` turns them into events and gaps.

What is missing is fetched once more before anything behind it is given out, as far as the daemon still holds it. Loss is never
silent: what cannot be had comes as a `Gap` in place or as a warning, and a server whose ticks stop is reported, so that a daemon
that is gone does not look like a quiet PBX.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from amid import wire
from amid.client.recovery import Ask, Recovery
from amid.client.rules import Packet, Value, log
from amid.errors import AmidError, CallTimeout
from amid.events.sequence import Gap, Gaps

SETTLE = 2.0
"""Seconds to wait for the first tick of each server that is up, which shows that a subscription is in effect."""
QUIET = 5.0
"""Seconds without a tick after which a server's stream is reported as quiet."""
WAKE = 1.0
"""Seconds that a wait for events may last before `Feed.watch` looks at the clock."""
MAX_SPELLINGS = 1000
"""Names of a subscription, with their spellings."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `event["Channel"]` is a header's value: text, bytes when it is not UTF-8, a list when the header is repeated.

    epoch, seq: the event session and the event's number within it; nth: its number among the events of its name.
    time: when the daemon read it, in seconds since 1970.
    """

    server: str
    epoch: int
    seq: int
    nth: int
    time: float
    event: str
    fields: dict[str, Value]

    def __getitem__(self, header: str) -> Value:
        return self.fields[header]

    def __contains__(self, header: object) -> bool:
        return header in self.fields

    def get(self, header: str, default: Value = "") -> Value:
        """The value of a header that may be absent."""
        return self.fields.get(header, default)


def event(body: Packet) -> Event:
    """The event in a body, as it was published or as `replay` gives it."""
    return Event(*(body[name] for name in ("server", "epoch", "seq", "nth", "time", "event", "fields")))


class Feed:
    """What a subscriber does with its messages: give `take` each of them, and get events and gaps from `next`.

    While `ask` is not None, events are missing: call `replay` with it and give `fetched` or `refused` what came of it, before
    the next message. That call has a time limit of its own: with the limit of whoever waits for the next event, a short one would
    end each try before its answer comes, for ever.

    listed: the result of the `servers` method. names: the events wanted, all when empty; they compare without case. gaps: whether
    `next` gives `Gap` objects in place; when not, each is logged as a warning. Either way they are counted: `missed` events in
    `gaps` gaps. `replayed` counts the events that were lost and fetched.
    """

    def __init__(self, listed: list[Packet], server: str | None, names: Iterable[str], gaps: bool, now: float) -> None:
        self._names = set(names)
        self._folded = {name.casefold() for name in self._names}
        self._show = gaps
        servers = _chosen(listed, server)
        self.endpoints = [_endpoint(s, "events" if self._names else "stream") for s in servers]
        self._awaited = {s["name"] for s in servers if s["state"] == "up"}
        self._heard = {s["name"]: now for s in servers}
        self._quiet: set[str] = set()
        self._found: set[str] = set()
        self._gaps = Gaps(frozenset(self._names) or None)
        self._inbox: deque[Packet] = deque()
        self._recovery = Recovery()
        self._recovered = False
        self._ready: deque[Event | Gap] = deque()
        self.missed = 0
        self.gaps = 0
        self.replayed = 0

    @property
    def topics(self) -> list[bytes]:
        """What to subscribe to. Ticks come last: the first tick then shows that all of them are in effect."""
        servers = list(self._heard)
        wanted = self._event_topics(self._names) or list(map(wire.stream_topic, servers))
        return wanted + list(map(wire.tick_topic, servers))

    def new_topics(self) -> list[bytes]:
        """What to subscribe to besides, since the last time: another spelling of a name that was asked for has turned up."""
        topics, self._found = self._event_topics(self._found), set()
        return topics

    def _event_topics(self, names: Iterable[str]) -> list[bytes]:
        return [wire.event_topic(server, name) for server in self._heard for name in sorted(names)]

    @property
    def settled(self) -> bool:
        """Every server that was up has ticked: whatever it publishes from now on will come."""
        return not self._awaited

    def take(self, frames: list[bytes], now: float) -> None:
        for body in wire.unpack(frames[1]):
            if body["event"] == wire.TICK:
                self._awaited.discard(body["server"])
                self._quiet.discard(body["server"])
                self._find_names(body["counts"])
            self._heard[body["server"]] = now
            self._inbox.append(body)
        self._advance()

    @property
    def ask(self) -> Ask | None:
        """What to ask `replay` for."""
        return self._recovery.ask

    @property
    def pause(self) -> float:
        """Seconds to wait before asking it."""
        return self._recovery.pause

    def fetched(self, events: list[Packet], more: bool) -> None:
        """What `replay` gave for `ask`."""
        for body in self._recovery.page(events, more):
            self.replayed += self._event(body)
        self._advance()

    def refused(self, error: AmidError) -> None:
        """`replay` failed."""
        self._recovery.refused(error)
        self._advance()

    def settle(self) -> None:
        """The time to wait for the first ticks is over."""
        if self._awaited:
            late = ", ".join(sorted(self._awaited))
            log.warning("no tick of %s within %g s; events before the first one may be missing without a gap", late, SETTLE)

    def next(self) -> Event | Gap | None:
        return self._ready.popleft() if self._ready else None

    def watch(self, now: float) -> None:
        """Say it, once, when a server has not ticked for a while: a daemon that is gone must not look like a quiet PBX."""
        for server, heard in self._heard.items():
            if now - heard > QUIET and server not in self._quiet:
                self._quiet.add(server)
                log.warning("%s: no tick for %g s; its reader or the daemon is down, still waiting", server, QUIET)

    def _advance(self) -> None:
        """Take what came, up to where something is missing that may still be had."""
        while self._inbox and self.ask is None:
            missing = [] if self._recovered else self._before(self._inbox[0])
            if missing:
                self._recovery.begin(map(self._gaps.widened, missing))
                self._recovered = True
                continue
            self._recovered = False
            body = self._inbox.popleft()
            if body["event"] == wire.TICK:
                self._tick(body)
            else:
                self._event(body)

    def _before(self, body: Packet) -> list[Gap]:
        """What is missing before this event or tick."""
        if body["event"] == wire.TICK:
            return self._gaps.before_tick(body["server"], body["epoch"], body["seq"], body["counts"])
        return self._gaps.before_event(*_numbers(body))

    def _tick(self, body: Packet) -> None:
        for gap in self._gaps.tick(body["server"], body["epoch"], body["seq"], body["counts"]):
            self._gap(gap)

    def _find_names(self, names: Iterable[str]) -> None:
        """ZeroMQ's topics compare with case, and names of events without: take those that were meant. What came under them before
        the subscription shows as a gap, and is fetched."""
        for name in names if self._names else ():
            if name not in self._names and name.casefold() in self._folded and len(self._names) < MAX_SPELLINGS:
                self._names.add(name)
                self._found.add(name)
                self._gaps.add_name(name)

    def _event(self, body: Packet) -> bool:
        """Whether it is one that was asked for and is new."""
        if self._names and body["event"] not in self._names:
            return False
        fresh, gaps = self._gaps.event(*_numbers(body))
        for gap in gaps:
            self._gap(gap)
        if fresh:
            self._ready.append(event(body))
        return fresh

    def _gap(self, gap: Gap) -> None:
        self.gaps += 1
        self.missed += gap.missed or 0
        if self._show:
            self._ready.append(gap)
        else:
            log.warning("%s", told(gap))


def _numbers(body: Packet) -> tuple[str, int, int, int, str]:
    return body["server"], body["epoch"], body["seq"], body["nth"], body["event"]


def _chosen(listed: list[Packet], server: str | None) -> list[Packet]:
    chosen = [s for s in listed if server in (None, s["name"])]
    if not chosen:
        known = ", ".join(s["name"] for s in listed) or "none"
        raise AmidError("unknown_server", f"there is no server {server or 'at all'}; the daemon has: {known}", server=server)
    return chosen


def _endpoint(server: Packet, kind: str) -> str:
    endpoint: str = server[kind]
    if not endpoint:
        raise AmidError("unreachable", f"these events of {server['name']} are not offered over TCP: its table needs {kind}_listen")
    return endpoint


def told(gap: Gap) -> str:
    """A gap in words."""
    if gap.missed is None:
        return f"{gap.server}: events may be missing after number {gap.after}: {gap.reason}"
    which = f"{gap.event} events" if gap.event else "events"
    return f"{gap.server}: {gap.missed} {which} missing after number {gap.after}: {gap.reason}"


def left(timeout: float | None, waited: float) -> float:
    """Seconds that one look at a socket may take, having waited so long for an event; 0 when the time is over."""
    return WAKE if timeout is None else max(0.0, min(WAKE, timeout - waited))


def no_event(timeout: float) -> CallTimeout:
    return CallTimeout("timeout", f"no event came within {timeout:g} s; the subscription is still open")
