"""A lane: a session without events that carries one action at a time, or up to 16 quick ones.

Asterisk serves a session strictly in sequence, so an action waits for all actions before it. A slow
action therefore has a lane to itself. Actions that Asterisk answers from memory
(`catalogue.is_quick`) may be pipelined, which saves a round trip for each. Nothing is sent behind
an action that has been in flight for `PIPELINE_WITHIN_S`: it is not quick today.

Answers are matched to calls by ActionID, never by order. Where ActionIDs are not enough, a Ping is
the proof: its reply shows that Asterisk has sent everything about the actions before it. Nothing is
sent behind a Ping, so its reply covers every action in flight. It settles

* an answer without a marked end, and an Error without ActionID on a lane with one action
  (`exchange`);
* an Error without ActionID on a lane with several actions: it is the outcome of the only call
  without a response. With two such calls the session ends, and both are lost. A guess could report
  an action as failed that Asterisk has carried out;
* an abandoned action, whose deadline has passed or whose answer was too large: its slot is free
  again.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Protocol

from msgspec import Struct

from amid.ami import catalogue
from amid.ami.event_batch import flatten
from amid.ami.exchange import Answer, Exchange, TooLarge
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Oversized
from amid.ami.session import Session

MAX_PIPELINED = 16
"""Limit of quick actions in flight on one lane."""

PIPELINE_WITHIN_S = 0.010
"""Another action is sent behind the oldest one only within this time after it."""

ABANDONED_S = 60.0
"""Seconds after the deadline for which the lane waits for the rest of an answer."""

MAX_FINISHED = 64
"""Finished ActionIDs that are remembered, to tell a late packet from an unknown one."""


class Call(Protocol):
    """An action to carry out.

    call_id: the owner's key. deadline: monotonic seconds. max_bytes: limit of the answer. quick:
    other quick actions may share the lane (`catalogue.is_quick`).
    """

    call_id: int
    action: str
    action_id: str
    packet: bytes
    deadline: float
    max_bytes: int
    quick: bool


Outcome = tuple[Call, Answer | TooLarge]


class Flight(Struct):
    """A call whose action was sent.

    exchange: None once the call is abandoned. answered: a response with its ActionID came.
    """

    call: Call
    started: float
    exchange: Exchange | None
    answered: bool = False


class Lane:
    """Carries calls over `session`.

    `late` and `unknown` count the packets that belong to no call in flight.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.late = 0
        self.unknown = 0
        self.spent = False
        self._flights: dict[str, Flight] = {}
        """By ActionID, in the order of sending."""
        self._due = math.inf
        """No flight is due before. May be early: it is exact again after `check`."""
        self._shared = False
        """Whether several actions have been in flight since the lane was last empty."""
        self._error: Packet | None = None
        """An Error without ActionID that came while the lane was shared; a Ping is in flight."""
        self._completed: list[Outcome] = []
        self._finished: deque[str] = deque(maxlen=MAX_FINISHED)

    @property
    def idle(self) -> bool:
        """Whether it can take any action now."""
        return not self._flights and self._accepting

    @property
    def in_flight(self) -> int:
        """How many actions are in flight."""
        return len(self._flights)

    @property
    def call_ids(self) -> list[int]:
        """The calls whose actions are in flight, abandoned ones included."""
        return [flight.call.call_id for flight in self._flights.values()]

    @property
    def _accepting(self) -> bool:
        session = self.session
        return session.up and not session.ended and not self.spent and not session.pinging()

    def room(self, now: float) -> int:
        """How many quick calls may be sent now.

        None while an action is abandoned, because a Ping is in flight.
        """
        if not self._accepting:
            return 0
        oldest = next(iter(self._flights.values()), None)
        if oldest is not None and (not oldest.call.quick or now >= oldest.started + PIPELINE_WITHIN_S):
            return 0
        return MAX_PIPELINED - len(self._flights)

    def start(self, call: Call, now: float) -> None:
        """Send `call`. Either the lane is idle, or the call is quick and there is `room` for it."""
        assert self.idle or (call.quick and self.room(now) > 0), "only a quick action may be sent behind another"
        self._shared = bool(self._flights)
        self._due = min(self._due, call.deadline) if self._flights else call.deadline
        exchange = Exchange(call.action, call.action_id, call.max_bytes)
        self._flights[call.action_id] = Flight(call, now, exchange)
        self.session.send(call.packet)
        self._probe_if_wanted(exchange, now)

    def feed(self, data: bytes, now: float) -> list[Outcome]:
        """Take bytes and return what they completed.

        Raises `ProtocolError` if the session has failed; `lost` then returns the outcomes.
        """
        was_pinging = self.session.pinging()
        for item in flatten(self.session.receive(data, now)):
            self._feed_item(item, now)
        if was_pinging and not self.session.pinging():
            self._on_probe_reply()
        completed, self._completed = self._completed, []
        return completed

    def check(self, now: float) -> None:
        """Abandon calls whose deadline has passed.

        Raises `ProtocolError` if the session has failed.
        """
        if now >= self._due:
            self._check_flights(now)
        self.session.check(now)
        if not self._flights:
            self.session.keep_alive(now)

    def _check_flights(self, now: float) -> None:
        for flight in self._flights.values():
            call = flight.call
            if now >= call.deadline + ABANDONED_S:
                raise ProtocolError(f"{call.action} was not answered within {ABANDONED_S:g} s of its deadline")
            if now >= call.deadline and flight.exchange is not None:
                self._abandon(flight, now)
        flights = self._flights.values()
        self._due = min((one.call.deadline + (0.0 if one.exchange else ABANDONED_S) for one in flights), default=math.inf)

    def next_deadline(self) -> float:
        """When `check` is due, in monotonic seconds, or a little earlier."""
        if not self._flights:
            return self.session.next_deadline()
        return min(self._due, self.session.next_deadline()) if self.session.pinging() else self._due

    def lost(self) -> list[tuple[Call, Answer | TooLarge | None]]:
        """The calls without an outcome when the session ended, each with its outcome if that is
        known.

        Calls that the failed `feed` completed come first. An Error without ActionID is an outcome
        only on a lane with one action.
        """
        under_way = [(flight.call, flight.exchange.lost()) for flight in self._flights.values() if flight.exchange is not None]
        return [*self._completed, *under_way]

    def _feed_item(self, item: Packet | Oversized, now: float) -> None:
        packet = item.head if isinstance(item, Oversized) else item
        flight = self._flight_of(packet)
        if flight is None:
            self._feed_unattributed(packet, now)
            return
        flight.answered = flight.answered or bool(packet.action_id and packet.response)
        if flight.exchange is None:
            self._count(packet)
            return
        try:
            if isinstance(item, Oversized):
                raise TooLarge
            answer = flight.exchange.feed(packet)
        except TooLarge as too_large:
            self._completed.append((flight.call, too_large))
            self._abandon(flight, now)
            return
        if answer is not None:
            self._finish(flight, answer)
        else:
            self._probe_if_wanted(flight.exchange, now)

    def _flight_of(self, packet: Packet) -> Flight | None:
        """The flight that `packet` answers.

        Without an ActionID, only a call that has the lane to itself can match.
        """
        action_id = packet.action_id
        if action_id:
            return self._flights.get(action_id)
        if self._shared:
            return None
        alone = next(iter(self._flights.values()), None)
        return alone if alone is not None and alone.exchange is not None and alone.exchange.matches(packet) else None

    def _feed_unattributed(self, packet: Packet, now: float) -> None:
        """Handle a packet of no flight: on a shared lane an Error without ActionID
        waits for the Ping; others are counted."""
        if not self._shared or packet.action_id or packet.response.lower() != "error":
            self._count(packet)
            return
        if self._error is not None:
            self._count(self._error)
        self._error = packet
        self._probe(now)

    def _finish(self, flight: Flight, answer: Answer) -> None:
        self._completed.append((flight.call, answer))
        self._finished.append(flight.call.action_id)
        self._release(flight)

    def _release(self, flight: Flight) -> None:
        self.spent = self.spent or flight.call.action.lower() in catalogue.CHANGES_SESSION
        del self._flights[flight.call.action_id]
        self._shared = self._shared and bool(self._flights)

    def _abandon(self, flight: Flight, now: float) -> None:
        """The call has its outcome; the reply to a Ping will show when
        Asterisk is done with the action."""
        self._finished.append(flight.call.action_id)
        flight.exchange = None
        self._probe(now)

    def _probe_if_wanted(self, exchange: Exchange, now: float) -> None:
        if exchange.wants_probe:
            exchange.wants_probe = False
            self._probe(now)

    def _probe(self, now: float) -> None:
        """Ensure that a Ping is in flight behind all actions.

        Nothing is sent behind a Ping, so one is enough.
        """
        if not self.session.pinging():
            self.session.ping(now)

    def _on_probe_reply(self) -> None:
        """Asterisk is done with every action in flight: no more packets of them will come."""
        unanswered = [flight for flight in self._flights.values() if not flight.answered]
        for flight in list(self._flights.values()):
            if flight.exchange is None:
                self._release(flight)
            elif answer := flight.exchange.on_probe_reply():
                self._finish(flight, answer)
        error, self._error = self._error, None
        if error is not None:
            self._attribute(error, unanswered)

    def _attribute(self, error: Packet, unanswered: list[Flight]) -> None:
        """Give an Error without ActionID to the only call that it can
        belong to, unless that call is abandoned."""
        if len(unanswered) > 1:
            raise ProtocolError(f"an Error without ActionID belongs to one of {len(unanswered)} actions; it is unknown to which")
        if unanswered and unanswered[0].exchange is not None:
            self._finish(unanswered[0], Answer.of_error(error))
        else:
            self._count(error)

    def _count(self, packet: Packet) -> None:
        if packet.action_id in self._finished:
            self.late += 1
        else:
            self.unknown += 1
