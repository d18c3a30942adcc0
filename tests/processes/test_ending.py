"""SIGTERM: open calls are answered, new ones refused, sessions logged off, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from amid.simulator import actions
from amid.simulator.session import Session
from amid.simulator.wire import Request
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import arm, simulated, table
from tests.processes.process import alive, pids, sockets, stop
from tests.processes.zmtp import MORE, RawPeer, frame
from tests.simulator import faults


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the actions that the PBX of this test was asked for."""
    names: list[str] = []

    def act(session: Session, request: Request) -> None:
        names.append(request.get("Action"))
        actions.act(session, request)

    monkeypatch.setattr(faults, "act", act)
    return names


@pytest.fixture
def ending(carried_out: list[str], daemon_for: StartDaemon) -> Iterator[Daemon]:
    """A daemon that drains for three seconds at most."""
    with simulated() as pbx:
        yield daemon_for({"pbx1": table(pbx, lanes=2)}, supervision={"drain": 3.0})


def ended(daemon: Daemon, before: dict[str, int], bound: float) -> None:
    """It ends in time with status 0 and leaves no process and no socket."""
    assert daemon.process is not None
    began = time.monotonic()
    assert daemon.process.wait(BOUND_S) == 0, daemon.log.read_text()[-2000:]
    assert time.monotonic() - began < bound
    assert not any(map(alive, before.values()))
    assert sockets(daemon) == []
    assert not (daemon.run_dir / "status.json").exists()
    assert "SIGKILL" not in daemon.log.read_text()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_at_shutdown_open_calls_are_answered_new_ones_refused_and_sessions_logged_off(
    ending: Daemon, carried_out: list[str], how: signal.Signals
) -> None:
    before = pids(ending)
    arm(ending, "delay", "CoreStatus", Seconds=2.2)  # longer than a reader alone would wait
    with Caller(ending) as caller:
        in_flight = caller.action("CoreStatus")
        eventually(lambda: ending.server("pbx1")["lanes"]["busy"] == 1, "it is in flight")
        sessions = 1 + ending.server("pbx1")["lanes"]["free"] + 1
        ending.signal("supervisor", how)
        eventually(lambda: "no new calls" in ending.log.read_text(), "the broker was told")
        refused = caller.action("Ping")
        assert caller.failure(refused) == ("not_connected", False)
        assert "ending" in caller.reply(refused)["error"]["message"]
        assert "result" in caller.reply(in_flight)
    ended(ending, before, bound=4.0)
    assert carried_out.count("Logoff") == sessions


def test_requests_that_have_arrived_at_shutdown_are_answered(ending: Daemon) -> None:
    """The broker takes a few in each pass, and may have no open call."""
    before = pids(ending)
    with RawPeer(ending.run_dir / "rpc") as caller:
        stop(before["broker"])
        os.kill(before["supervisor"], signal.SIGTERM)
        eventually(lambda: "ending" in ending.log.read_text(), "the supervisor ends")
        requests = (b'{"id": %d, "method": "action", "params": {"action": "Ping"}}' % number for number in range(300))
        caller.socket.sendall(b"".join(frame(b"", MORE) + frame(request) for request in requests))
        os.kill(before["broker"], signal.SIGCONT)
        answers = [json.loads(caller.receive()[1]) for _ in range(300)]
    assert sorted(answer["id"] for answer in answers) == list(range(300))
    ended(ending, before, bound=4.0)


def test_a_stuck_call_does_not_delay_shutdown_and_gets_an_error(ending: Daemon) -> None:
    before = pids(ending)
    arm(ending, "silence", "CoreStatus")
    with Caller(ending) as caller:
        stuck = caller.action("CoreStatus", timeout=60)
        eventually(lambda: ending.server("pbx1")["lanes"]["busy"] == 1, "it is in flight")
        ending.signal("supervisor", signal.SIGTERM)
        assert caller.failure(stuck) == ("connection_lost", True)
    ended(ending, before, bound=6.0)
    assert "the supervisor was away" not in ending.log.read_text(), "each pass took the last check of run_dir for its deadline"


def test_a_lane_that_is_not_logged_in_yet_has_not_failed(ending: Daemon) -> None:
    before = pids(ending)
    arm(ending, "silence", "Login")
    arm(ending, "delay", "CoreStatus", Seconds=0.5)
    with Caller(ending) as caller:
        slow = [caller.action("CoreStatus") for _ in range(2)]
        eventually(lambda: ending.server("pbx1")["queued"] == 1, "a lane is being opened for the second one")
        caller.reply(slow[0])
        ending.signal("supervisor", signal.SIGTERM)
    ended(ending, before, bound=6.0)
    assert "cannot open an action session" not in ending.log.read_text()


def test_an_idle_daemon_ends_at_once(ending: Daemon, carried_out: list[str]) -> None:
    before = pids(ending)
    ending.signal("supervisor", signal.SIGTERM)
    ended(ending, before, bound=2.9)  # less than the time for open calls
    assert carried_out.count("Logoff") == 2


def test_a_stopped_child_does_not_delay_shutdown(ending: Daemon) -> None:
    before = pids(ending)
    stop(before["reader pbx1"])
    ending.signal("supervisor", signal.SIGTERM)
    assert ending.process is not None
    assert ending.process.wait(6.0) == 0
    assert not any(map(alive, before.values()))
    assert sockets(ending) == []


def test_files_of_other_programs_in_run_dir_are_not_touched(ending: Daemon) -> None:
    """Users may set run_dir to a shared directory."""
    import socket

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(ending.run_dir / "other.sock"))
        (ending.run_dir / "notes").write_text("mine")
        assert ending.stop() == 0
        assert sockets(ending) == ["other.sock"]
        assert (ending.run_dir / "notes").exists()
