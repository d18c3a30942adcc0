"""Messages and monitor events arrive on two paths; in any order a living connection is never
treated as closed."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from amid.rpc.connections import Connections


def test_a_closed_connection_is_removed() -> None:
    connections = Connections()
    connections.opened(20)
    assert connections.register(b"\0a", 20) and b"\0a" in connections
    assert connections.closed(20) == {b"\0a"}
    assert b"\0a" not in connections


def test_a_message_after_the_end_of_its_connection_is_dropped() -> None:
    connections = Connections()
    connections.opened(20)
    connections.closed(20)
    assert not connections.register(b"\0a", 20)


def test_a_message_after_the_end_is_dropped_when_the_descriptor_is_reused() -> None:
    connections = Connections()
    connections.opened(20)
    connections.register(b"\0a", 20)
    connections.closed(20)
    connections.opened(20)
    assert not connections.register(b"\0a", 20)


class Sockets(RuleBasedStateMachine):
    """libzmq: connections on two descriptors, each with its messages; the monitor's events, in order; and the broker."""

    @initialize()
    def begin(self) -> None:
        self.connections = Connections()
        self.events: deque[tuple[str, int]] = deque()
        self.messages: dict[bytes, tuple[int, int]] = {}
        self.living: dict[int, bytes] = {}
        self.closed_ids: set[bytes] = set()
        self.count = 0

    @rule(descriptor=st.sampled_from([20, 21]), messages=st.integers(0, 3))
    def connect(self, descriptor: int, messages: int) -> None:
        if descriptor not in self.living:
            self.count += 1
            routing_id = b"\0%d" % self.count
            self.living[descriptor] = routing_id
            self.events.append(("opened", descriptor))
            self.messages[routing_id] = descriptor, messages

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        descriptor = data.draw(st.sampled_from(sorted(self.living)))
        self.messages[self.living[descriptor]] = descriptor, self.messages[self.living[descriptor]][1] + 1

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        descriptor = data.draw(st.sampled_from(sorted(self.living)))
        self.closed_ids.add(self.living.pop(descriptor))
        self.events.append(("closed", descriptor))

    @rule(most=st.integers(0, 3))
    def receive_events(self, most: int) -> None:
        """In a pass of the loop."""
        for _ in range(min(most, len(self.events))):
            kind, descriptor = self.events.popleft()
            if kind == "opened":
                self.connections.opened(descriptor)
            else:
                gone = self.connections.closed(descriptor)
                assert not gone & set(self.living.values()), "a living connection is called gone"

    @rule(data=st.data())
    def take_message(self, data: st.DataObject) -> None:
        waiting = [routing_id for routing_id, (_, count) in self.messages.items() if count]
        if not waiting:
            return
        routing_id = data.draw(st.sampled_from(waiting))
        descriptor, count = self.messages[routing_id]
        self.messages[routing_id] = descriptor, count - 1
        if routing_id in self.connections:
            return
        self.receive_events(len(self.events))
        alive = self.connections.register(routing_id, descriptor)
        assert alive or routing_id in self.closed_ids, "a message of a living connection is refused"
        assert not alive or descriptor in self.living, "a message is taken for a descriptor that is closed"

    def teardown(self) -> None:
        """When all have gone and everything was heard, nothing is kept."""
        for descriptor in list(self.living):
            self.events.append(("closed", descriptor))
        self.living.clear()
        self.receive_events(len(self.events))
        assert not self.connections._known and not self.connections._open


TestSockets = Sockets.TestCase
TestSockets.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
