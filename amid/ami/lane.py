"""A lane: a session without events that carries one action at a time, or up to 16 quick ones.

Asterisk serves a session strictly in sequence, so an action waits for all actions before it. A slow
action therefore has a lane to itself. Actions that Asterisk answers from memory
(`catalogue.is_quick`) may be pipelined, which saves a round trip for each. Nothing is sent behind
an action that has been in flight for `PIPELINE_WITHIN_S`: it is not quick today.

Answers are matched to calls by ActionID, never by order. Where ActionIDs are not enough, a Ping is
the proof: its reply shows that Asterisk has sent everything about the actions before it. Nothing is
sent behind a Ping, so its reply covers every action in flight. It settles

* an answer without a marked end (`exchange`);
* an Error without ActionID, which Asterisk sends for a packet that it refuses, and which a variable
  can forge: it is the outcome of the only call without a response. With two such calls the session
  ends, and both are lost. A guess could report an action as failed that Asterisk has carried out;
* an abandoned action, whose deadline has passed or whose answer was too large: its slot is free
  again.
"""

from __future__ import annotations

import math
from collections import deque

from amid.ami import catalogue
from amid.ami.event_batch import EventBatch
from amid.ami.exchange import Answer, Call, Exchange, TooLarge
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Oversized
from amid.ami.session import Session

MAX_PIPELINED = 16
"""Limit of quick actions in flight on one lane."""

PIPELINE_WITHIN_S = 0.010
"""Another action is sent behind the oldest one only within this time after it."""

ABANDONED_S = 60.0
"""Seconds after the last deadline for which the lane waits for the rest of the answers."""

MAX_FINISHED = 64
"""Finished ActionIDs that are remembered, to tell a late packet from an unknown one."""


Outcome = tuple[Call, Answer | TooLarge]


