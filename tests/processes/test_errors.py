"""Every kind of error, end to end, with a correct `sent`; a misbehaving PBX affects only the call
that it answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from amid.simulator import SimulatedPbx, User
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import SECRET, arm, simulated, table

LATE_S = 0.5
"""Over a deadline: 50 ms are promised, and the machine may be busy."""


@pytest.fixture
def shared(shared_daemon: Daemon) -> Daemon:
    return shared_daemon


def counters(daemon: Daemon) -> dict[str, int]:
    """The broker's and the server's in one."""
    status = daemon.result("status")
    return {**status["counters"], **status["servers"][0]["counters"]}


def kind_and_sent(failure: dict[str, Any]) -> tuple[str, bool]:
    return failure["data"]["kind"], failure["data"]["sent"]


def works(daemon: Daemon) -> None:
    """Several calls in a row get their own answers."""
    for number in range(6):
        value = f"value {number}"
        daemon.action("DBPut", {"Family": "test", "Key": "k", "Val": value})
        assert daemon.action("DBGet", {"Family": "test", "Key": "k"})["events"][0]["Val"] == value


def test_action_failed_has_asterisks_message(shared: Daemon) -> None:
    failure = shared.failure("NoSuchThing", {"ActionID": "mine"})
    assert kind_and_sent(failure) == ("action_failed", True)
    assert failure["code"] == 1
    assert failure["data"]["server"] == "pbx1"
    assert failure["data"]["response"]["Response"] == "Error"
    assert failure["data"]["response"]["ActionID"] == "mine"
    assert failure["data"]["response"]["Message"] in failure["message"]


def test_a_missing_right_of_the_manager_user_has_advice(daemon_for: StartDaemon) -> None:
    with SimulatedPbx(users=[User("amid", SECRET, write="system")]) as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        message = daemon.failure("QueuePause", {})["message"]
        assert "Permission denied; add the action's class to `write`" in message and "`manager show command ACTION`" in message


def test_an_unanswered_action_times_out_and_may_have_run(shared: Daemon) -> None:
    arm(shared, "silence", "CoreStatus")
    began = time.monotonic()
    failure = shared.failure("CoreStatus", timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 0.3 + LATE_S
    assert kind_and_sent(failure) == ("timeout", True)
    assert failure["data"]["action_id"].startswith("amid-")
    works(shared)


def test_a_queued_call_times_out_unsent_and_never_runs(daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        seen: list[str] = []
        pbx.pbx.subscribe(lambda event: seen.append(event.raw.decode()))
        daemon = daemon_for({"pbx1": table(pbx, lanes=1)})
        with Caller(daemon) as caller:
            arm(daemon, "delay", "ListCommands", Seconds=0.8)
            slow = caller.action("ListCommands")
            queued = caller.action("UserEvent", {"UserEvent": "TooLate"}, timeout=0.2)
            assert caller.failure(queued) == ("timeout", False)
            assert "result" in caller.reply(slow)
            caller.result(caller.action("UserEvent", {"UserEvent": "InTime"}))
        eventually(lambda: any("InTime" in event for event in seen), "the later action was carried out")
        assert not any("TooLate" in event for event in seen)


def test_a_late_answer_is_counted_and_dropped(shared: Daemon) -> None:
    late = counters(shared)["late_packets"]
    arm(shared, "delay", "CoreStatus", Seconds=0.5)
    assert kind_and_sent(shared.failure("CoreStatus", timeout=0.1)) == ("timeout", True)
    works(shared)
    eventually(lambda: counters(shared)["late_packets"] == late + 1, "the late answer was counted")
    works(shared)


def test_a_closed_session_loses_its_action_and_later_ones_work(shared: Daemon) -> None:
    arm(shared, "close", "CoreStatus")
    failure = shared.failure("CoreStatus")
    assert kind_and_sent(failure) == ("connection_lost", True)
    assert failure["data"]["action_id"]
    works(shared)


def _busy_and_queued(daemon: Daemon) -> tuple[int, int]:
    view = daemon.server("pbx1")
    return view["lanes"]["busy"], view["queued"]


def test_a_full_queue_is_busy(shared: Daemon) -> None:
    with Caller(shared) as caller:
        arm(shared, "delay", "ListCommands", Seconds=0.5, Count=2)
        in_flight = [caller.action("ListCommands") for _ in range(2)]
        eventually(lambda: _busy_and_queued(shared) == (2, 0), "both lanes are busy with them")
        queued = [caller.action("Ping") for _ in range(3)]
        eventually(lambda: shared.server("pbx1")["queued"] == 3, "the queue is full")
        assert caller.failure(caller.action("Ping")) == ("busy", False)
        assert all("result" in caller.reply(number) for number in in_flight + queued)


def test_a_slow_action_delays_no_other_while_a_lane_is_free(shared: Daemon) -> None:
    with Caller(shared) as caller:
        arm(shared, "delay", "CoreStatus", Seconds=1.5)
        began = time.monotonic()
        slow = caller.action("CoreStatus")
        works(shared)
        assert time.monotonic() - began < 1.5
        assert caller.result(slow)["elapsed"] >= 1.5


def test_unknown_server(shared: Daemon) -> None:
    failure = shared.failure("Ping", server="pbx2")
    assert kind_and_sent(failure) == ("unknown_server", False)
    assert "pbx1" in failure["message"]


def test_garbage_before_an_answer_is_dropped(shared: Daemon) -> None:
    arm(shared, "garbage", "CoreStatus")
    assert shared.action("CoreStatus")["response"]["Response"] == "Success"
    works(shared)


def test_a_duplicate_answer_is_dropped(shared: Daemon) -> None:
    late = counters(shared)["late_packets"]
    arm(shared, "duplicate", "CoreStatus")
    assert shared.action("CoreStatus")["response"]["Response"] == "Success"
    works(shared)
    eventually(lambda: counters(shared)["late_packets"] == late + 1, "the second one is counted")


def test_an_answer_with_an_unknown_id_is_dropped(shared: Daemon) -> None:
    unknown = counters(shared)["unknown_packets"]
    arm(shared, "wrong_actionid", "CoreStatus")
    assert kind_and_sent(shared.failure("CoreStatus", timeout=0.2)) == ("timeout", True)
    works(shared)
    eventually(lambda: counters(shared)["unknown_packets"] == unknown + 1, "it is counted")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Small answers only, and no Originate for those on the ipc socket. Shared: leave it as it was."""
    with simulated() as pbx:
        servers = {"pbx1": table(pbx, max_reply_bytes=2048, deny=["Command"])}
        with closing(Daemon(tmp_path_factory.mktemp("amid"), servers, callers__local={"deny": ["Originate"]})) as daemon:
            yield daemon.start()


