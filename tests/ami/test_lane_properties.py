"""Any interleaving of calls, answers, errors, forgeries, timeouts and losses gives each call
exactly one correct outcome.

`Peer` is an Asterisk that serves a session in sequence and misbehaves on demand. `World` runs a
lane with it and knows, from what the peer has sent and not from the lane, the valid outcomes of
each call, the open calls and the capacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from amid.ami.exchange import Answer, Call, TooLarge
from amid.ami.lane import MAX_PIPELINED, PIPELINE_WITHIN_S, Lane
from amid.ami.packet import Packet, ProtocolError
from amid.ami.session import Login, Session, SessionTimeouts
from tests.ami.lane_call import lane_call
from tests.ami.test_lane import GREETING, answer, sent

KINDS = {
    "single": "Test", "error": "Test", "list": "Test", "old list": "QueueStatus", "open list": "Status", "refused": "Test",
    "silent": "Test", "half": "Test", "large": "Test", "twice": "Test",
}  # fmt: skip
"""How the peer answers -> the action. refused: by an Error without ActionID; half: a marked list that does not end; open list: one
of an old Asterisk without its closing event."""
ITEMS = {"list": 2, "old list": 2, "open list": 2}
UNANSWERED = ("refused", "silent")


@dataclass(eq=False)
class Asked:
    """A call as the world knows it. timed_out: its caller has had a timeout. over: Asterisk is
    known to have finished it."""

    call: Call
    kind: str
    started: float
    timed_out: bool = False
    over: bool = False
    outcomes: list[Answer | TooLarge | None] = field(default_factory=list)


@dataclass
class Peer:
    """`said`: all bytes it has sent, of which the lane has read `read`. `pongs`: where the answers
    to Pings end."""

    said: bytes = b""
    read: int = 0
    pings: int = 0
    pongs: list[int] = field(default_factory=list)

    def answer_ping(self, action_id: str) -> None:
        self.said += answer(action_id, "Ping: Pong\r\n")
        self.pings += 1
        self.pongs.append(len(self.said))

    def answer(self, kind: str, action_id: str, number: int, forged: bool) -> None:
        is_it = f"Is: {number}\r\n"
        items = f"Event: Item\r\nActionID: {action_id}\r\n{is_it}\r\n".encode() * 2
        refusal = f"Response: Error\r\nMessage: refused {number}\r\n\r\n".encode()
        self.said += {
            "single": answer(action_id, is_it),
            "error": answer(action_id, is_it, "Error"),
            "list": answer(action_id, is_it + "EventList: start\r\n") + items + closing(action_id, "EventList: Complete\r\n"),
            "old list": answer(action_id, is_it) + items + closing(action_id),
            "open list": answer(action_id, is_it) + items,
            "refused": refusal,
            "silent": b"",
            "half": answer(action_id, is_it + "EventList: start\r\n") + items,
            "large": answer(action_id, is_it + "X: " + "y" * 900 + "\r\n"),
            "twice": answer(action_id, is_it) * 2,
        }[kind] + (refusal if forged else b"")  # fmt: skip

    @property
    def answered_pings(self) -> int:
        return sum(end <= self.read for end in self.pongs)


def closing(action_id: str, mark: str = "") -> bytes:
    return f"Event: QueueStatusComplete\r\nActionID: {action_id}\r\n{mark}\r\n".encode()


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.lane = Lane(Session(Login("amid", "secret", "plain", "off"), SessionTimeouts(10.0, 10.0, 5.0), 10_000))
        self.lane.feed(GREETING, self.now)
        [(_, login)] = sent(self.lane)
        self.lane.feed(answer(login), self.now)
        self.peer = Peer()
        self.asked: dict[int, Asked] = {}
        self.error: ProtocolError | None = None

    # ── steps ──

    def start(self, kind: str, quick: bool, forged: bool, timeout: float) -> None:
        if self.error:
            return
        room = self.room()
        assert self.lane.room(self.now) == room
        assert self.lane.idle == (room == MAX_PIPELINED)
        if room == 0 or (room < MAX_PIPELINED and not quick):
            return
        number = len(self.asked) + 1
        action_id = f"id{number}"
        call = lane_call(number, KINDS[kind], action_id, self.now + timeout, 500, quick=quick)
        self.lane.start(call, self.now)
        self.asked[number] = Asked(call, kind, self.now)
        self.listen((kind, forged))

    def deliver(self, size: int) -> None:
        data = self.peer.said[self.peer.read : self.peer.read + size]
        if not data or self.error:
            return
        self.peer.read += len(data)
        try:
            for call, outcome in self.lane.feed(data, self.now):
                self.judge(call, outcome)
        except ProtocolError as error:
            self.fail(error)
            return
        self.listen()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.error:
            return
        for asked in self.under_way():
            asked.timed_out = asked.timed_out or (not asked.outcomes and self.now >= asked.call.deadline)
        try:
            self.lane.check(self.now)
        except ProtocolError as error:
            self.fail(error)
            return
        self.listen()

    def end(self) -> None:
        if not self.error:
            self.fail(ProtocolError("the end"))

    # ── the oracle ──

    def under_way(self) -> list[Asked]:
        return [asked for asked in self.asked.values() if not asked.over]

    def room(self) -> int:
        under_way = self.under_way()
        if self.peer.answered_pings < self.peer.pings:
            return 0
        if any(self.now - asked.started >= PIPELINE_WITHIN_S or not asked.call.quick for asked in under_way):
            return 0
        return MAX_PIPELINED - len(under_way)

    def listen(self, plan: tuple[str, bool] = ("", False)) -> None:
        """The peer reads the lane's actions and answers in sequence. When every Ping is answered,
        no abandoned call is open."""
        for action, action_id in sent(self.lane) if not self.error else []:
            if action == "Ping":
                self.peer.answer_ping(action_id)
            else:
                self.peer.answer(plan[0], action_id, int(action_id[2:]), plan[1])
        if self.peer.answered_pings == self.peer.pings:
            for asked in self.under_way():
                asked.over = asked.timed_out or bool(asked.outcomes)
        assert self.lane.call_ids == [asked.call.call_id for asked in self.under_way()]

    def judge(self, call: Call, outcome: Answer | TooLarge | None) -> None:
        """An outcome must be the call's first, in time, and supported by what the peer has sent for
        it."""
        asked = self.asked[call.call_id]
        assert asked.call is call and not asked.outcomes and not asked.timed_out
        asked.outcomes.append(outcome)
        asked.over = isinstance(outcome, Answer)
        if outcome is None:
            assert self.error, "only the end of the session leaves an outcome open"
        elif isinstance(outcome, TooLarge):
            assert asked.kind == "large"
        elif asked.kind in UNANSWERED:
            assert outcome.failed and outcome.response is not None and not outcome.response.action_id
        else:
            assert asked.kind not in ("large", "half")
            self.judge_answer(call, asked.kind, outcome)

    def judge_answer(self, call: Call, kind: str, outcome: Answer) -> None:
        assert outcome.response is not None
        packets: list[Packet] = [outcome.response, *outcome.events]
        assert [packet.get("Is") for packet in packets] == [str(call.call_id)] * (1 + ITEMS.get(kind, 0))
        assert all(packet.action_id == call.action_id for packet in packets)
        assert outcome.failed == (kind == "error")
        assert (outcome.complete is not None) == (kind in ("list", "old list"))

    def fail(self, error: ProtocolError) -> None:
        """The session has ended: every call without an outcome is lost, and no other."""
        self.error = error
        waiting = [asked for asked in self.asked.values() if not asked.timed_out and not asked.outcomes]
        if "Error without ActionID" in str(error):
            unanswered = [asked for asked in self.under_way() if asked.kind in UNANSWERED]
            assert len(unanswered) > 1, "a session was closed although the owner of the Error was known"
        lost = self.lane.lost()
        assert sorted(call.call_id for call, _ in lost) == [asked.call.call_id for asked in waiting]
        for call, outcome in lost:
            self.judge(call, outcome)

    # ── the end ──

    def settle(self) -> None:
        """Deliver everything: all answered calls have their answers. Then all deadlines pass: the
        lane is idle or has ended."""
        while self.peer.read < len(self.peer.said) and not self.error:
            self.deliver(len(self.peer.said))
        open_ = [asked for asked in self.asked.values() if not asked.outcomes and not asked.timed_out]
        assert self.error or all(asked.kind in ("silent", "half") for asked in open_)
        for _ in range(3 * MAX_PIPELINED):
            self.wait(max(0.0, min(self.lane.next_deadline() - self.now, 5.0)) if self.under_way() else 0.0)
            self.deliver(len(self.peer.said))
        assert self.error or (self.lane.idle and not self.lane.in_flight)
        self.end()
        assert all(len(asked.outcomes) + asked.timed_out == 1 for asked in self.asked.values())


kinds = st.sampled_from(sorted(KINDS))
mostly = st.sampled_from([True] * 5 + [False])
steps = st.one_of(
    st.tuples(st.just("start"), kinds, mostly, st.booleans(), st.sampled_from([0.004, 1.0, 7.0, 30.0])),
    st.tuples(st.just("start"), st.sampled_from(["single", "refused", "silent"]), st.just(True), st.booleans(), st.just(1.0)),
    st.tuples(st.just("deliver"), st.one_of(st.integers(1, 300), st.just(1 << 20))),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.003, 0.005, 0.01, 1.0, 4.0])),
    st.just(("end",)),
)


SINGLE, REFUSED, SILENT = (("start", kind, True, False, 1.0) for kind in ("single", "refused", "silent"))
ALL = ("deliver", 1 << 20)


@settings(deadline=None, max_examples=400)
@given(st.lists(steps, max_size=40))
@example([("start", "single", True, True, 1.0)] * 17 + [ALL])
@example([SILENT, ("start", "refused", True, False, 30.0), ("wait", 1.0), ALL])
@example([REFUSED, ("start", "single", True, False, 30.0), ("wait", 1.0), ALL])
@example([SILENT, ("start", "silent", True, False, 7.0), ("wait", 1.0), ("wait", 4.0), ("wait", 4.0)])
@example([SINGLE, REFUSED, SINGLE, ALL])
@example([SINGLE, REFUSED, REFUSED, ALL])
def test_each_call_has_exactly_one_correct_outcome(script: list[tuple[object, ...]]) -> None:
    world = World()
    for name, *arguments in script:
        getattr(world, str(name))(*arguments)
    world.settle()
