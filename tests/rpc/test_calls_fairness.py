"""The share of one caller: lanes, queue and open calls, and nothing after it has disconnected."""

from __future__ import annotations

import time
from collections import Counter

from amid.errors import AmidError
from amid.rpc.calls import PORTION, Calls
from amid.rpc.messages import Forget, RunAction, WantLanes
from amid.rpc.open_call import Effect, Reply, Send
from tests.rpc.test_calls import LANES, NOW, Asker, action, actions, capacity, error, replies, report, sends, status, up


class World:
    """A reader whose lanes finish on demand."""

    def __init__(self, lanes: int = LANES, limit: int = 1000, max_calls: int = 100_000, per_caller: int = 100_000) -> None:
        self.calls = Calls({"pbx1": limit}, max_calls, per_caller, NOW)
        self.lanes = lanes
        self.taken = 0
        self.on_lanes: dict[int, str] = {}
        self.handed: list[str] = []
        self.replies: list[Reply] = []
        self.wants: list[tuple[int, bool]] = []
        self.report()

    def report(self) -> None:
        free = capacity(self.lanes - len(self.on_lanes), self.taken)
        self.carry(report(self.calls, status(free, on_lanes=tuple(self.on_lanes))))

    def carry(self, effects: list[Effect]) -> None:
        self.replies += replies(effects)
        for effect in effects:
            match effect:
                case Send(_, WantLanes(waiting, spare)):
                    self.wants.append((waiting, spare))
                case Send(_, RunAction(call_id=call_id, action=name)):
                    self.taken += 1
                    self.on_lanes[call_id] = name
                    self.handed.append(name)

    def open(self, principal: str, count: int = 1, connection: str = "1", timeout: float = 5.0) -> None:
        for number in range(count):
            asker = Asker(f"{principal}{number}", principal, connection)
            request = action(self.calls, principal, deadline=NOW + timeout)
            self.carry(self.calls.open(asker, "pbx1", request, NOW))

    def finish(self, principal: str) -> None:
        """One action of this principal is answered."""
        call_id = next(call_id for call_id, whose in self.on_lanes.items() if whose == principal)
        del self.on_lanes[call_id]
        self.carry(self.calls.answered(call_id, b"", None, NOW))
        self.carry(report(self.calls, capacity(self.lanes - len(self.on_lanes), self.taken)))

    def errors(self) -> list[AmidError]:
        return [reply.error for reply in self.replies if reply.error]


def test_the_spare_lane_is_asked_for_again_while_its_caller_waits() -> None:
    """A lane had become free when the reader was asked, so it opened none. The next caller waited for the slow actions of
    another one."""
    world = World()
    world.open("x", LANES)
    world.open("y", 2)
    assert world.wants == [(1, True), (2, True)]
    world.finish("x")
    assert world.handed[-1] == "y"
    world.open("z")
    world.wants.clear()
    world.report()
    assert world.wants == [(2, True)]


def test_a_flood_leaves_the_next_lane_to_another_caller() -> None:
    world = World(lanes=2)
    world.open("flood", 100)
    world.open("crm")
    world.finish("flood")
    assert world.handed == ["flood", "flood", "crm"]


def test_callers_are_served_in_turn() -> None:
    world = World(lanes=1)
    world.open("a", 4)
    world.open("b", 2)
    world.open("c", 2)
    for _ in range(7):
        world.finish(world.handed[-1])
    assert world.handed == ["a", "a", "b", "c", "a", "b", "c", "a"]


def test_a_lane_goes_to_the_caller_with_the_fewest_lanes() -> None:
    world = World(lanes=2)
    world.open("slow", 5)
    world.open("crm", 2)
    world.finish("slow")
    world.finish("crm")
    assert world.handed == ["slow", "slow", "crm", "crm"]


def test_slow_actions_on_all_lanes_open_a_spare_lane_for_another_caller() -> None:
    world = World()
    world.open("slow", 10)
    assert world.wants == [(waiting, False) for waiting in range(1, LANES + 1)], "one caller alone gets no more than these"
    world.open("crm")
    assert world.wants[-1] == (LANES, True)
    world.lanes += 1
    world.report()
    assert world.handed == ["slow"] * 4 + ["crm"]


def test_a_caller_with_a_lane_gets_no_spare_lane() -> None:
    world = World(lanes=LANES + 1)
    world.open("slow", 10)
    assert world.handed == ["slow"] * 4
    world.open("crm", 2)
    assert world.handed == ["slow"] * 4 + ["crm"]


def test_a_spare_lane_is_requested_each_time_it_is_needed() -> None:
    world = World()
    world.open("slow", 6)
    world.open("crm")
    world.finish("slow")
    world.finish("crm")
    wanted = len(world.wants)
    world.open("crm")
    assert world.wants[wanted:] == [(2, True)]


def test_an_action_occupies_its_callers_lane_until_asterisk_is_done_with_it() -> None:
    """Short timeouts do not hide whose actions occupy the lanes."""
    world = World(lanes=LANES + 1)
    world.open("slow", 4, timeout=0.1)
    world.carry(world.calls.tick(NOW + 0.1))
    assert len(world.calls) == 0
    world.report()
    world.open("slow")
    assert world.handed == ["slow"] * 4
    world.on_lanes.clear()
    world.report()
    assert world.handed == ["slow"] * 5


