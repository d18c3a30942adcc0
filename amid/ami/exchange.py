"""One action in flight, and which of the packets that come are its answer.

A packet belongs to the action whose ActionID it carries; order alone proves nothing, because a caller's variable can hold text
that reads like a packet. Four kinds of answer do not say all that is needed, and one proof serves them all: the lane sends a Ping
behind the action (`wants_probe`), and since Asterisk serves a session strictly in sequence, the Ping's answer (`probed`) shows
that everything before it has come:

* an action of `catalogue` whose answer has no mark at its end;
* an Error without ActionID, which Asterisk sends for a packet that it refuses, and which could also be a forgery: it is the
  outcome only if the Ping is answered and nothing better came;
* an action that the caller no longer waits for (`abandoned`): the lane may be used again when the Ping is answered.
"""

from __future__ import annotations

from msgspec import Struct, field

from amid.ami import catalogue
from amid.ami.packet import Packet, Text


class Answer(Struct, frozen=True):
    """A whole answer.

    response: Asterisk's response; None for the few old actions that have none.
    events, complete: the items of a list and the event that closed it.
    output: the lines of a Command, or of an answer that is raw text.
    failed: Asterisk said Error, or gave its list up.
    """

    response: Packet | None
    events: list[Packet] = field(default_factory=list)
    complete: Packet | None = None
    output: list[Text] = field(default_factory=list)
    failed: bool = False


class TooLarge(Exception):
    """The answer went over its bound, in bytes; the call has failed and the rest of its packets are strays."""


class Exchange:
    """`feed` it each packet of its session; it returns the `Answer` when that is whole, else None."""

    def __init__(self, action: str, action_id: str, max_bytes: int) -> None:
        self._name = action.lower()
        self.action_id = action_id
        self._max_bytes = max_bytes
        self._bytes = 0
        self._response: Packet | None = None
        self._events: list[Packet] = []
        self._output: list[Text] = []
        self._suspect: Packet | None = None
        self.wants_probe = self._name in catalogue.MAYBE_NO_RESPONSE

    def owns(self, packet: Packet) -> bool:
        """Whether `packet` is part of this answer, or may be."""
        action_id = packet.action_id
        if action_id:
            return action_id == self.action_id
        if packet.event:
            return self._name in catalogue.ITEMS_WITHOUT_ACTION_ID and self._response is not None
        if packet.response:
            return packet.response.lower() == "error" and self._response is None
        return self._name in catalogue.MAYBE_NO_RESPONSE

    def feed(self, packet: Packet) -> Answer | None:
        """Take a packet that this exchange `owns`. Raises `TooLarge`."""
        self._bytes += len(packet.raw)
        if self._bytes > self._max_bytes:
            raise TooLarge
        if packet.event:
            return self._feed_event(packet)
        if packet.response:
            return self._feed_response(packet)
        self._output += packet.lines
        return None

    def probed(self) -> Answer | None:
        """The Ping sent behind the action was answered: what has come is all. None when nothing has."""
        if self._suspect is not None and self._response is None:
            return Answer(self._suspect, output=self._suspect.output, failed=True)
        if self._response is None and self._name not in catalogue.MAYBE_NO_RESPONSE:
            return None
        return self._answer()

    def lost(self) -> Answer | None:
        """The session has ended: an Error without ActionID that came just before is the outcome; else it is not known."""
        return self.probed() if self._suspect is not None and self._response is None else None

    def _feed_event(self, packet: Packet) -> Answer | None:
        mark = packet.get("EventList").lower()
        if mark == "complete":
            return self._answer(complete=packet)
        if mark == "cancelled":
            return self._answer(complete=packet, failed=True)
        if packet.event == self._closing_event():
            return self._answer(complete=packet)
        self._events.append(packet)
        return self._answer() if packet.event == catalogue.SINGLE_EVENT.get(self._name) else None

    def _closing_event(self) -> str | None:
        return "WaitEventComplete" if self._name == catalogue.WAIT_EVENT else catalogue.UNMARKED_LISTS.get(self._name)

    def _feed_response(self, packet: Packet) -> Answer | None:
        if not packet.action_id:
            self._suspect = packet
            self.wants_probe = True
            return None
        if packet.response.lower() == "error":
            self._response = packet
            return self._answer(failed=True)
        if self._response is None:
            self._response = packet
        return None if self._more_to_come(packet) else self._answer()

    def _more_to_come(self, packet: Packet) -> bool:
        if packet.get("EventList").lower() == "start" or self._name == catalogue.WAIT_EVENT:
            return True
        unmarked = self._name in catalogue.UNMARKED_LISTS or self._name in catalogue.SINGLE_EVENT
        if unmarked or self._name in catalogue.SEVERAL_RESPONSES:
            self.wants_probe = True
            return True
        return False

    def _answer(self, *, complete: Packet | None = None, failed: bool = False) -> Answer:
        output = self._response.output if self._response else []
        return Answer(self._response, self._events, complete, self._output or output, failed)
