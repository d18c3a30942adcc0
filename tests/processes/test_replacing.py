"""A process that hangs or dies is replaced; the others continue, and every caller gets a correct
reply."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import zmq

from amid.simulator import SimulatedPbx, User
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import SECRET, arm, table
from tests.processes.process import Listener, alive, pids, stop


def replaced(daemon: Daemon, name: str, old: int) -> int:
    def successor() -> int:
        pid = daemon.pid(name)
        return pid if pid not in (0, old) else 0

    return eventually(successor, f"{name} was replaced")


@pytest.fixture
def lane(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Iterator[tuple[Daemon, Caller]]:
    """A daemon with one lane, and a caller of it."""
    daemon = daemon_for({"pbx1": table(pbx, lanes=1)}, supervision={"silence": 1.0})
    with Caller(daemon) as caller:
        yield daemon, caller


@pytest.fixture
def busy(daemon_for: StartDaemon) -> Iterator[Daemon]:
    """A daemon whose PBX has calls going on."""
    with SimulatedPbx(users=[User("amid", SECRET)], calls_per_minute=1200) as pbx:
        yield daemon_for({"pbx1": table(pbx)}, supervision={"silence": 1.0})


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=lambda how: how.name)
def test_a_failed_reader_loses_only_open_actions(lane: tuple[Daemon, Caller], how: signal.Signals) -> None:
    daemon, caller = lane
    before = pids(daemon)
    arm(daemon, "silence", "ListCommands")
    in_flight = caller.action("ListCommands")
    eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 1, "it is in flight")
    queued = caller.action("Ping")
    eventually(lambda: daemon.server("pbx1")["queued"] == 1, "another one waits")
    os.kill(before["reader pbx1"], how)
    assert caller.failure(in_flight) == ("connection_lost", True)
    assert caller.result(queued)["response"]["Ping"] == "Pong"
    after = pids(daemon)
    assert not alive(before["reader pbx1"])
    assert after["reader pbx1"] != before["reader pbx1"]
    assert {name: pid for name, pid in after.items() if name != "reader pbx1"} == {
        name: pid for name, pid in before.items() if name != "reader pbx1"
    }
    reader = daemon.processes()["reader pbx1"]
    reason = ": its event loop sent no beat" if how is signal.SIGSTOP else ""
    assert (reader["restarts"], reader["last_exit"]) == (1, f"signal SIGKILL{reason}")


def test_a_restarted_reader_that_does_not_end_is_killed(daemon: Daemon, caller: Caller) -> None:
    pid = daemon.pid("reader pbx1")
    stop(pid)
    caller.result(caller.send("restart", {"server": "pbx1"}))
    replaced(daemon, "reader pbx1", pid)
    assert daemon.processes()["reader pbx1"]["last_exit"] == "signal SIGKILL: it did not end after SIGTERM"


def test_calls_during_a_hanging_reader_run_in_the_next_one(daemon: Daemon, caller: Caller) -> None:
    stop(daemon.pid("reader pbx1"))
    time.sleep(1.3)  # until the broker has not heard the reader for over FRESH_S
    numbers = [caller.action("Ping") for _ in range(50)]
    assert all(caller.result(number)["response"]["Ping"] == "Pong" for number in numbers)


def _has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_call_right_after_a_readers_death_waits_for_the_next_reader(daemon: Daemon, caller: Caller) -> None:
    """The broker learns of the reader's end before it processes the request, and the call waits for
    the next reader."""
    for _ in range(3):
        arm(daemon, "delay", "CoreStatus", Seconds=0.2, Count=2)
        assert all("result" in caller.reply(number) for number in [caller.action("CoreStatus") for _ in range(2)])
        eventually(lambda: daemon.server("pbx1")["lanes"]["free"] >= 2, "there would be a lane to try it on again")
        pid = daemon.signal("reader pbx1", signal.SIGKILL)
        eventually(partial(_has_ended, pid), "it is dead, with all its threads")
        assert "result" in caller.reply(caller.action("Ping"))
        replaced(daemon, "reader pbx1", pid)
        daemon.wait_up("pbx1")


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=lambda how: how.name)
def test_a_failed_broker_is_replaced_and_events_continue(busy: Daemon, how: signal.Signals) -> None:
    before = pids(busy)
    with Listener(busy, "pbx1") as listener:
        listener.more(10)
        os.kill(before["broker"], how)
        listener.more(20)
        assert not alive(before["broker"]) or how is signal.SIGSTOP

        def back() -> bool:
            listener.heard()
            return "result" in busy.request("action", {"action": "Ping"}, wait=0.5)

        eventually(back, "calls work again")
        after = pids(busy)
        listener.more(10)
    assert after["broker"] != before["broker"] and not alive(before["broker"])
    assert after["reader pbx1"] == before["reader pbx1"]
    assert listener.gaps() == 0


def test_restart_replaces_a_reader_without_losing_calls(daemon: Daemon, caller: Caller) -> None:
    pid = daemon.pid("reader pbx1")
    arm(daemon, "delay", "CoreStatus", Seconds=0.3)
    in_flight = caller.action("CoreStatus")
    eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 1, "it is in flight")
    assert caller.result(caller.send("restart", {"server": "pbx1"})) == {"server": "pbx1"}
    numbers = [caller.action("Ping") for _ in range(20)]
    assert "result" in caller.reply(in_flight), "what was in flight was waited for"
    assert all("result" in caller.reply(number) for number in numbers)
    replaced(daemon, "reader pbx1", pid)
    assert daemon.processes()["reader pbx1"]["last_exit"] == "status 0"


@pytest.mark.alone
def test_a_crashing_reader_is_restarted_with_back_off(daemon: Daemon) -> None:
    pid = 0
    for _ in range(4):
        pid = replaced(daemon, "reader pbx1", pid)
        os.kill(pid, signal.SIGKILL)
    said = re.compile(r"reader pbx1 ended \(signal SIGKILL\); starting it again in ([0-9.]+) s")
    eventually(lambda: len(said.findall(daemon.log.read_text())) == 4, "the log says when the next one starts")
    delays = said.findall(daemon.log.read_text())
    for number, delay in enumerate(map(float, delays)):
        assert 0.05 * 2**number - 0.06 <= delay <= 0.1 * 2**number + 0.06, delays
    daemon.wait_up("pbx1")


def test_a_suspended_supervisor_kills_no_child_for_that_time(daemon: Daemon, caller: Caller) -> None:
    before = pids(daemon)
    stop(before["supervisor"])
    end = time.monotonic() + 3.0  # three times the silence that costs a child its life
    while time.monotonic() < end:
        assert "result" in caller.reply(caller.action("Ping")), "nothing passes through the supervisor"
        time.sleep(0.05)
    os.kill(before["supervisor"], signal.SIGCONT)
    eventually(lambda: "supervisor was suspended for" in daemon.log.read_text(), "it noticed")
    number = caller.send("restart", {"server": "pbx1"})
    assert caller.result(number)
    replaced(daemon, "reader pbx1", before["reader pbx1"])  # so it watches again, and has killed no process
    assert daemon.processes()["reader pbx1"]["last_exit"] == "status 0"
    assert daemon.pid("broker") == before["broker"]


@pytest.mark.parametrize("stopped", [False, True], ids=["all run", "a reader is stopped"])
def test_all_processes_end_with_a_killed_supervisor_and_the_next_start_is_clean(daemon: Daemon, stopped: bool) -> None:
    before = pids(daemon)
    if stopped:
        stop(before["reader pbx1"])
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(BOUND_S)
    eventually(lambda: not any(map(alive, before.values())), "no process is left", bound=1.0)
    left = {file.name for file in daemon.run_dir.iterdir()}
    assert {"rpc", "events-pbx1", "stream-pbx1"} <= left, "it had no chance to tidy up"  # Python 3.13 removes `readers`
    daemon.start()
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert not set(pids(daemon).values()) & set(before.values())


def test_a_subscriber_reconnects_to_a_new_reader_and_sees_a_new_epoch(busy: Daemon) -> None:
    with Listener(busy, "pbx1") as listener:
        listener.more(5)
        epoch = listener.events[-1]["epoch"]
        busy.signal("reader pbx1", signal.SIGSTOP)
        eventually(lambda: listener.heard() and listener.events[-1]["epoch"] > epoch, "events of a new epoch")
        listener.more(5)
    assert listener.gaps() == 1, "but for the change of the epoch, nothing is missing"


def test_a_client_socket_survives_the_broker(daemon: Daemon) -> None:
    with daemon.socket(zmq.DEALER) as socket:
        socket.connect(daemon.rpc)
        old = daemon.signal("broker", signal.SIGKILL)
        replaced(daemon, "broker", old)

        def answered() -> bool:
            socket.send_multipart([b"", b'{"id": 1, "method": "ping"}'])
            return bool(socket.poll(200))

        eventually(answered, "the same socket reaches the new broker")
