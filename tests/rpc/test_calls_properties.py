"""Whatever readers, Asterisk and the clock do: each call ends exactly once, by its deadline's tick, and goes out once at most."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from amid.rpc.calls import Calls, Effect, Order, Reply, Send

SERVERS = ("a", "b")
LIMIT, MAX_CALLS = 3, 8

servers = st.sampled_from(SERVERS)


class Life(RuleBasedStateMachine):
    """Plays the broker, its callers and two readers; the origin of a call is its number."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.calls = Calls(dict.fromkeys(SERVERS, LIMIT), MAX_CALLS, self.now)
        self.deadlines: dict[int, float] = {}
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
                self.replies[effect.origin] += 1
                self.honest(effect)
            elif not reachable:
                unheard.setdefault(effect.reader, []).append(effect.message)
            elif effect.message[0] == "call":
                assert effect.message[1] not in self.delivered, "handed to a reader twice"
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
        assert reply.error is not None or self.now < self.deadlines[reply.origin], "an answer behind its deadline"
        if reply.error is not None and not reply.error.sent:
            held = {send.message[3]["origin"] for send in self.on_the_way} | set(self.with_reader)
            assert reply.origin not in held, f"{reply.error.kind} says that it was not sent"
        if reply.error is not None and reply.error.sent:
            assert reply.origin in self.ever, f"{reply.error.kind} says that it may have been carried out"

    @rule(server=servers, timeout=st.sampled_from([0.1, 1.0, 10.0]), reachable=st.booleans())
    def open(self, server: str, timeout: float, reachable: bool) -> None:
        origin = len(self.deadlines)
        self.deadlines[origin] = self.now + timeout
        order = Order("call", {"action_id": str(origin), "origin": origin})
        self.carry(self.calls.open(origin, server, order, self.now + timeout, self.now), reachable)

    @rule(seconds=st.sampled_from([0.01, 0.4, 1.5, 4.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry(self.calls.tick(self.now))
        for origin, deadline in self.deadlines.items():
            assert self.replies[origin] or deadline > self.now, "not answered by its deadline's tick"

    @rule(server=servers, free=st.integers(0, 4), ready=st.booleans(), reachable=st.booleans())
    def report(self, server: str, free: int, ready: bool, reachable: bool) -> None:
        self.carry(self.state(server, free, {"ready": ready, "detail": ""}), reachable)

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
        self.carry(self.state(server, 0, {"ready": False, "detail": ""}))

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
        self.carry(self.calls.configure(dict.fromkeys(kept, LIMIT), MAX_CALLS, self.now))
        self.carry(self.calls.configure(dict.fromkeys(SERVERS, LIMIT), MAX_CALLS, self.now))

    @invariant()
    def no_call_ends_twice(self) -> None:
        assert all(count == 1 for count in self.replies.values())

    @invariant()
    def what_is_open_is_what_was_not_answered(self) -> None:
        assert len(self.calls) == len(self.deadlines) - len(self.replies) <= MAX_CALLS

    @invariant()
    def a_deadline_is_known_while_anything_is_open(self) -> None:
        due = self.calls.next_deadline()
        assert (due is not None) == bool(len(self.calls))

    def teardown(self) -> None:
        self.carry(self.calls.fail_all())
        assert len(self.replies) == len(self.deadlines)
        assert len(self.calls) == 0


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
