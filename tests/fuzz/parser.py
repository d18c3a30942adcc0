"""Fuzzes amid.ami: any bytes of a peer give the same packets in any pieces, and a lane never
reports a wrong outcome.

The first byte of an input chooses the subject (`SUBJECTS`), the rest are the peer's bytes. For a
lane they are a template: words in braces (`WORDS`) stand for a peer that knows amid's ActionIDs, so
that mutations quickly reach deep states. See `campaign` for running it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from amid import wire
from amid.ami import catalogue
from amid.ami.exchange import Answer, Call, TooLarge
from amid.ami.lane import ABANDONED_S, Lane, Outcome
from amid.ami.packet import Packet, ProtocolError, is_old_command
from amid.ami.parser import MAX_GREETING_BYTES, Greeting, Oversized, Parser
from amid.ami.session import Login, Session, SessionTimeouts, new_action_id
from tests.ami.items import Single, one_by_one
from tests.ami.lane_call import lane_call
from tests.fuzz import campaign

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
TIMEOUTS = SessionTimeouts()
MAX_PACKET_BYTES = 1500
ACTIONS = [
    "Ping", "Command", "WaitEvent", "Events", "ModuleLoad", "DataGet", "FAXSession", "QueueStatus", "IAXpeers", "Logoff",
]  # fmt: skip
"""One of each kind that the catalogue knows; a call takes the one that the byte behind `{call` names."""
WORDS = re.compile(rb"\{(own|ping|step|mask|feed|late|over|leave|gone|call.)\}", re.DOTALL)
"""own, ping, step, mask: the ActionID of the call, of the Ping, of the last step of the login or Logoff, of Events. feed: a piece
ends. late: half a minute passes. over: the call's deadline passes. leave: amid logs off. gone: the peer closes. call: a call
begins, where the lane is free."""

TOKENS = [
    b"\r\n", b"\n", b"\r\n\r\n", b"\n\n", b"\r", b": ", b"Event: ", b"Response: Success\r\n", b"Response: Error\r\n",
    b"Response: Follows\r\n", b"Privilege: Command\r\n", b"--END COMMAND--\r\n\r\n", b"--END COMMAND--", b"ActionID: {own}\r\n",
    b"ActionID: {ping}\r\n", b"ActionID: {step}\r\n", b"ActionID: {mask}\r\n", b"EventList: start\r\n",
    b"EventList: Complete\r\n", b"EventList: cancelled\r\n", b"Events: Off\r\n", b"Challenge: 1\r\n", b"Output: x\r\n", b"{feed}",
    b"{late}", b"{over}", b"{leave}", b"{gone}", b"{call0}", b"{call1}", b"{call2}", b"{call4}", b"{call5}", b"{call7}",
    b"Event: WaitEventComplete\r\n", GREETING, b"Event: FAXSession\r\n", b"Event: QueueStatusComplete\r\n",
    b"Message: Requested system shutting down\r\n", b"\xe9", b"\0",
]  # fmt: skip


def one(data: bytes) -> None:
    SUBJECTS[data[0] % len(SUBJECTS) if data else 0](data[1:])


# ── the parser ──


def first_bytes(stream: bytes) -> None:
    """Packets behind a greeting, or one documented error, in whatever pieces."""
    same_in_any_pieces(stream, 1 << 20)


def packets(stream: bytes) -> None:
    same_in_any_pieces(GREETING + stream, 1 << 20)


def short_packets(stream: bytes) -> None:
    same_in_any_pieces(GREETING + stream, 64)


def same_in_any_pieces(stream: bytes, bound: int) -> None:
    whole = outcome(stream, [], bound)
    chance = random.Random(stream)
    cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(8)))
    for places in (cuts, list(range(len(stream)))):
        assert outcome(stream, places, bound) == whole, f"other items when cut at {places[:20]}"


def outcome(stream: bytes, cuts: list[int], bound: int) -> list[object]:
    """What comes out, as things that compare; a `ProtocolError` is the last of them."""
    parser = Parser(bound)
    items: list[object] = []
    try:
        for a, b in pairwise([0, *cuts, len(stream)]):
            for item in one_by_one(parser.feed(stream[a:b])):
                items.append(shown(item, bound))
            assert len(parser._buffer) <= (bound + 3 if items else MAX_GREETING_BYTES), "more is held than the bound allows"
    except ProtocolError as error:
        assert not items, "a greeting was taken and then refused"
        return [type(error)]
    return items


def shown(item: Single, bound: int) -> object:
    if isinstance(item, Greeting):
        return item
    if isinstance(item, Oversized):
        readable(item.head)
        return "oversized", item.head.raw
    assert 0 < len(item.raw) <= bound
    readable(item)
    assert [i.raw for i in one_by_one(Parser().feed(GREETING + item.raw + b"\r\n\r\n"))[1:] if isinstance(i, Packet)] == [item.raw]
    return item.raw


def readable(packet: Packet) -> None:
    """Every header can be read and sent on, and no line is lost."""
    assert all(isinstance(text, str) for text in (packet.event, packet.response, packet.action_id))
    assert not (packet.event and packet.response), "an event and an answer at once"
    assert wire.unpack(wire.pack(packet.headers)) == packet.headers
    wire.unpack_json(wire.pack_json(packet.headers))
    wire.pack([packet.output, packet.lines])
    if not is_old_command(packet.raw):
        values = [v for value in packet.headers.values() for v in (value if isinstance(value, list) else [value])]
        assert len(values) == packet.raw.count(b"\n") + 1


# ── a lane ──


def plain_lane(template: bytes) -> None:
    Conversation(Login("amid", "geheim", "plain", "off")).run(template)


def md5_lane(template: bytes) -> None:
    Conversation(Login("amid", "geheim", "md5", "off")).run(template)


def masked_lane(template: bytes) -> None:
    Conversation(Login("amid", "geheim", "plain", "system,call")).run(template)


def lane_that_is_up(template: bytes) -> None:
    conversation = Conversation(Login("amid", "geheim", "plain", "off"))
    conversation.run(GREETING + b"{feed}Response: Success\r\nActionID: {step}\r\n\r\n{feed}" + template)


class Conversation:
    """A lane, and a peer that says what a template says."""

    def __init__(self, login: Login) -> None:
        self._now = 100.0
        session = Session(login, TIMEOUTS, MAX_PACKET_BYTES)
        session.begin(self._now)
        self._lane = Lane(session)
        self._call: Call | None = None
        self._due = 0.0
        self._ids = dict.fromkeys(["own", "ping", "step", "mask"], "")

    def run(self, template: bytes) -> None:
        piece = b""
        try:
            for position, part in enumerate(WORDS.split(template)):
                piece = piece + part if position % 2 == 0 else self._word(part, piece)
            self._feed(piece)
            self._ends()
        except ProtocolError:  # documented: the owner closes the connection
            self._closed()

    def _word(self, word: bytes, piece: bytes) -> bytes:
        """Carry out `word`; returns what is said in one piece with what follows."""
        name = word.decode("latin-1")
        if name in self._ids:
            return piece + self._ids[name].encode()
        self._feed(piece)
        if name == "late":
            self._pass(30.0)
        elif name == "over" and self._call is not None:
            self._pass(max(0.0, self._call.deadline - self._now))
        elif name == "gone":
            self._lane.feed(b"", self._now)
        elif name == "leave" and self._lane.session.up:
            self._lane.session.log_off()
            self._listen()
        elif name.startswith("call") and self._lane.idle:
            self._start(ACTIONS[word[-1] % len(ACTIONS)])
        return b""

    def _start(self, action: str) -> None:
        action_id = new_action_id()
        self._call = lane_call(1, action, action_id, self._now + 5.0, 1000)
        self._ids["own"], self._due = action_id, self._call.deadline
        self._lane.start(self._call, self._now)
        assert self._lane.in_flight and not self._lane.idle
        self._listen()

    def _pass(self, seconds: float) -> None:
        self._now += seconds
        self._lane.check(self._now)
        assert self._lane.next_deadline() < self._now + 3600
        self._listen()

    def _feed(self, piece: bytes) -> None:
        if piece:
            for outcome in self._lane.feed(piece, self._now):
                self._judge(outcome)
            self._listen()

    def _listen(self) -> None:
        """Read the lane's actions and learn their ActionIDs. A lane without a caller is about to become free."""
        given_up = self._lane.in_flight and (self._call is None or self._now >= self._due)
        assert not given_up or self._lane.session.pinging(), "a lane that nothing will set free"
        for item in one_by_one(Parser().feed(GREETING + self._lane.session.data_to_send()))[1:]:
            assert isinstance(item, Packet) and item.action_id
            action = item.get("Action")
            step = {"Ping": "ping", "Challenge": "step", "Login": "step", "Logoff": "step", "Events": "mask"}.get(action)
            if step is not None and item.action_id != self._ids["own"]:
                self._ids[step] = item.action_id

    def _judge(self, outcome: Outcome) -> None:
        """One answer for a call, without packets of another."""
        call, answer = outcome
        assert call is self._call, "an answer to a call that is not in flight"
        self._call = None
        if isinstance(answer, TooLarge):
            return
        nameless = call.action.lower() in catalogue.ITEMS_WITHOUT_ACTION_ID
        assert all(own(event, call, nameless) for event in answer.events)
        assert answer.complete is None or own(answer.complete, call, nameless)
        self._judge_response(call, answer)
        size = sum(len(p.raw) for p in (answer.response, answer.complete, *answer.events) if p is not None)
        is_nameless_error = answer.response is not None and not answer.response.action_id
        assert size <= (MAX_PACKET_BYTES if is_nameless_error else call.max_bytes)

    def _judge_response(self, call: Call, answer: Answer) -> None:
        response = answer.response
        if response is None:
            assert answer.complete is not None or answer.events or call.action.lower() in catalogue.MAYBE_NO_RESPONSE
        else:
            assert own(response, call, answer.failed), "another's response"

    def _ends(self) -> None:
        """Whatever has arrived before, a silent peer ends the lane within its timeout."""
        self._pass(5.0 + ABANDONED_S)
        self._pass(ABANDONED_S)
        raise AssertionError("a lane with a silent peer was kept")

    def _closed(self) -> None:
        for call, answer in self._lane.lost():
            assert call is self._call
            assert answer is None or (isinstance(answer, Answer) and answer.failed)


