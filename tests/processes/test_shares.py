"""The share of one caller: its calls end with its connection, and its slow actions and floods do
not delay others."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from amid import wire
from amid.simulator import SimulatedPbx
from amid.simulator.model import Member
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.conftest import Lend
from tests.processes.pbx import arm, table
from tests.processes.process import Listener

MANY = 8000
"""Calls; their failing takes the broker some tenths of a second."""
SLOW = {"action": "UserEvent", "fields": {"UserEvent": "Slow"}, "until": "NeverComes", "timeout": 3600}


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


def counters(daemon: Daemon) -> dict[str, int]:
    found: dict[str, int] = daemon.result("status")["counters"]
    return found


def open_calls(daemon: Daemon) -> int:
    return counters(daemon)["open_calls"]


def test_calls_end_with_their_caller(daemon: Daemon, caller: Caller) -> None:
    before = counters(daemon).get("abandoned_calls", 0)
    with Caller(daemon) as leaving:
        numbers = [leaving.send("action", SLOW) for _ in range(500)]
        eventually(lambda: open_calls(daemon) == len(numbers), "all of its calls wait")
    eventually(lambda: open_calls(daemon) == 0, "its calls have ended")
    assert counters(daemon)["abandoned_calls"] == before + len(numbers)
    assert caller.result(caller.action("Ping"))["response"]["Ping"] == "Pong"


def test_calls_of_a_connected_caller_are_kept(daemon: Daemon, caller: Caller) -> None:
    """Short connections reuse the same descriptors."""
    number = caller.action("UserEvent", {"UserEvent": "Answer"}, until="UserEvent", timeout=60)
    stays = caller.send("action", SLOW)
    for _ in range(100):
        with Caller(daemon) as visitor:
            visitor.send("action", SLOW)
            visitor.result(visitor.send("ping"))
    eventually(lambda: open_calls(daemon) == 1, "only the call of the one that stayed is open")
    assert caller.result(number)["until"]["UserEvent"] == "Answer"
    assert caller.result(caller.send("cancel", {"id": stays})) == {"cancelled": 1, "sent": True}


def test_queued_calls_of_a_disconnected_caller_are_not_sent(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, lanes=1)})
    with Listener(daemon, "pbx1") as listener, Caller(daemon) as bystander:
        arm(daemon, "delay", "ListCommands", Seconds=1.0)
        with Caller(daemon) as leaving:
            leaving.action("ListCommands")
            for _ in range(8):
                leaving.action("UserEvent", {"UserEvent": "Abandoned"})
            eventually(lambda: open_calls(daemon) == 9, "one is in flight, and eight wait")
        eventually(lambda: open_calls(daemon) == 0, "its calls have ended")
        bystander.result(bystander.action("UserEvent", {"UserEvent": "Mine"}))

        def user_events() -> list[str]:
            listener.heard()
            return [event["fields"]["UserEvent"] for event in listener.events if event["event"] == "UserEvent"]

        assert eventually(user_events, "the first event") == ["Mine"]


# ── cancel ──


def test_cancel_ends_a_call_and_says_whether_it_was_sent(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, lanes=1)})
    with Caller(daemon) as caller, Caller(daemon) as other:
        arm(daemon, "delay", "ListCommands", Seconds=5.0)
        in_flight = caller.action("ListCommands", timeout=60)
        queued = caller.action("Ping", timeout=60)
        assert other.result(other.send("cancel", {"id": queued})) == {"cancelled": 0, "sent": False}, "it is another's"
        assert caller.result(caller.send("cancel", {"id": queued})) == {"cancelled": 1, "sent": False}
        assert caller.failure(queued) == ("cancelled", False)
        assert caller.result(caller.send("cancel", {"id": in_flight})) == {"cancelled": 1, "sent": True}
        assert caller.failure(in_flight) == ("cancelled", True)
        assert caller.result(caller.send("cancel", {"id": in_flight})) == {"cancelled": 0, "sent": False}, "it is over"


# ── shares ──


def test_slow_actions_of_one_caller_do_not_delay_another(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, lanes=2)})
    with Caller(daemon, "slow") as slow, Caller(daemon, "crm") as crm:
        arm(daemon, "delay", "CoreStatus", Seconds=30.0, Count=2)
        numbers = [slow.action("CoreStatus", timeout=60) for _ in range(2)]
        eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 2, "it has both lanes")
        more = [slow.action("Ping", timeout=60) for _ in range(50)]
        assert crm.result(crm.action("Ping", timeout=10))["response"]["Ping"] == "Pong"
        slow.socket.close()
    assert numbers and more


def test_simultaneous_failures_do_not_delay_another_caller(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """Their server is removed from the configuration. Other callers are served between two portions
    of the failures."""
    servers = {"pbx1": table(pbx), "pbx2": table(pbx, queue=MANY)}
    daemon = daemon_for(servers, rpc={"max_calls_per_caller": MANY})
    with Caller(daemon) as flooding, Caller(daemon) as asking:
        for _ in range(MANY):
            flooding.send("action", {**SLOW, "server": "pbx2"})
        eventually(lambda: open_calls(daemon) == MANY, "all of them wait")
        daemon.configure({"pbx1": servers["pbx1"]}, rpc={"max_calls_per_caller": MANY})
        daemon.signal("supervisor", signal.SIGHUP)
        told = [0]
        while told[-1] < MANY:
            now = asking.result(asking.send("status"))["counters"]
            told.append(now.get("answers_connection_lost", 0) + now.get("answers_not_connected", 0))
        assert len({count for count in told if 0 < count < MANY}) >= 3, told[-5:]


def test_open_calls_of_a_caller_are_limited(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, rpc={"max_calls": 20, "max_calls_per_caller": 10})
    with Caller(daemon, "greedy") as greedy, Caller(daemon, "crm") as crm:
        numbers = [greedy.send("action", SLOW) for _ in range(15)]
        assert {greedy.failure(number) for number in numbers[10:]} == {("busy", False)}
        assert "max_calls_per_caller" in greedy.reply(numbers[-1])["error"]["message"]
        crm.result(crm.action("Ping"))
        assert daemon.result("status")["callers"][0] == {"name": "token:greedy", "open_calls": 10}


def test_a_flood_of_requests_for_the_state_does_not_delay_another_caller(own_daemon: Daemon, pbx: SimulatedPbx) -> None:
    pbx.pbx.queues["sales"].members += [Member("sales", f"Local/{n}@agents", f"Member {n}", 1.0) for n in range(2000)]
    own_daemon.result("state", {"timeout": 60})
    with Caller(own_daemon, "greedy") as greedy, Caller(own_daemon, "crm") as crm:
        numbers = [greedy.send("state", {"kinds": ["members"], "timeout": 120}) for _ in range(200)]
        greedy.reply(numbers[0])
        crm.result(crm.send("state", {"kinds": ["conferences"]}))
        before = own_daemon.result("status")["callers"]
        assert before[0]["name"] == "token:greedy" and before[0]["open_calls"] > 100
        assert len(greedy.result(numbers[-1])["members"]) > 2000


# ── large answers in JSON ──


def pings_until_it_comes(caller: Caller, reading: Caller) -> tuple[float, dict[str, Any]]:
    """The longest ping of `caller` until `reading` has its answer, which is JSON."""
    longest = 0.0
    while not reading.socket.poll(0):
        began = time.monotonic()
        caller.result(caller.send("ping"))
        longest = max(longest, time.monotonic() - began)
    return longest, wire.unpack_json(reading.socket.recv_multipart()[-1])


def test_a_large_json_answer_does_not_delay_others(own_daemon: Daemon, pbx: SimulatedPbx) -> None:
    """The broker took 1.5 s to turn one of 10 MB from MessagePack into JSON."""
    pbx.pbx.queues["sales"].members += [Member("sales", f"Local/{n}@agents", f"Member {n}", 1.0) for n in range(20_000)]
    with Caller(own_daemon) as caller, Caller(own_daemon) as reading:
        asked = reading.action("QueueStatus", {"Queue": "sales"}, timeout=120)
        longest, answer = pings_until_it_comes(caller, reading)
    assert answer["id"] == asked and len(answer["result"]["events"]) > 20_000
    assert longest < 0.5


def test_a_json_page_of_events_is_bounded_and_does_not_delay_others(daemon: Daemon, caller: Caller) -> None:
    start = daemon.result("events", {"timeout": 0})
    epoch, seq = start["epoch"], start["seq"]
    caller.result(caller.action("SimFault", {"Kind": "burst", "Count": 20_000}))
    eventually(lambda: daemon.server("pbx1")["seq"] >= seq + 20_000, "the events came")
    with Caller(daemon) as reading:
        asked = reading.send("events", {"after": {"epoch": epoch, "seq": seq}, "limit": 10_000})
        longest, answer = pings_until_it_comes(caller, reading)
    page = answer["result"]
    assert answer["id"] == asked and page["more"] is True and 2000 < len(page["events"]) < 10_000, "a page ends after 1 MiB"
    assert [event["seq"] for event in page["events"]] == list(range(seq + 1, page["seq"] + 1))
    assert longest < 0.5