class Lane:
    """Carries calls over `session`.

    `late` and `unknown` count the packets that belong to no call in flight.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.late = 0
        self.unknown = 0
        self.spent = False
        self._exchanges: dict[str, Exchange] = {}
        """By ActionID, in the order of sending."""
        self._due = math.inf
        """No call is overdue before. May be early: it is exact again after `check`."""
        self._shared = False
        """Whether several actions have been in flight since the lane was last empty."""
        self._error: Packet | None = None
        """An Error without ActionID; a Ping is in flight."""
        self._completed: list[Outcome] = []
        self._finished: deque[str] = deque(maxlen=MAX_FINISHED)

    @property
    def idle(self) -> bool:
        """Whether it can take any action now."""
        return not self._exchanges and self._accepting

    @property
    def in_flight(self) -> int:
        """How many actions are in flight."""
        return len(self._exchanges)

    @property
    def call_ids(self) -> list[int]:
        """The calls whose actions are in flight, abandoned ones included."""
        return [exchange.call.call_id for exchange in self._exchanges.values()]

    @property
    def _accepting(self) -> bool:
        session = self.session
        return session.up and not session.ended and not self.spent and not session.pinging()

    @property
    def _is_waiting(self) -> bool:
        """Whether a call has no outcome yet. Asterisk may take longer over it than over the Ping
        behind it, up to its deadline."""
        return any(not one.abandoned and self._outcome_on_loss(one) is None for one in self._exchanges.values())

    @property
    def _give_up(self) -> float:
        """When answers that only grow are too late."""
        return max((one.call.deadline for one in self._exchanges.values()), default=math.inf) + ABANDONED_S

    def room(self, now: float) -> int:
        """How many quick calls may be sent now.

        None while an action is abandoned, because a Ping is in flight.
        """
        if not self._accepting:
            return 0
        oldest = next(iter(self._exchanges.values()), None)
        if oldest is not None and (not oldest.call.quick or now >= oldest.started + PIPELINE_WITHIN_S):
            return 0
        return MAX_PIPELINED - len(self._exchanges)

    def start(self, call: Call, now: float) -> None:
        """Send `call`. Either the lane is idle, or the call is quick and there is `room` for it."""
        assert self.idle or (call.quick and self.room(now) > 0), "only a quick action may be sent behind another"
        self._shared = bool(self._exchanges)
        self._due = min(self._due, call.deadline) if self._exchanges else call.deadline
        exchange = self._exchanges[call.action_id] = Exchange(call, now)
        self.session.send(call.packet)
        if exchange.ends_with_probe:
            self._probe(now)

    def feed(self, data: bytes, now: float) -> list[Outcome]:
        """Take bytes and return what they completed.

        Raises `ProtocolError` if the session has failed; `lost` then returns the outcomes.
        """
        was_pinging = self.session.pinging()
        for received in self.session.receive(data, now):
            for item in received.packets() if isinstance(received, EventBatch) else (received,):
                self._feed_item(item, now)
        if was_pinging and not self.session.pinging():
            self._on_probe_reply()
        if any(one.ends_with_probe for one in self._exchanges.values()):
            self._probe(now)
        completed, self._completed = self._completed, []
        return completed

    def check(self, now: float) -> None:
        """Abandon calls whose deadline has passed.

        Raises `ProtocolError` if the session has failed.
        """
        if now >= self._due:
            self._abandon_overdue(now)
        if not self._is_waiting:
            self.session.check(now)
            if now >= self._give_up:
                actions = ", ".join(one.call.action for one in self._exchanges.values())
                raise ProtocolError(f"no complete answer within {ABANDONED_S:g} s of the deadline: {actions}")
        if not self._exchanges:
            self.session.keep_alive(now)

    def next_deadline(self) -> float:
        """When `check` is due, in monotonic seconds, or a little earlier."""
        if not self._exchanges:
            return self.session.next_deadline()
        if not self.session.pinging() or self._is_waiting:
            return self._due
        return min(self._due, self.session.next_deadline(), self._give_up)

    def lost(self) -> list[tuple[Call, Answer | TooLarge | None]]:
        """The calls without an outcome when the session ended, each with its outcome if that is
        known.

        Calls that the failed `feed` completed come first.
        """
        open_ = [exchange for exchange in self._exchanges.values() if not exchange.abandoned]
        return [*self._completed, *((one.call, self._outcome_on_loss(one)) for one in open_)]

    def _outcome_on_loss(self, exchange: Exchange) -> Answer | None:
        """The outcome if the session ends now. An Error without ActionID is one only on a lane with
        one action."""
        if exchange.answered:
            return exchange.on_loss()
        return None if self._error is None or self._shared else Answer.of_error(self._error)

    def _abandon_overdue(self, now: float) -> None:
        for exchange in self._exchanges.values():
            if now >= exchange.call.deadline and not exchange.abandoned:
                self._abandon(exchange, now)
        self._due = min((one.call.deadline for one in self._exchanges.values() if not one.abandoned), default=math.inf)

    def _feed_item(self, item: Packet | Oversized, now: float) -> None:
        packet = item.head if isinstance(item, Oversized) else item
        exchange = self._exchange_of(packet)
        if exchange is None:
            self._feed_unattributed(packet, now)
            return
        exchange.answered = exchange.answered or bool(packet.response)
        if exchange.abandoned or exchange.has_early_response:
            self._count(packet)
            return
        outcome = TooLarge() if isinstance(item, Oversized) else exchange.feed(packet)
        if isinstance(outcome, Answer):
            self._finish(exchange, outcome)
        elif outcome is not None:
            self._completed.append((exchange.call, outcome))
            self._abandon(exchange, now)

    def _exchange_of(self, packet: Packet) -> Exchange | None:
        """The exchange that `packet` answers.

        Without an ActionID, only a call that has the lane to itself can match.
        """
        action_id = packet.action_id
        if action_id:
            return self._exchanges.get(action_id)
        if self._shared:
            return None
        alone = next(iter(self._exchanges.values()), None)
        return alone if alone is not None and not alone.abandoned and alone.matches(packet) else None

    def _feed_unattributed(self, packet: Packet, now: float) -> None:
        """Handle a packet of no exchange: an Error without ActionID waits for
        the Ping if it may be an outcome; others are counted."""
        if packet.action_id or packet.response.lower() != "error" or not self._unanswered():
            self._count(packet)
            return
        if self._error is not None:
            self._count(self._error)
        self._error = packet
        self._probe(now)

    def _finish(self, exchange: Exchange, answer: Answer) -> None:
        self._completed.append((exchange.call, answer))
        self._finished.append(exchange.call.action_id)
        self._release(exchange)

    def _release(self, exchange: Exchange) -> None:
        self.spent = self.spent or exchange.name in catalogue.CHANGES_SESSION
        del self._exchanges[exchange.call.action_id]
        self._shared = self._shared and bool(self._exchanges)

    def _abandon(self, exchange: Exchange, now: float) -> None:
        """The call has its outcome; the reply to a Ping will show when
        Asterisk is done with the action."""
        self._finished.append(exchange.call.action_id)
        exchange.abandon()
        self._probe(now)

    def _probe(self, now: float) -> None:
        """Ensure that a Ping is in flight behind all actions.

        Nothing is sent behind a Ping, so one is enough.
        """
        if not self.session.pinging():
            self.session.ping(now)

    def _on_probe_reply(self) -> None:
        """Asterisk is done with every action in flight: no more packets of them will come."""
        error, self._error = self._error, None
        unanswered = self._unanswered()
        for exchange in list(self._exchanges.values()):
            if exchange.abandoned:
                self._release(exchange)
            elif error is not None and unanswered == [exchange]:
                self._finish(exchange, Answer.of_error(error))
                error = None
            elif answer := exchange.on_probe_reply():
                self._finish(exchange, answer)
        if error is not None and len(unanswered) > 1:
            raise ProtocolError(f"an Error without ActionID belongs to one of {len(unanswered)} actions; it is unknown to which")
        if error is not None:
            self._count(error)

    def _unanswered(self) -> list[Exchange]:
        return [exchange for exchange in self._exchanges.values() if not exchange.answered]

    def _count(self, packet: Packet) -> None:
        if packet.action_id in self._finished:
            self.late += 1
        else:
            self.unknown += 1