def own(packet: Packet, call: Call, nameless: bool) -> bool:
    return packet.action_id == call.action_id or (nameless and not packet.action_id)


SUBJECTS: list[Callable[[bytes], None]] = [
    first_bytes, packets, short_packets, plain_lane, md5_lane, masked_lane, lane_that_is_up,
]  # fmt: skip


# ── the corpus ──

OLD = b"Response: Follows\r\nPrivilege: Command\r\nActionID: {own}\r\na: b\n\nc\n--END COMMAND--\r\n\r\n"
OK = b"Response: Success\r\nActionID: {own}\r\n\r\n"
LIST = OK[:-2] + b"EventList: start\r\n\r\nEvent: Item\r\nActionID: {own}\r\n\r\n"
COMPLETE = b"Event: Done\r\nEventList: Complete\r\nActionID: {own}\r\n\r\n"
PONG = b"Response: Success\r\nActionID: {ping}\r\nPing: Pong\r\n\r\n"
STRANGER = b"Response: Error\r\nMessage: line too long\r\n\r\n"
LOGGED_IN = b"Response: Success\r\nActionID: {step}\r\nChallenge: 123\r\n\r\n"
FRAMES = [
    b"Event: A\r\nX: 1\r\n\r\n", b"Event: A\nX: 1\n\n", b"Event: A\r\n\n\r\nEvent: B\r\n\r\n", b"X: a\rb\r\r\nY: c\r\n\r\n",
    b"\r\n\r\n\n\n\r\n", b"No categories found\r\n\r\n", b"X: caf\xe9\0\r\n\r\n", b"X: y\r\n" * 40 + b"\r\n", b"X:1\nx: 2\nX: \n\n",
    b"Event: OriginateResponse\r\nResponse: Failure\r\n\r\n", b"Response: Success\r\nEvent: A\r\n\r\n", OLD, OLD[:60] + b"x" * 90,
]  # fmt: skip
DIALOGUES = [
    b"{call0}" + STRANGER + b"{gone}", b"{call0}{gone}",
    b"{call0}{leave}" + OK + b"Response: Goodbye\r\nActionID: {step}\r\n\r\n{gone}", b"{call0}{over}" + PONG + b"{call0}" + OK,
    b"{call0}{over}" + OK + PONG, b"{call0}" + OK, b"{call1}" + OLD, b"{call7}" + LIST + COMPLETE,
    b"{call4}" + OK + OK + b"{feed}" + PONG, b"{call0}" + STRANGER + b"{feed}" + PONG, b"{call0}{over}" + PONG + OK,
    b"{call2}" + OK + b"Event: X\r\n\r\n" + COMPLETE, b"{call5}some text\r\n\r\n{feed}" + PONG,
    b"{call6}" + OK + b"Event: FAXSession\r\nActionID: {own}\r\n\r\n", b"{call3}" + OK,
    b"{late}" + PONG + b"{call9}" + OK.replace(b"Success", b"Goodbye"), b"{call0}" + OK[:-2] + b"X: y\r\n" * 500 + b"\r\n" + PONG,
    b"{call7}" + LIST * 30 + COMPLETE + b"{feed}" + PONG + b"{call0}" + OK, b"{call8}" + OK + b"Event: P\r\n\r\n" + COMPLETE,
]  # fmt: skip


def seeds() -> Iterator[bytes]:
    yield from (b"\0" + first for first in (GREETING, GREETING[:9], b"SSH-2.0-x\r\n", GREETING.replace(b"\r", b"") + FRAMES[0]))
    yield from (kind + frame for kind in (b"\1", b"\2") for frame in FRAMES)
    yield from (b"\6" + dialogue for dialogue in DIALOGUES)
    yield b"\0" + GREETING[:-2] + b"1" * 600
    yield b"\3" + GREETING + b"{feed}" + LOGGED_IN + b"{feed}{call0}" + OK
    yield b"\3" + GREETING + b"{feed}Response: Error\r\nActionID: {step}\r\nMessage: Requested system shutting down\r\n\r\n"
    yield b"\4" + GREETING + b"{feed}" + LOGGED_IN + b"{feed}" + LOGGED_IN + b"{feed}{call0}" + OK
    yield b"\5" + GREETING + b"{feed}" + LOGGED_IN + b"{feed}Response: Success\r\nEvents: Off\r\nActionID: {mask}\r\n\r\n"
    yield b"\3" + GREETING + b"{feed}Response: Error\r\nActionID: {step}\r\nMessage: Authentication failed\r\n\r\n"


if __name__ == "__main__":
    campaign.main("parser")
