"""For any behaviour of readers, Asterisk, callers and the clock: each call ends exactly once, by
the tick of its deadline, and is sent at most once. A call of a disconnected caller ends without a
reply, no caller waits forever, and no reader gets more calls than its capacity."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from amid.rpc.calls import Calls
from amid.rpc.messages import Capacity, Hello, Lanes, RunAction, Status
from amid.rpc.open_call import Effect, Reply

SERVERS = ("a", "b")
LIMIT, MAX_CALLS, PER_CALLER, LANES = 3, 8, 5, 2
CONNECTIONS = {"a1": "uid:1", "a2": "uid:1", "b1": "key:crm", "c1": "token:web"}
"""Connection -> its principal. It stands for one connection after the other, as a descriptor does."""

servers = st.sampled_from(SERVERS)
connections = st.sampled_from(sorted(CONNECTIONS))


class Asker(NamedTuple):
    request_id: int
    principal: str
    connection: str


@dataclass(eq=False)
class Pipe:
    """A connection to a reader, as the broker sees it.

    taken: calls that the reader has accepted from it, for idle and for shared lanes. left: how many
    of either kind may still be sent to it, by its last report.
    """

    server: str
    started: int
    taken: Counter[bool] = field(default_factory=Counter)
    left: Counter[bool] = field(default_factory=Counter)


class Handed(NamedTuple):
    """A call on its way to a reader, or with it."""

    pipe: Pipe
    call_id: int
    origin: int
    behind: bool


class Life(RuleBasedStateMachine):
    """Plays the broker, its callers and two readers; a call's request id is its number."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.calls = Calls(dict.fromkeys(SERVERS, LIMIT), MAX_CALLS, PER_CALLER, self.now)
        self.deadlines: dict[int, float] = {}
        self.askers: dict[int, Asker] = {}
        self.left: set[int] = set()
        self.replies: Counter[int] = Counter()
        self.with_reader: dict[int, Handed] = {}
        self.delivered: set[int] = set()
        self.ever: set[int] = set()
        self.pipes = {server: Pipe(server, 0) for server in SERVERS}
        self.on_the_way: list[Handed] = []

    def carry(self, effects: list[Effect], reachable: bool = True) -> None:
        """Carry out effects like the broker. When a message cannot be written to its reader, the
        reader has ended."""
        unwritten: dict[Pipe, list[Any]] = {}
        for effect in effects:
            if isinstance(effect, Reply):
                assert effect.origin.request_id not in self.left, "a reply for a caller that has gone"
                self.replies[effect.origin.request_id] += 1
                self.honest(effect)
            elif not reachable:
                unwritten.setdefault(effect.reader, []).append(effect.message)
            elif isinstance(effect.message, RunAction):
                self.hand(effect.reader, effect.message)
        for pipe, messages in unwritten.items():
            self.lose(pipe, messages)

    def hand(self, pipe: Pipe, request: RunAction) -> None:
        handed = Handed(pipe, request.call_id, int(request.action_id), request.behind)
        assert handed.call_id not in self.delivered, "handed to a reader twice"
        assert handed.origin not in self.left, "sent for a caller that has gone"
        assert self.now < self.deadlines[handed.origin], "handed out behind its deadline"
        assert request.quick or not request.behind, "a slow action behind others"
        assert pipe.left[request.behind] > 0, "more than the reader has lanes and room for"
        pipe.left[request.behind] -= 1
        self.delivered.add(handed.call_id)
        self.ever.add(handed.origin)
        self.on_the_way.append(handed)

    def lose(self, pipe: Pipe, unwritten: list[Any]) -> None:
        """A connection to a reader ends."""
        if self.pipes[pipe.server] is pipe:
            self.pipes[pipe.server] = Pipe(pipe.server, pipe.started)
        self.on_the_way = [one for one in self.on_the_way if one.pipe is not pipe]
        self.carry(self.calls.reader_lost(pipe, unwritten))

    def honest(self, reply: Reply) -> None:
        """`sent: false` is a promise that no reader has the call."""
        origin = reply.origin.request_id
        assert reply.error is not None or self.now < self.deadlines[origin], "an answer behind its deadline"
        if reply.error is not None and not reply.error.sent:
            held = {one.origin for one in self.on_the_way} | set(self.with_reader)
            assert origin not in held, f"{reply.error.kind} says that it was not sent"
        if reply.error is not None and reply.error.sent:
            assert origin in self.ever, f"{reply.error.kind} says that it may have been carried out"

    @rule(
        server=servers,
        connection=connections,
        timeout=st.sampled_from([0.1, 1.0, 10.0]),
        quick=st.sampled_from([True, True, False]),
        reachable=st.sampled_from([True, True, True, False]),
    )
    def open(self, server: str, connection: str, timeout: float, quick: bool, reachable: bool) -> None:
        origin = len(self.deadlines)
        self.askers[origin] = Asker(origin, CONNECTIONS[connection], connection)
        self.deadlines[origin] = self.now + timeout
        call_id = self.calls.new_call_id()
        request = RunAction(call_id, self.now + timeout, "Ping", str(origin), b"", self.now, 65536, quick=quick)
        self.carry(self.calls.open(self.askers[origin], server, request, self.now), reachable)

    def open_on(self, connection: str) -> set[int]:
        """The calls of a connection that have not ended."""
        own = {origin for origin, asker in self.askers.items() if asker.connection == connection}
        return own - set(self.replies) - self.left

    @rule(connection=connections)
    def disconnect(self, connection: str) -> None:
        self.left |= self.open_on(connection)
        self.carry(self.calls.disconnected(connection)[1])

    @rule(connection=connections, data=st.data())
    def cancel(self, connection: str, data: st.DataObject) -> None:
        """One of the calls, its own or another's, open or over."""
        if not self.deadlines:
            return
        origin = data.draw(st.sampled_from(sorted(self.deadlines)))
        was_open = origin in self.open_on(connection)
        ended, effects = self.calls.cancel(Asker(-1, CONNECTIONS[connection], connection), origin)
        assert [call.origin.request_id for call in ended] == ([origin] if was_open else [])
        self.carry(effects)
        assert not was_open or self.replies[origin] == 1

    @rule(seconds=st.sampled_from([0.01, 0.4, 1.5, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry(self.calls.tick(self.now))
        for origin, deadline in self.deadlines.items():
            assert self.replies[origin] or origin in self.left or deadline > self.now, "not answered by its deadline's tick"

    @rule(
        server=servers,
        idle=st.sampled_from([0, 0, 1, 4]),
        room=st.integers(0, 3),
        ready=st.sampled_from([True, True, None, False]),
        reachable=st.sampled_from([True, True, True, False]),
    )
    def report(self, server: str, idle: int, room: int, ready: bool | None, reachable: bool) -> None:
        """ready: None for a report of the capacity alone."""
        self.carry(self.reported(server, idle, room, ready), reachable)

    def reported(self, server: str, idle: int, room: int, ready: bool | None) -> list[Effect]:
        pipe = self.pipes[server]
        pipe.left = Counter({False: idle, True: room})
        pipe.left.subtract(one.behind for one in self.on_the_way if one.pipe is pipe)
        capacity = Capacity(idle, room, pipe.taken[False], pipe.taken[True])
        held = [one.call_id for one in self.with_reader.values() if one.pipe is pipe]
        status = Status(capacity, bool(ready), "up", "", 0.0, 1, 0, "", Lanes(idle, len(held), LANES, held), {})
        what = capacity if ready is None else status
        return self.calls.reader_reported(pipe, Hello(server, pipe.started), what, self.now)

    @rule(server=servers, end_is_seen=st.booleans())
    def replace(self, server: str, end_is_seen: bool) -> None:
        """The reader is killed with all its calls; the next one reports, perhaps before the end of
        this one is noticed."""
        before = self.pipes[server]
        self.pipes[server] = Pipe(server, before.started + 1)
        self.on_the_way = [one for one in self.on_the_way if one.pipe.server != server]
        self.carry(self.reported(server, 0, 0, False))
        if end_is_seen:
            self.lose(before, [])

    @rule(server=servers)
    def end(self, server: str) -> None:
        """The broker is notified of the end of the connection to a reader."""
        self.lose(self.pipes[server], [])

    @precondition(lambda self: self.on_the_way)
    @rule(target=messages, data=st.data())
    def take(self, data: st.DataObject) -> Handed:
        """A reader reads what was sent to it, and gives it to a lane."""
        handed = data.draw(st.sampled_from(self.on_the_way))
        self.receive(handed)
        self.with_reader[handed.origin] = handed
        return handed

    def receive(self, handed: Handed) -> None:
        self.on_the_way.remove(handed)
        handed.pipe.taken[handed.behind] += 1

    @rule(handed=consumes(messages))
    def answer(self, handed: Handed) -> None:
        self.with_reader.pop(handed.origin)
        self.carry(self.calls.answered(handed.call_id, b"result", None, self.now))

    @rule(handed=consumes(messages), again=st.booleans())
    def give_back(self, handed: Handed, again: bool) -> None:
        """The reader had no lane; its message may even come twice."""
        self.with_reader.pop(handed.origin)
        self.delivered.discard(handed.call_id)
        for _ in range(1 + again):
            self.calls.returned(handed.call_id)

    @rule(kept=st.sets(servers))
    def configure(self, kept: set[str]) -> None:
        """The reader of a server that is taken out is asked to end, and reports no more; a new one is there when it comes back."""
        for server in set(SERVERS) - kept:
            self.pipes[server] = Pipe(server, self.pipes[server].started + 1)
        self.carry(self.calls.configure(dict.fromkeys(kept, LIMIT), MAX_CALLS, PER_CALLER, self.now))
        self.carry(self.calls.configure(dict.fromkeys(SERVERS, LIMIT), MAX_CALLS, PER_CALLER, self.now))

    @invariant()
    def no_call_ends_twice(self) -> None:
        assert all(count == 1 for count in self.replies.values())

    @invariant()
    def what_is_open_is_what_has_not_ended(self) -> None:
        assert len(self.calls) == len(self.deadlines) - len(self.replies) - len(self.left) <= MAX_CALLS
        assert self.calls.abandoned == len(self.left)

    @invariant()
    def what_counts_for_a_caller_is_what_it_has_open(self) -> None:
        opened = Counter(CONNECTIONS[one] for one in CONNECTIONS for _ in self.open_on(one))
        assert self.calls.open_by_principal() == opened
        assert all(count <= PER_CALLER for count in opened.values())

    @invariant()
    def a_deadline_is_known_while_anything_is_open(self) -> None:
        due = self.calls.next_deadline()
        assert (due is not None) == bool(len(self.calls))

    def teardown(self) -> None:
        """From any state: once the readers work, every waiting caller is served within as many
        answers as there are waiting callers."""
        for server in SERVERS:
            self.nobody_starves(server)
        self.carry(self.calls.fail_all())
        assert len(self.replies) + len(self.left) == len(self.deadlines)
        assert len(self.calls) == 0

    def nobody_starves(self, server: str) -> None:
        self.replace(server, end_is_seen=True)
        waiting = {call.origin.principal for call in self.calls.servers[server].waiting if call.deadline > self.now}
        served = set()
        for _ in range(len(waiting)):
            self.carry(self.reported(server, 1, 0, True))
            (handed,) = [one for one in self.on_the_way if one.pipe.server == server]
            served.add(self.askers[handed.origin].principal)
            self.receive(handed)
            self.carry(self.calls.answered(handed.call_id, b"", None, self.now))
        assert served == waiting


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
