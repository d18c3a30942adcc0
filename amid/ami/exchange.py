"""One action in flight: which packets are its answer, and when the answer is complete.

A packet belongs to the action whose ActionID it carries. Order alone proves nothing, because a
channel variable can hold text that reads like a packet. The answer of an action that `catalogue`
lists as unmarked has no marked end. The lane sends a Ping behind such an action (`ends_with_probe`).
Asterisk serves a session strictly in sequence, so the reply to the Ping (`on_probe_reply`) shows
that all of the answer has arrived.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct, field

from amid.ami import catalogue
from amid.ami.packet import Packet, Text


class Answer(Struct):
    """An answer, which an `Exchange` collects.

    response: Asterisk's response; None for the few old actions without one. events, complete: the
    items of a list, and the event that closed it. output: the lines of a Command, or of an answer
    in raw text. failed: Asterisk answered Error or cancelled the list. packets: all packets, in
    order of arrival. size: of all packets, in bytes.
    """

    response: Packet | None = None
    events: list[Packet] = field(default_factory=list)
    complete: Packet | None = None
    output: list[Text] = field(default_factory=list)
    failed: bool = False
    packets: list[Packet] = field(default_factory=list)
    size: int = 0

    @staticmethod
    def of_error(packet: Packet) -> Answer:
        """An Error without ActionID as an answer."""
        return Answer(packet, output=packet.output, failed=True, packets=[packet])


class TooLarge:
    """The outcome of a call whose answer is larger than its limit in bytes. Later packets of it are
    strays."""


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


class Exchange(Struct, eq=False):
    """One action that was sent, and its answer so far.

    `feed` takes each packet of the answer and returns the outcome once there is one, else None.
    answered: a response with its ActionID came. abandoned: the call has its outcome, and later
    packets are strays. ends_with_probe: the reply to a Ping must complete it.
    """

    call: Call
    started: float
    name: str = ""
    answered: bool = False
    abandoned: bool = False
    ends_with_probe: bool = False
    answer: Answer = field(default_factory=Answer)

    def __post_init__(self) -> None:
        self.name = self.call.action.lower()
        self.ends_with_probe = self.name in catalogue.MAYBE_NO_RESPONSE

    def matches(self, packet: Packet) -> bool:
        """Whether `packet`, which has no ActionID, belongs to this answer
        if this action is the only one in flight."""
        if packet.event:
            return self.name in catalogue.ITEMS_WITHOUT_ACTION_ID and self.answer.response is not None
        return not packet.response and self.name in catalogue.MAYBE_NO_RESPONSE

    def feed(self, packet: Packet) -> Answer | TooLarge | None:
        """Take a packet of this answer."""
        self.answer.size += len(packet.raw)
        if self.answer.size > self.call.max_bytes:
            return TooLarge()
        self.answer.packets.append(packet)
        if packet.response:
            return self._feed_response(packet)
        if packet.event:
            return self._feed_event(packet)
        self.answer.output += packet.lines
        return None

    def on_probe_reply(self) -> Answer | None:
        """The answer, after the Ping behind the action was answered.

        None if there is no response, or if a marked list has begun and not ended.
        """
        return self._complete() if self.ends_with_probe else None

    @property
    def has_early_response(self) -> bool:
        """Whether all of the answer has arrived, although the reply to the Ping must complete it."""
        return self.ends_with_probe and self.name in catalogue.EARLY_RESPONSE

    def on_loss(self) -> Answer | None:
        """The answer, when the session has ended after a response. None if more was to come."""
        return self._complete() if self.has_early_response else None

    def abandon(self) -> None:
        """Drop what was collected, which may be large. Asterisk may still work on the action."""
        self.abandoned = True
        self.answer = Answer()

    def _feed_event(self, packet: Packet) -> Answer | None:
        mark = packet.get("EventList").lower()
        if mark == "complete":
            return self._complete(packet)
        if mark == "cancelled":
            return self._complete(packet, failed=True)
        if packet.event == catalogue.UNMARKED_LISTS.get(self.name):
            return self._complete(packet)
        self.answer.events.append(packet)
        return self._complete() if packet.event == catalogue.SINGLE_EVENT.get(self.name) else None

    def _feed_response(self, packet: Packet) -> Answer | None:
        if packet.response.lower() == "error":
            self.answer.response = packet
            return self._complete(failed=True)
        if self.answer.response is None:
            self.answer.response = packet
        return None if self._more_to_come(packet) else self._complete()

    def _more_to_come(self, packet: Packet) -> bool:
        if packet.get("EventList").lower() == "start" or self.name == catalogue.WAIT_EVENT:
            return True
        unmarked = self.name in catalogue.UNMARKED_LISTS or self.name in catalogue.SINGLE_EVENT
        if unmarked or self.name in catalogue.SEVERAL_RESPONSES or self.name in catalogue.EARLY_RESPONSE:
            self.ends_with_probe = True
            return True
        return False

    def _complete(self, event: Packet | None = None, *, failed: bool = False) -> Answer:
        """The answer. event: the one that closed a list."""
        answer = self.answer
        answer.complete, answer.failed = event, failed
        answer.output = answer.output or (answer.response.output if answer.response else [])
        return answer
