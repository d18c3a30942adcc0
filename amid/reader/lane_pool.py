"""The lanes of one server: as many action sessions as the calls need, up to the limit, one always open.

They are dialled only while the event session is up, so a PBX that is away is tried by one connection and not by five. A lane that
was opened for a rush and has been idle for a while logs off.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from amid.ami.lane import Call, Lane, Outcome
from amid.ami.packet import ProtocolError
from amid.ami.session import Login, Patience, Session
from amid.ami.trace import Trace
from amid.config import Server
from amid.reader.connection import Address
from amid.reader.link import Link
from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.reader")

IDLE_S = 60.0
"""Seconds without an action after which a lane beyond the first logs off."""

LOGOFF_S = 1.0
"""Seconds that Asterisk has to answer a Logoff before the connection is closed."""

LaneLost = Callable[[Lane, str], None]


@dataclass(slots=True, eq=False)
class Track:
    """One connection and the lane on it, which is there from the moment the connection is open."""

    link: Link
    idle_since: float
    lane: Lane | None = None
    leaving_at: float | None = None


class Lanes:
    """Owns the connections. `step` returns what was completed; a lane that fails goes to `on_lost` with the reason."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None, patience: Patience, trace: Trace) -> None:
        self._server = server
        self._tls = tls
        self._login = Login(server.username, server.secret or "", server.auth, events="off")
        self._patience = patience
        self._trace = trace
        self._dialled = 0
        self._backoff = Backoff(server.reconnect_min, server.reconnect_max)
        self._tracks: list[Track] = []
        self._target = 1
        self._dial_at = 0.0
        self._could_dial = False
        self._address: Address | None = None
        self.trouble = ""
        self.opened = 0
        self._late = 0
        self._unknown = 0

    # ── what the reader asks ──

    @property
    def ready(self) -> bool:
        return any(track.link.up and track.leaving_at is None for track in self._tracks)

    @property
    def free(self) -> int:
        return sum(1 for track in self._tracks if track.lane is not None and track.lane.idle)

    @property
    def busy(self) -> int:
        return sum(1 for track in self._tracks if track.lane is not None and track.lane.busy)

    @property
    def counters(self) -> dict[str, int]:
        """Packets that came when nobody waited for them any more, and those that nobody ever asked for."""
        lanes = [track.lane for track in self._tracks if track.lane is not None]
        return {
            "lanes_opened": self.opened,
            "late_packets": self._late + sum(lane.late for lane in lanes),
            "unknown_packets": self._unknown + sum(lane.unknown for lane in lanes),
        }

    @property
    def calls(self) -> list[int]:
        """The calls whose actions Asterisk works on, those that nobody waits for any more included."""
        return [call_id for track in self._tracks if track.lane is not None for call_id in track.lane.call_ids]

    def want(self, waiting: int, spare: bool) -> None:
        """The broker has `waiting` calls more than there are free lanes. spare: it needs one lane over the limit, for a caller
        without one."""
        self._target = min(self._server.lanes + spare, max(self._target, self.busy + waiting))

    def start(self, call: Call, now: float) -> bool:
        """Give `call` to a free lane; False when there is none."""
        for track in self._tracks:
            if track.lane is not None and track.lane.idle:
                track.lane.start(call, now)
                track.idle_since = now
                return True
        return False

    def poll_items(self) -> Iterator[tuple[int, int]]:
        return (track.link.poll_item() for track in self._tracks)

    def pending(self) -> bool:
        return any(track.link.pending() for track in self._tracks)

    def next_deadline(self, may_dial: bool) -> float | None:
        times = [track.lane.next_deadline() if track.lane else track.link.next_deadline() for track in self._tracks]
        times += [track.leaving_at for track in self._tracks if track.leaving_at is not None]
        if may_dial and len(self._tracks) < self._target:
            times.append(self._dial_at)
        return min(times, default=None)

    def connect_to(self, address: Address | None, now: float) -> None:
        """All lanes must be with the Asterisk that the event session is with: those that are elsewhere end their call and leave."""
        if address == self._address:
            return
        if self._tracks:
            log.warning("%s leads to another address now; lanes to the old one are closed", self._server.host)
        self._address = address
        for track in self._tracks:
            if track.lane is not None and track.lane.busy:
                track.lane.spent = True
            elif track.leaving_at is None:
                self._leave(track, now)

    # ── the loop ──

    def step(self, ready: dict[int, int], may_dial: bool, now: float, on_lost: LaneLost) -> list[Outcome]:
        """One pass over every lane; returns what was completed."""
        outcomes: list[Outcome] = []
        for track in list(self._tracks):
            try:
                outcomes += self._step_one(track, ready.get(track.link.poll_item()[0], 0), now)
            except (OSError, ProtocolError) as error:
                self._drop(track, _reason(error), now, on_lost)
        if may_dial and not self._could_dial:  # Asterisk is there now: that lanes failed before says nothing any more
            self._backoff = Backoff(self._server.reconnect_min, self._server.reconnect_max)
            self._dial_at = now
        self._could_dial = may_dial
        if may_dial and len(self._tracks) < self._target and now >= self._dial_at:
            self._dial(now)
        return outcomes

    def flush(self, now: float, on_lost: LaneLost) -> None:
        """Send what the lanes have to say."""
        for track in list(self._tracks):
            try:
                track.link.flush()
            except OSError as error:
                self._drop(track, _reason(error), now, on_lost)

    def log_off(self, now: float) -> None:
        """Say goodbye on every lane."""
        for track in self._tracks:
            self._leave(track, now)

    @property
    def open(self) -> bool:
        return any(track.link.up for track in self._tracks)

    def close(self) -> None:
        for track in self._tracks:
            track.link.close()
        self._tracks.clear()

    def _dial(self, now: float) -> None:
        try:
            self._tracks.append(Track(Link(self._server, self._tls, self._make_session, now, self._address), now))
        except OSError as error:  # no descriptor is left for it
            self._failed(_reason(error), now)

    def _make_session(self, now: float) -> Session:
        self._dialled += 1
        tap = self._trace.session(f"lane-{self._dialled}")
        return Session(self._login, self._patience, now, self._server.max_reply_bytes, tap)

    def _step_one(self, track: Track, ready: int, now: float) -> list[Outcome]:
        data = track.link.step(ready, now)
        if track.lane is None and track.link.session is not None:
            track.lane = Lane(track.link.session)
        if track.lane is None:
            return []
        was_up = track.link.up
        outcomes = track.lane.feed(data, now) if data is not None else []
        if track.link.up and not was_up:
            self._opened(track, now)
        track.lane.check(now)
        self._retire(track, now)
        return outcomes

    def _opened(self, track: Track, now: float) -> None:
        self.opened += 1
        self.trouble = ""
        track.idle_since = now

    def _retire(self, track: Track, now: float) -> None:
        lane = track.lane
        if track.leaving_at is not None and now >= track.leaving_at:
            raise ProtocolError("logged off")
        if lane is None or lane.busy:
            return
        if lane.spent and track.leaving_at is None:
            self._leave(track, now)
        elif len(self._tracks) > 1 and lane.idle and now >= track.idle_since + IDLE_S:
            self._target = max(1, len(self._tracks) - 1)
            self._leave(track, now)

    def _leave(self, track: Track, now: float) -> None:
        track.leaving_at = now + LOGOFF_S
        if track.lane is not None and track.link.up:
            track.lane.session.log_off()

    def _drop(self, track: Track, reason: str, now: float, on_lost: LaneLost) -> None:
        self._tracks.remove(track)
        track.link.close()
        if track.lane is not None:
            self._late += track.lane.late
            self._unknown += track.lane.unknown
            on_lost(track.lane, reason)
        if track.leaving_at is not None:
            return
        self._backoff.settled(now - track.link.began)
        if track.link.up:
            log.warning("a lane was lost: %s", reason)
            self._dial_at = now + self._backoff.next()
        else:
            self._failed(reason, now)

    def _failed(self, reason: str, now: float) -> None:
        before, self.trouble = self.trouble, f"an action session could not be opened: {reason}"
        self._dial_at = now + self._backoff.next()
        level = logging.DEBUG if self.trouble == before else logging.WARNING
        log.log(level, "%s; next try in %.1f s", self.trouble, self._dial_at - now)


def _reason(error: OSError | ProtocolError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