def test_limits_and_rights_of_the_configuration(strict: Daemon) -> None:
    failure = strict.failure("ListCommands")
    assert kind_and_sent(failure) == ("too_large", True)
    assert "max_reply_bytes" in failure["message"]
    for action, where in (("originate", "[callers.local]"), ("Command", "[servers.pbx1]")):
        failure = strict.failure(action)
        assert kind_and_sent(failure) == ("denied", False)
        assert where in failure["message"]
    for method, params in {"restart": {"server": "pbx1"}, "audit": {}}.items():
        error = strict.request(method, params)["error"]
        assert kind_and_sent(error) == ("denied", False)
        assert "admin = true in [callers.local]" in error["message"]
    works(strict)


def test_an_endless_line_fails_only_its_call_in_bounded_memory(strict: Daemon) -> None:
    arm(strict, "endless_line", "CoreStatus", Size=5_000_000)
    kind, sent = kind_and_sent(strict.failure("CoreStatus", timeout=1.0))
    assert kind in ("too_large", "timeout", "connection_lost") and sent
    works(strict)


def test_not_connected_has_the_reason_until_the_pbx_is_back(daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        port = pbx.port
    with Caller(daemon) as caller:
        waiting = caller.action("Ping", timeout=20)
        assert caller.failure(waiting) == ("not_connected", False)
        began = time.monotonic()
        refused = caller.action("Ping")
        assert caller.failure(refused) == ("not_connected", False)
        assert "refused" in caller.reply(refused)["error"]["message"].lower()
        assert time.monotonic() - began < LATE_S, "calls do not wait for a PBX that has been away for long"
        with simulated(port):
            daemon.wait_up("pbx1")
            assert "result" in caller.reply(caller.action("Ping"))


def test_calls_wait_through_a_short_disconnection(daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        port = pbx.port
    with Caller(daemon) as caller:
        waiting = caller.action("Ping")
        with simulated(port):
            assert "result" in caller.reply(waiting)