def test_a_call_that_waits_for_an_event_uses_no_lane() -> None:
    world = World(lanes=LANES + 1)
    world.open("a", 5)
    world.calls.progressed(next(iter(world.on_lanes)), {"Response": "Success"})
    world.on_lanes.pop(next(iter(world.on_lanes)))
    world.report()
    assert world.handed == ["a"] * 5


def test_a_full_queue_drops_the_newest_call_of_the_caller_with_the_most() -> None:
    world = World(lanes=0, limit=10)
    world.open("flood", 10)
    world.open("crm", 7)
    assert [(failure.kind, failure.sent) for failure in world.errors()] == [("busy", False)] * 7
    dropped = [reply.origin.request_id for reply in world.replies]
    assert dropped == ["flood9", "flood8", "flood7", "flood6", "flood5", "crm5", "crm6"]
    assert "[servers.pbx1]" in world.errors()[0].message


def test_open_calls_of_a_caller_are_limited() -> None:
    world = World(max_calls=10, per_caller=4)
    world.open("flood", 6)
    assert [(failure.kind, failure.sent) for failure in world.errors()] == [("busy", False)] * 2
    assert "max_calls_per_caller" in world.errors()[0].message
    world.open("crm")
    assert len(world.calls) == 5
    world.finish("flood")
    world.open("flood")
    assert len(world.errors()) == 2, "a call that is over counts no more"
    assert world.calls.open_by_principal() == Counter(flood=4, crm=1)


# ── callers that go ──


def test_queued_calls_of_a_disconnected_caller_are_not_sent() -> None:
    calls = up(free=1, limit=10)
    for name in ("sent", "queued"):
        calls.open(Asker(name), "pbx1", action(calls, name), NOW)
    calls.open(Asker("other", connection="connection 2"), "pbx1", action(calls, "other"), NOW)
    ended, effects = calls.disconnected("connection 1")
    assert [(call.origin.request_id, call.sent) for call in ended] == [("sent", True), ("queued", False)]
    assert replies(effects) == []
    assert [send.message for send in sends(effects, Forget)] == [Forget(1)]
    assert (len(calls), calls.abandoned) == (1, 2)
    assert actions(report(calls, capacity(1, 1))) == ["other"]
    assert calls.answered(1, b"late", None, NOW) == []


def test_a_connection_without_calls_can_close() -> None:
    assert up().disconnected("connection 9") == ([], [])


def test_a_call_cancelled_in_the_queue_was_not_sent() -> None:
    calls = up(free=0)
    calls.open(Asker("a"), "pbx1", action(calls), NOW)
    ended, effects = calls.cancel(Asker("b"), "a")
    assert [call.sent for call in ended] == [False]
    assert (error(effects).kind, error(effects).sent) == ("cancelled", False)
    assert not sends(report(calls, capacity(1, 0)))


def test_a_call_cancelled_in_flight_may_have_run() -> None:
    calls = up(free=1)
    calls.open(Asker("a"), "pbx1", action(calls), NOW)
    ended, effects = calls.cancel(Asker("b"), "a")
    assert [call.sent for call in ended] == [True]
    assert (error(effects).kind, error(effects).sent) == ("cancelled", True)
    assert [send.message for send in sends(effects, Forget)] == [Forget(1)]


def test_only_calls_of_the_same_connection_can_be_cancelled() -> None:
    calls = up()
    calls.open(Asker("a"), "pbx1", action(calls), NOW)
    assert calls.cancel(Asker("b", connection="connection 2"), "a") == ([], [])
    assert calls.cancel(Asker("b", principal="token:web"), "a") == ([], []), "the gateway has one connection for all tokens"
    assert len(calls) == 1


# ── many at once ──


def test_simultaneous_failures_are_reported_in_portions() -> None:
    world = World(lanes=0, limit=3 * PORTION)
    world.open("a", 3 * PORTION)
    told = []
    while len(world.calls):
        assert world.calls.next_deadline() is not None
        told.append(len(replies(world.calls.tick(NOW + 5.0))))
    assert told == [PORTION] * 3
    assert world.calls.next_deadline() is None


def test_shutdown_reports_all_of_them() -> None:
    world = World(lanes=0, limit=3 * PORTION)
    world.open("a", 3 * PORTION)
    assert len(replies(world.calls.fail_all())) == 3 * PORTION


def seconds_to_fail(count: int) -> float:
    """For calls whose deadlines come in the reverse order of their opening, the slowest for a queue."""
    calls = Calls({"pbx1": count}, count, count, NOW)
    report(calls, status())
    for number in range(count):
        calls.open(Asker(str(number)), "pbx1", action(calls, deadline=NOW + 5.0 - number * 1e-6), NOW)
    began = time.process_time()
    while len(calls):
        calls.tick(NOW + 5.0)
    return time.process_time() - began


def test_returned_calls_take_the_time_of_their_number() -> None:
    """Sorting the 100,000 calls that wait takes 40 s; UserEvents are often returned."""
    world = World(lanes=16, limit=100_000)
    world.open("flood", 100_000)
    began = time.process_time()
    for _ in range(20):
        returned, world.on_lanes, world.handed = list(world.on_lanes), {}, []
        for call_id in returned:
            world.calls.returned(call_id)
        world.report()
        assert list(world.on_lanes) == returned, "in their order, at their old places"
    assert time.process_time() - began < 5


def test_simultaneous_failures_take_linear_time() -> None:
    """With the former deque, ten times as many took 40 to 100 times as long."""
    few = min(seconds_to_fail(1000) for _ in range(3))
    many = min(seconds_to_fail(10_000) for _ in range(3))
    assert many < 25 * few
