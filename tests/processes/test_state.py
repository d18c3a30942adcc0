"""The process `state` of a whole daemon: requests, subscriptions, a kill, and a PBX that
disconnects."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import zmq

from amid import wire
from amid.rpc.server_queue import SESSION_GRACE_S
from amid.simulator import SimulatedPbx
from amid.simulator.model import Member
from tests.bench.setting import daemon as before_generator
from tests.bench.setting import generator
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.pbx import simulated, table

LONG_S = 15.0


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


def state(daemon: Daemon, **params: Any) -> Any:
    return daemon.result("state", {"timeout": LONG_S, **params})


def call(daemon: Daemon) -> None:
    daemon.action("Originate", {"Channel": "Local/400@default", "Exten": "300", "Context": "default", "Priority": 1, "Async": True})


def test_a_server_is_followed_from_the_first_request(own_daemon: Daemon) -> None:
    daemon = own_daemon
    eventually(lambda: daemon.result("status")["services"] == {"state": {}}, "the process has connected, and follows no server")
    known = state(daemon)
    assert known["exact"] and (known["server"], known["epoch"]) == ("pbx1", daemon.server("pbx1")["epoch"])
    eventually(lambda: daemon.result("status")["services"]["state"]["pbx1"]["exact"], "status shows it")


def test_many_requests_do_not_collect_results(own_daemon: Daemon, pbx: SimulatedPbx) -> None:
    """Results waited for the broker without a limit."""
    pbx.pbx.queues["sales"].members += [Member("sales", f"Local/{n}@agents", f"Member {n}", 1.0) for n in range(5000)]
    assert len(state(own_daemon, kinds=["members"])["members"]) > 5000
    request = wire.pack({"id": 1, "method": "state", "params": {"kinds": ["members"], "timeout": 120}})
    with own_daemon.socket(zmq.DEALER) as reading:
        reading.connect(own_daemon.rpc)
        for _ in range(400):
            reading.send_multipart([b"", request])
        for _ in range(400):
            assert reading.poll(120_000), "every request is answered"
            reading.recv_multipart()
    assert own_daemon.peak_bytes("state") < 250e6


def test_watchers_of_quiet_kinds_do_not_stop_the_state() -> None:
    """Each searched all changes since its request again at every change, until the process was killed."""
    with generator(channels=1000) as port, before_generator(port) as daemon, daemon.socket(zmq.DEALER) as watcher:
        state(daemon, kinds=["conferences"])
        pid, seq = daemon.pid("state"), daemon.server("pbx1")["seq"]
        watcher.connect(daemon.rpc)
        for _ in range(2000):
            watcher.send_multipart(
                [b"", wire.pack({"id": 1, "method": "events", "params": {"kinds": ["conferences"], "timeout": 60}})]
            )
        daemon.action("Storm", {"Count": 30_000, "Rate": 10_000})
        eventually(lambda: state(daemon, kinds=["conferences"])["seq"] >= seq + 30_000, "the state has all events")
        assert (daemon.pid("state"), watcher.poll(0)) == (pid, 0)


def test_a_state_and_its_changes_give_the_next_state(daemon: Daemon) -> None:
    before = state(daemon, kinds=["queues", "members"])
    daemon.action("QueuePause", {"Queue": "support", "Interface": "PJSIP/alice", "Paused": "true", "Reason": "lunch"})
    cursor = {name: before[name] for name in ("epoch", "seq")}
    page = daemon.result("events", {"kinds": ["member"], "after": cursor, "timeout": LONG_S})
    (change,) = page["events"]
    assert (change["kind"], change["id"], change["seq"] > before["seq"]) == ("member", "support/PJSIP/alice", True)
    members = {one["id"]: one for one in before["members"]}
    members[change["id"]].update(change["set"])
    after = state(daemon, kinds=["members"])
    assert {one["id"]: one for one in after["members"]} == members and members[change["id"]]["paused_reason"] == "lunch"


def test_a_request_for_changes_ends_empty_after_its_timeout(daemon: Daemon) -> None:
    state(daemon)
    page = daemon.result("events", {"kinds": ["calls"], "timeout": 0.1})
    assert (page["events"], page["missed"], page["more"]) == ([], 0, False)


def test_a_list_that_the_rules_deny_is_not_requested(daemon: Daemon) -> None:
    """Each denial would be audited. A rule of a new configuration applies to the next session."""

    def detail() -> str:
        state(daemon)
        known = eventually(lambda: daemon.result("status")["services"]["state"].get("pbx1"), "status shows it")
        return str(known["detail"])

    eventually(lambda: "PJSIPShowRegistrationsOutbound: passwords" in detail(), "the detail names the rule")
    assert "answers_denied" not in daemon.result("status")["counters"]
    pid = daemon.pid("state")
    rights = {"allow": ["*", "PJSIPShowRegistrationsOutbound: passwords"]}
    daemon.configure(daemon.servers, supervision={"silence": 1.5}, callers__local=rights)
    daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: "applied" in daemon.log.read_text(), "the configuration is applied")
    daemon.kill("reader pbx1")
    eventually(lambda: not detail(), "the list is requested")
    assert daemon.pid("state") == pid


def test_conditions(daemon: Daemon) -> None:
    found = state(daemon, kinds=["members"], where={"name": "Alice Martin"})["members"]
    assert [one["interface"] for one in found] == ["PJSIP/alice"]
    refused = {"nonsense": "not a condition", "nam=Alice": "no member 'nam': a member has id, queue, interface"}
    for where, why in (*refused.items(), ({"name": 10**30}, "64 bits")):
        error = daemon.request("state", {"kinds": ["members"], "where": where, "timeout": LONG_S})["error"]
        assert error["data"]["kind"] == "invalid_params" and why in error["message"]


def test_null_is_no_condition(daemon: Daemon) -> None:
    assert state(daemon, kinds=None, where=None).keys() == state(daemon).keys()


def test_a_request_is_for_events_or_for_changes(daemon: Daemon) -> None:
    error = daemon.request("events", {"kinds": ["calls"], "names": ["Hangup"], "timeout": 0})["error"]
    assert error["data"]["kind"] == "invalid_params" and "not both" in error["message"]


def test_changes_by_subscription(daemon: Daemon) -> None:
    with daemon.socket(zmq.SUB) as subscriber:
        for topic in (b"state.pbx1.member.", b"tick.pbx1."):
            subscriber.subscribe(topic)
        subscriber.connect(f"ipc://{daemon.run_dir}/state-pbx1")
        received: list[tuple[bytes, list[dict[str, Any]]]] = []

        def receive() -> None:
            while subscriber.poll(0):
                topic, body = subscriber.recv_multipart()
                received.append((topic, wire.unpack(body)))

        def ticked() -> bool:
            receive()
            return any(topic == b"tick.pbx1." for topic, _ in received)

        eventually(ticked, "the subscription is in effect")
        state(daemon)
        daemon.action("QueuePause", {"Queue": "support", "Interface": "PJSIP/bob", "Paused": "true"})

        def changed() -> list[dict[str, Any]]:
            receive()
            deltas = [delta for topic, of in received if topic == b"state.pbx1.member." for delta in of]
            return [delta for delta in deltas if "paused" in delta.get("set", {})]

        delta = eventually(
            lambda: [one for one in changed() if one["id"] == "support/PJSIP/bob" and one["set"]["paused"]], "the change arrives"
        )[-1]
        assert {"server", "epoch", "seq", "rev"} <= delta.keys()


def test_a_subscriber_to_all_kinds_receives_the_changes_in_order(daemon: Daemon) -> None:
    """It detects a loss by `rev`, which counts the changes of all kinds."""
    state(daemon)
    with daemon.socket(zmq.SUB) as subscriber:
        subscriber.subscribe(b"state.pbx1.")
        subscriber.connect(f"ipc://{daemon.run_dir}/state-pbx1")
        revs: list[int] = []

        def received() -> int:
            while subscriber.poll(0):
                revs.extend(delta["rev"] for delta in wire.unpack(subscriber.recv_multipart()[1]))
            return len(revs)

        def enough() -> bool:
            call(daemon)
            return received() > 100

        eventually(enough, "calls change channels, calls and bridges")
    assert revs == list(range(revs[0], revs[0] + len(revs)))


def test_the_successor_of_a_killed_state_process_loads_the_state(daemon: Daemon) -> None:
    state(daemon)
    pid = daemon.kill("state")
    eventually(lambda: daemon.pid("state") not in (0, pid), "a successor runs")
    eventually(lambda: state(daemon)["exact"], "it answers", 30.0)


def test_a_pbx_that_disconnects_and_reconnects(daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        before = state(daemon)
        began = time.monotonic()
    eventually(lambda: daemon.request("state")["error"]["data"]["kind"] == "not_connected", "it is disconnected")
    assert time.monotonic() >= began + SESSION_GRACE_S  # a request waits for a new session, as an action does
    assert "pbx1" in daemon.request("state")["error"]["message"]
    with simulated(pbx.port):
        daemon.wait_up("pbx1")
        after = eventually(lambda: state(daemon), "the state is available")
    assert after["epoch"] > before["epoch"] and after["exact"]
    cursor = {name: before[name] for name in ("epoch", "seq")}
    assert daemon.result("events", {"kinds": ["channels"], "after": cursor, "timeout": 0})["missed"] is None


def test_an_unknown_server(daemon: Daemon) -> None:
    assert daemon.request("state", {"server": "pbx9"})["error"]["data"]["kind"] == "unknown_server"


def test_a_cursor_of_a_killed_state_process_is_a_loss(daemon: Daemon) -> None:
    before = state(daemon, kinds=["members"])
    pid = daemon.signal("state", signal.SIGKILL)
    eventually(lambda: daemon.pid("state") not in (0, pid), "a successor runs")
    cursor = {name: before[name] for name in ("epoch", "seq", "rev")}

    def missed() -> bool:
        answer = daemon.request("events", {"kinds": ["members"], "after": cursor, "timeout": LONG_S})
        return "result" in answer and answer["result"]["missed"] is None

    eventually(missed, "the answer reports the loss")
