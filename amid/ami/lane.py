"""A lane: a session with events off that carries one action at a time.

One at a time is what makes every error honest: no caller waits behind another's slow action while a lane is free, an Error without
ActionID has one possible owner, and what has not been sent is known not to have been sent. A lane is free again only when Asterisk
has shown that it is done with the action before, by its whole answer or by answering a Ping sent behind it.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from amid.ami import catalogue
from amid.ami.action import encode_action
from amid.ami.burst import singly
from amid.ami.exchange import Answer, Exchange, TooLarge
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Oversized
from amid.ami.session import Session

ABANDONED_S = 60.0
"""Seconds that a lane is kept for an action whose caller has gone, while its answer still trickles in."""

REMEMBERED = 64
"""Finished ActionIDs kept, to tell a late packet from an unknown one."""


class Call(Struct, frozen=True):
    """An action to carry out: `call_id` is the asker's key for it, `deadline` is on the monotonic clock, in seconds."""

    call_id: int
    action: str
    action_id: str
    packet: bytes
    deadline: float
    max_bytes: int

    @staticmethod
    def own(action: str, action_id: str, deadline: float, max_bytes: int) -> Call:
        """An action that amid itself wants answered: its `call_id` is 0."""
        return Call(0, action, action_id, encode_action(action, action_id, {}), deadline, max_bytes)


Outcome = tuple[Call, Answer | TooLarge]


class Lane:
    """Carries calls over `session`. `late` and `unknown` count the packets that belonged to nobody who waits."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.late = 0
        self.unknown = 0
        self.spent = False
        self._call: Call | None = None
        self._exchange: Exchange | None = None
        self._finished: deque[str] = deque(maxlen=REMEMBERED)

    @property
    def free(self) -> bool:
        return self.session.up and self._call is None and not self.session.pinging() and not self.closing

    @property
    def busy(self) -> bool:
        return self._call is not None

    @property
    def call_id(self) -> int:
        """The call whose action is under way; 0 when there is none."""
        return self._call.call_id if self._call is not None else 0

    @property
    def _abandoned(self) -> bool:
        """An action is still under way, and nobody waits for its answer."""
        return self._call is not None and self._exchange is None

    @property
    def closing(self) -> bool:
        return self.spent or self.session.ended

    def start(self, call: Call, now: float) -> None:
        """Send `call`; the lane must be free."""
        assert self.free, "a lane carries one action at a time"
        self._call = call
        self._exchange = Exchange(call.action, call.action_id, call.max_bytes)
        self.session.send(call.packet)
        self._probe_if_wanted(now)

    def receive(self, data: bytes, now: float) -> list[Outcome]:
        """Take bytes; return what they completed. Raises `ProtocolError` when the session has failed."""
        was_pinging = self.session.pinging()
        outcomes: list[Outcome] = []
        for item in singly(self.session.receive(data, now)):
            outcome = self._take(item, now)
            if outcome is not None:
                outcomes.append(outcome)
        if was_pinging and not self.session.pinging():
            outcomes += self._probed()
        return outcomes

    def check(self, now: float) -> None:
        """Judge time: give up a call whose deadline has passed, and raise `ProtocolError` when the session is dead."""
        self.session.check(now)
        if self._call is None:
            self.session.keep_alive(now)
        elif now >= self._call.deadline + ABANDONED_S:
            raise ProtocolError(f"{self._call.action} was not over {ABANDONED_S:g} s after its deadline")
        elif now >= self._call.deadline and not self._abandoned:
            self._abandon(self._call, now)

    def next_deadline(self) -> float:
        if self._call is None:
            return self.session.next_deadline()
        until = self._call.deadline + (ABANDONED_S if self._abandoned else 0.0)
        return min(until, self.session.next_deadline()) if self.session.pinging() else until

    def lost(self) -> tuple[Call, Answer | None] | None:
        """The session has ended: the call that was in flight and, where it is known, its outcome."""
        if self._call is None or self._exchange is None:
            return None
        return self._call, self._exchange.lost()

    def _take(self, item: Packet | Oversized, now: float) -> Outcome | None:
        packet = item.head if isinstance(item, Oversized) else item
        exchange, call = self._exchange, self._call
        if exchange is None or call is None or not exchange.owns(packet):
            self._stray(packet)
            return None
        try:
            if isinstance(item, Oversized):
                raise TooLarge
            answer: Answer | TooLarge | None = exchange.feed(packet)
        except TooLarge as too_large:
            answer = too_large
        if answer is None:
            self._probe_if_wanted(now)
            return None
        return self._finish(call, answer, now)

    def _finish(self, call: Call, answer: Answer | TooLarge, now: float) -> Outcome:
        if isinstance(answer, TooLarge):
            self._abandon(call, now)
        else:
            self._finished.append(call.action_id)
            self._release(call)
        return call, answer

    def _release(self, call: Call) -> None:
        self.spent = self.spent or call.action.lower() in catalogue.CHANGES_SESSION
        self._call = self._exchange = None

    def _abandon(self, call: Call, now: float) -> None:
        """Nobody waits any more: the Ping's answer will show when the lane may be used again."""
        self._finished.append(call.action_id)
        self._exchange = None
        if not self.session.pinging():
            self.session.ping(now)

    def _probe_if_wanted(self, now: float) -> None:
        if self._exchange is not None and self._exchange.wants_probe and not self.session.pinging():
            self._exchange.wants_probe = False
            self.session.ping(now)

    def _probed(self) -> list[Outcome]:
        call, exchange = self._call, self._exchange
        if call is None:
            return []
        if exchange is None:
            self._release(call)
            return []
        answer = exchange.probed()
        if answer is None:
            return []
        self._finished.append(call.action_id)
        self._release(call)
        return [(call, answer)]

    def _stray(self, packet: Packet) -> None:
        if packet.action_id in self._finished:
            self.late += 1
        else:
            self.unknown += 1
