"""Whatever readers, Asterisk, callers and the clock do: each call ends exactly once, by its deadline's tick, and goes out once at
most. A call whose caller has gone ends without a reply, and no caller waits for ever behind others."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from amid.rpc.calls import Calls
from amid.rpc.open_call import Effect, Order, Reply, Send

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
        self.with_reader: dict[int, Send] = {}
        self.delivered: set[int] = set()
        self.ever: set[int] = set()
        self.incarnation = dict.fromkeys(SERVERS, 0)
        self.connections = dict.fromkeys(SERVERS, 0)
        self.taken = dict.fromkeys(SERVERS, 0)
        self.on_the_way: list[Send] = []

    def carry(self, effects: list[Effect], reachable: bool = True) -> None:
        """What the broker does with effects. When a message does not reach its reader, that one has ended, as in the broker."""
        unheard: dict[bytes, list[list[Any]]] = {}
        for effect in effects:
            if isinstance(effect, Reply):
                assert effect.origin.request_id not in self.left, "a reply for a caller that has gone"
                self.replies[effect.origin.request_id] += 1
                self.honest(effect)
            elif not reachable:
                unheard.setdefault(effect.reader, []).append(effect.message)
            elif effect.message[0] == "call":
                assert effect.message[1] not in self.delivered, "handed to a reader twice"
                assert effect.message[3]["origin"] not in self.left, "sent for a caller that has gone"
                assert self.now < self.deadlines[effect.message[3]["origin"]], "handed out behind its deadline"
                self.delivered.add(effect.message[1])
                self.ever.add(effect.message[3]["origin"])
                self.on_the_way.append(effect)
        for reader, messages in unheard.items():
            self.lose(reader, messages)

    def lose(self, reader: bytes, unheard: list[list[Any]]) -> None:
        """A connection to a reader ends."""
        server = reader[:1].decode()
        self.connections[server] += 1
        self.taken[server] = 0
        self.on_the_way = [send for send in self.on_the_way if send.reader != reader]
        self.carry(self.calls.gone(reader, unheard))

    def honest(self, reply: Reply) -> None:
        """`sent: false` is a promise that no reader has the call."""
        origin = reply.origin.request_id
        assert reply.error is not None or self.now < self.deadlines[origin], "an answer behind its deadline"
        if reply.error is not None and not reply.error.sent:
            held = {send.message[3]["origin"] for send in self.on_the_way} | set(self.with_reader)
            assert origin not in held, f"{reply.error.kind} says that it was not sent"
        if reply.error is not None and reply.error.sent:
            assert origin in self.ever, f"{reply.error.kind} says that it may have been carried out"

    @rule(server=servers, connection=connections, timeout=st.sampled_from([0.1, 1.0, 10.0]), reachable=st.booleans())
    def open(self, server: str, connection: str, timeout: float, reachable: bool) -> None:
        origin = len(self.deadlines)
        self.askers[origin] = Asker(origin, CONNECTIONS[connection], connection)
        self.deadlines[origin] = self.now + timeout
        order = Order("call", {"action_id": str(origin), "origin": origin})
        self.carry(self.calls.open(self.askers[origin], server, order, self.now + timeout, self.now), reachable)

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

    @rule(server=servers, free=st.integers(0, 4), ready=st.booleans(), reachable=st.booleans())
    def report(self, server: str, free: int, ready: bool, reachable: bool) -> None:
        self.carry(self.state(server, free, self.info(server, ready, free)), reachable)

    def info(self, server: str, ready: bool, free: int = 0) -> dict[str, Any]:
        reader = f"{server}{self.connections[server]}".encode()
        held = [send.message[1] for send in self.with_reader.values() if send.reader == reader]
        return {"ready": ready, "detail": "", "lanes": {"limit": LANES, "calls": held, "busy": len(held), "free": free}}

    def state(self, server: str, free: int, info: dict[str, Any] | None) -> list[Effect]:
        started = self.incarnation[server]
        reader = f"{server}{self.connections[server]}".encode()
        return self.calls.state(server, reader, started, free, self.taken[server], info, self.now)

    @rule(server=servers)
    def replace(self, server: str) -> None:
        """The reader is killed with all that it had; the next one reports."""
        self.incarnation[server] += 1
        self.connections[server] += 1
        self.taken[server] = 0
        gone = [send for send in self.on_the_way if send.reader[:1].decode() == server]
        self.on_the_way = [send for send in self.on_the_way if send not in gone]
        self.carry(self.state(server, 0, self.info(server, False)))

    @rule(server=servers)
    def end(self, server: str) -> None:
        """The broker hears that the connection to a reader has ended."""
        self.lose(f"{server}{self.connections[server]}".encode(), [])

    @precondition(lambda self: self.on_the_way)
    @rule(target=messages, data=st.data())
    def take(self, data: st.DataObject) -> Send:
        """A reader reads what was sent to it, and gives it to a lane."""
        send = data.draw(st.sampled_from(self.on_the_way))
        self.on_the_way.remove(send)
        self.taken[send.reader[:1].decode()] += 1
        self.with_reader[send.message[3]["origin"]] = send
        return send

    @rule(send=consumes(messages))
    def answer(self, send: Send) -> None:
        self.with_reader.pop(send.message[3]["origin"])
        self.carry(self.calls.answered(send.message[1], b"result", None, self.now))

    @rule(send=consumes(messages), again=st.booleans())
    def give_back(self, send: Send, again: bool) -> None:
        """The reader had no lane; its message may even come twice."""
        self.with_reader.pop(send.message[3]["origin"])
        self.delivered.discard(send.message[1])
        self.carry(self.calls.unsent(send.message[1], self.now))
        if again and send.message[1] not in self.delivered:
            self.carry(self.calls.unsent(send.message[1], self.now))

    @rule(kept=st.sets(servers))
    def configure(self, kept: set[str]) -> None:
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
        """From any state: once the readers work, every caller that waits is served within as many answers as callers wait."""
        for server in SERVERS:
            self.nobody_starves(server)
        self.carry(self.calls.fail_all())
        assert len(self.replies) + len(self.left) == len(self.deadlines)
        assert len(self.calls) == 0

    def nobody_starves(self, server: str) -> None:
        self.replace(server)
        waiting = {call.origin.principal for call in self.calls.servers[server].waiting if call.deadline > self.now}
        served = set()
        for _ in range(len(waiting)):
            effects = self.state(server, 1, self.info(server, True, 1))
            (send,) = [effect for effect in effects if isinstance(effect, Send) and effect.message[0] == "call"]
            served.add(self.askers[send.message[3]["origin"]].principal)
            self.carry(effects)
            self.on_the_way.remove(send)
            self.taken[server] += 1
            self.carry(self.calls.answered(send.message[1], b"", None, self.now))
        assert served == waiting


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
