"""The lanes of one server: as many action sessions as the calls need, from one up to the limit.

Lanes connect only while the event session is up, so one connection tries an unreachable PBX, not
all. A lane that was opened for a peak logs off after an idle minute. A quick action is pipelined
behind others only if no lane is idle and none may be opened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from amid.ami.exchange import Call
from amid.ami.lane import MAX_PIPELINED, Lane, Outcome
from amid.ami.packet import ProtocolError
from amid.ami.trace import Tap, Trace
from amid.process.loop import Alarm, clock
from amid.process.name_lookup import Address
from amid.reader.answers import Answers
from amid.reader.manager_connection import Endpoint, ManagerConnection
from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.reader")

IDLE_S = 60.0
"""A lane beyond the first logs off after this time without an action."""


class LaneConnection(ManagerConnection):
    """A connection and its lane."""

    idle_since = 0.0

    def __init__(self, pool: LanePool, endpoint: Endpoint, tap: Tap, only: Address | None) -> None:
        self._pool = pool
        super().__init__(endpoint, tap, pool.lost, only)
        self.lane = Lane(self.session)

    def feed(self, data: bytes, now: float) -> None:
        was_up = self.up
        outcomes = self.lane.feed(data, now)
        if self.up and not was_up:
            self.idle_since = now
            self._pool.opened()
        self._pool.received(outcomes)

    def check(self, now: float) -> None:
        self.lane.check(now)
        self._pool.retire(self, now)

    def next_deadline(self) -> float:
        return self.lane.next_deadline()


class LanePool:
    """Owns the lanes' connections.

    answers: takes completed calls, and those of a connection that ended. on_change: called when the
    pool's capacity may have changed.
    """

    def __init__(self, endpoint: Endpoint, trace: Trace, answers: Answers, on_change: Callable[[], object]) -> None:
        self._server = server = endpoint.server
        self._endpoint = endpoint
        self._trace = trace
        self._answers = answers
        self._on_change = on_change
        self._backoff = Backoff(server.reconnect_min, server.reconnect_max)
        self._connections: list[LaneConnection] = []
        self._dial_alarm = Alarm(asyncio.get_running_loop(), self._dial)
        self._dial_at = 0.0
        self._dialled = 0
        self._may_dial = False
        self._target = 1
        self._address: Address | None = None
        self._late = 0
        self._unknown = 0
        self.trouble = ""
        self.opened_count = 0

    # ── called by the reader ──

    @property
    def ready(self) -> bool:
        """Whether a lane is logged in."""
        return any(one.up and not one.leaving for one in self._connections)

    @property
    def open(self) -> bool:
        """Whether any connection exists."""
        return bool(self._connections)

    @property
    def idle(self) -> int:
        return sum(1 for lane in self._lanes() if lane.idle)

    @property
    def busy(self) -> int:
        return sum(1 for lane in self._lanes() if lane.in_flight)

    def capacity(self, now: float) -> tuple[int, int]:
        """The idle lanes, and the quick calls that may be sent behind others: none while a lane is
        idle or may be opened."""
        idle = self.idle
        if idle or self._may_open(now):
            return idle, 0
        return 0, sum(lane.room(now) for lane in self._lanes() if lane.in_flight)

    @property
    def call_ids(self) -> list[int]:
        """The calls whose actions Asterisk works on, abandoned ones included."""
        return [call_id for lane in self._lanes() for call_id in lane.call_ids]

    @property
    def counters(self) -> dict[str, int]:
        """`late_packets` came for calls that had ended, `unknown_packets` for no call."""
        return {
            "lanes_opened": self.opened_count,
            "late_packets": self._late + sum(lane.late for lane in self._lanes()),
            "unknown_packets": self._unknown + sum(lane.unknown for lane in self._lanes()),
        }

    def want(self, waiting: int, spare: bool) -> None:
        """The broker has `waiting` calls more than there are idle lanes.

        spare: it needs one lane over the limit, for a caller without one.
        """
        self._target = min(self._server.lanes + spare, max(self._target, self.busy + waiting))
        self._dial()

    def start(self, call: Call, behind: bool, now: float) -> bool:
        """Give `call` to an idle lane, or send it behind others if
        permitted; False if no lane takes it."""
        found = next((one for one in self._connections if one.lane.idle), None)
        if found is None and behind and not self._may_open(now):
            found = self._emptiest_connection(now)
        if found is None:
            return False
        found.lane.start(call, now)
        found.idle_since = now
        found.send_soon()
        return True

    def _emptiest_connection(self, now: float) -> LaneConnection | None:
        """The one with the fewest actions among those with room for quick ones; None when none has any."""
        found, fewest = None, MAX_PIPELINED
        for one in self._connections:
            if 0 < one.lane.in_flight < fewest and one.lane.room(now):
                found, fewest = one, one.lane.in_flight
        return found

    def allow_dialing(self, allowed: bool, address: Address | None) -> None:
        """Set whether lanes may be opened, and to which address.

        All lanes must connect to the Asterisk of the event session. Lanes elsewhere finish their
        calls and log off.
        """
        if allowed and not self._may_dial:  # Asterisk is reachable now, so earlier failures do not count
            self._backoff = Backoff(self._server.reconnect_min, self._server.reconnect_max)
            self._dial_at = clock.monotonic()
        self._may_dial = allowed
        if address != self._address:
            self._leave_old_address(address)
        self._dial()

    def log_off(self) -> None:
        """End every session. Its calls should have ended."""
        self._may_dial = False
        for one in list(self._connections):
            one.log_off()

    def close(self) -> None:
        """Close all connections at once."""
        self._dial_alarm.cancel()
        for one in self._connections:
            one.close()
        self._connections.clear()

    # ── called by the connections ──

    def opened(self) -> None:
        """A lane is logged in."""
        self.opened_count += 1
        self.trouble = ""
        self._dial()

    def received(self, outcomes: list[Outcome]) -> None:
        """A lane has read data that completed these calls."""
        for call, answer in outcomes:
            self._answers.finish(call, answer)
        self._on_change()

    def retire(self, connection: LaneConnection, now: float) -> None:
        """Log off a lane that cannot be used again, or has been idle for long."""
        lane = connection.lane
        if lane.in_flight or connection.leaving:
            return
        if lane.spent:
            connection.log_off()
        elif len(self._connections) > 1 and lane.idle and now >= connection.idle_since + IDLE_S:
            self._target = max(1, len(self._connections) - 1)
            connection.log_off()

    def lost(self, connection: LaneConnection, error: OSError | ProtocolError) -> None:
        """A connection has ended: report its calls, and plan the next one."""
        now = clock.monotonic()
        reason = describe(error)
        self._connections.remove(connection)
        lane = connection.lane
        if not connection.leaving:
            self._plan_next(connection, reason, now)
        self._late += lane.late
        self._unknown += lane.unknown
        for call, answer in lane.lost():
            self._answers.finish(call, answer, reason)
        self._dial()
        self._on_change()

    # ── connecting ──

    def _lanes(self) -> list[Lane]:
        return [one.lane for one in self._connections]

    def _may_open(self, now: float) -> bool:
        """Whether a lane is being opened, or may be."""
        if not all(one.session.up for one in self._connections):
            return True
        return self._may_dial and len(self._connections) < self._server.lanes and now >= self._dial_at

    def _dial(self) -> None:
        """Open as many lanes as needed, now or when the back-off is over."""
        if not self._may_dial or len(self._connections) >= self._target:
            return
        if clock.monotonic() < self._dial_at:
            self._dial_alarm.set(self._dial_at)
            return
        while len(self._connections) < self._target:
            self._dialled += 1
            tap = Tap(self._trace, f"lane-{self._dialled}")
            self._connections.append(LaneConnection(self, self._endpoint, tap, self._address))

    def _leave_old_address(self, address: Address | None) -> None:
        if self._connections:
            log.warning("%s resolves to another address now; closing lanes to the old one", self._server.host)
        self._address = address
        for one in list(self._connections):
            if one.lane.in_flight:
                one.lane.spent = True
            else:
                one.log_off()

    def _plan_next(self, connection: LaneConnection, reason: str, now: float) -> None:
        self._backoff.settled(now - connection.began)
        self._dial_at = now + self._backoff.next()
        if connection.session.up:
            log.warning("a lane was lost: %s", reason)
            return
        before, self.trouble = self.trouble, f"cannot open an action session: {reason}"
        level = logging.DEBUG if self.trouble == before else logging.WARNING
        log.log(level, "%s; next try in %.1f s", self.trouble, self._dial_at - now)


def describe(error: OSError | ProtocolError) -> str:
    """The error's message, without an errno."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
