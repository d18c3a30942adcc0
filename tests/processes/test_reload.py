"""SIGHUP: changed parts are restarted, others continue, and an invalid file changes nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import arm, simulated, table
from tests.processes.process import alive, pids


@pytest.fixture
def other() -> Iterator[SimulatedPbx]:
    with simulated() as pbx:
        yield pbx


@pytest.fixture
def two(daemon_for: StartDaemon, pbx: SimulatedPbx, other: SimulatedPbx) -> Daemon:
    return daemon_for({"pbx1": table(pbx), "pbx2": table(other)})


@pytest.fixture(scope="module")
def module_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, dict[str, int]]]:
    """A daemon with two servers, and its processes."""
    with simulated() as one, simulated() as other:
        servers = {"pbx1": table(one), "pbx2": table(other)}
        with closing(Daemon(tmp_path_factory.mktemp("amid"), servers)) as daemon:
            yield daemon.start(), pids(daemon)


@pytest.fixture
def kept(module_two: tuple[Daemon, dict[str, int]]) -> Daemon:
    """Shared by the tests whose reload changes nothing. Its file is as it was, and its log empty."""
    daemon, before = module_two
    daemon.configure(daemon.servers)
    os.truncate(daemon.log, 0)
    assert pids(daemon) == before, "no test has changed it"
    return daemon


def reload(daemon: Daemon) -> None:
    """SIGHUP, and the supervisor has dealt with it."""
    said = daemon.log.read_text().count("SIGHUP")
    daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: daemon.log.read_text().count("SIGHUP") > said, "the supervisor took it")


def test_a_child_that_a_reload_ends_while_it_starts_has_not_failed(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)})
    daemon.configure({"pbx1": table(pbx, lanes=2)})
    before = daemon.pid("reader pbx1")
    reload(daemon)
    eventually(lambda: daemon.pid("reader pbx1") not in (0, before), "its successor starts")
    daemon.configure({"pbx1": table(pbx, lanes=3)})
    reload(daemon)
    eventually(lambda: daemon.server("pbx1")["lanes"]["limit"] == 3, "the last one is in effect")
    assert "level=error" not in daemon.log.read_text()


def replaced(daemon: Daemon, before: dict[str, int]) -> dict[str, int]:
    """The pids that are not what they were, once every process has one again."""

    def settled() -> dict[str, int]:
        now = pids(daemon)
        return now if all(now.values()) else {}

    after = eventually(settled, "every process runs")
    return {name: after.get(name, 0) for name in {*before, *after} if after.get(name) != before.get(name)}


def test_only_the_changed_server_is_restarted(two: Daemon, pbx: SimulatedPbx, other: SimulatedPbx) -> None:
    before = pids(two)
    two.configure({"pbx1": table(pbx), "pbx2": table(other, lanes=2)})
    reload(two)
    eventually(lambda: two.server("pbx2")["lanes"]["limit"] == 2, "the new value is in effect")
    assert list(replaced(two, before)) == ["reader pbx2"]


def test_all_problems_are_logged_on_one_line(kept: Daemon) -> None:
    kept.file.write_text(kept.file.read_text().replace("[servers.pbx1]", "[servers.pbx1]\nlanes = 0") + "queue = -1\n")
    reload(kept)
    (line,) = [line for line in kept.log.read_text().splitlines() if "nothing was changed" in line]
    assert "[servers.pbx1] lanes: must be" in line and "; " in line and "[servers.pbx2] queue: must be" in line
    assert "\\n" not in line


def test_an_unchanged_file_restarts_nothing(kept: Daemon) -> None:
    before = pids(kept)
    reload(kept)
    assert kept.action("Ping", server="pbx1")["response"]["Ping"] == "Pong"
    assert pids(kept) == before


def test_the_broker_receives_new_settings_without_a_restart(two: Daemon, pbx: SimulatedPbx, other: SimulatedPbx) -> None:
    before = pids(two)
    two.configure({"pbx1": table(pbx), "pbx2": table(other)}, callers__local={"deny": ["Ping"]})
    reload(two)
    eventually(lambda: two.failure("Ping", server="pbx1")["data"]["kind"] == "denied", "the new rights are in effect")
    assert pids(two) == before


def test_servers_can_be_added_and_removed(two: Daemon, pbx: SimulatedPbx, other: SimulatedPbx) -> None:
    before = pids(two)
    with Caller(two) as caller:
        arm(two, "silence", "CoreStatus", server="pbx2")
        in_flight = caller.action("CoreStatus", server="pbx2", timeout=30)
        eventually(lambda: two.server("pbx2")["lanes"]["busy"] == 1, "it is in flight")
        two.configure({"pbx1": table(pbx), "pbx3": table(other)})
        reload(two)
        assert caller.failure(in_flight) == ("connection_lost", True)
        assert caller.failure(caller.action("Ping", server="pbx2")) == ("unknown_server", False)
    two.wait_up("pbx3")
    assert two.action("Ping", server="pbx3")["response"]["Ping"] == "Pong"
    eventually(lambda: not alive(before["reader pbx2"]) and "reader pbx2" not in pids(two), "its reader has gone")
    assert set(replaced(two, before)) == {"reader pbx2", "reader pbx3", "state"}
    files = {file.name for file in two.run_dir.iterdir()}
    assert {"events-pbx3", "stream-pbx3"} <= files
    assert not {"events-pbx2", "stream-pbx2"} & files, "its sockets have gone with it"


def test_the_state_runs_on_after_a_server_was_removed(two: Daemon, pbx: SimulatedPbx) -> None:
    """Its sockets are fewer now, and the others are watched."""
    before = pids(two)
    two.configure({"pbx1": table(pbx)})
    reload(two)
    eventually(lambda: "reader pbx2" not in pids(two) and two.pid("state") not in (0, before["state"]), "both are replaced")
    eventually(lambda: two.result("state", {"server": "pbx1"}), "it answers")
    for _ in range(2):
        (two.run_dir / "status.json").unlink()
        eventually((two.run_dir / "status.json").exists, "the files in run_dir were checked")
    assert "removed or replaced" not in two.log.read_text()


def _is_seen(daemon: Daemon, pid: int) -> bool:
    return daemon.pid("reader pbx2") != pid


def test_a_removed_server_whose_reader_waits_to_start_is_not_started(two: Daemon, pbx: SimulatedPbx) -> None:
    for _ in range(5):
        pid = eventually(lambda: two.pid("reader pbx2"), "it runs")
        os.kill(pid, signal.SIGKILL)
        eventually(partial(_is_seen, two, pid), "the supervisor has seen it")
    two.configure({"pbx1": table(pbx)})
    reload(two)
    eventually(lambda: "reader pbx2" not in pids(two), "it is not listed any more")
    assert two.action("Ping", server="pbx1")["response"]["Ping"] == "Pong"


def test_a_server_removed_and_added_at_once_runs(two: Daemon, pbx: SimulatedPbx, other: SimulatedPbx) -> None:
    before = pids(two)
    two.configure({"pbx1": table(pbx)})
    reload(two)
    two.configure({"pbx1": table(pbx), "pbx2": table(other)})
    reload(two)
    two.wait_up("pbx2")
    assert two.action("Ping", server="pbx2")["response"]["Ping"] == "Pong"
    assert set(replaced(two, before)) == {"reader pbx2", "state"}


@pytest.mark.parametrize("text", ["[servers", 'run_dir = "/x"\n[servers.pbx1]\nhost = 7', ""], ids=["no TOML", "wrong", "empty"])
def test_an_invalid_file_changes_nothing_and_is_logged(kept: Daemon, text: str) -> None:
    before = pids(kept)
    kept.file.write_text(text)
    reload(kept)
    assert "nothing was changed" in kept.log.read_text()
    assert str(kept.file) in kept.log.read_text()
    assert pids(kept) == before
    assert kept.action("Ping", server="pbx2")["response"]["Ping"] == "Pong"


def test_new_supervision_limits_take_effect(two: Daemon, pbx: SimulatedPbx, other: SimulatedPbx) -> None:
    before = pids(two)
    two.configure({"pbx1": table(pbx), "pbx2": table(other)}, supervision={"silence": 60.0})
    reload(two)
    os.kill(before["reader pbx2"], signal.SIGSTOP)
    try:
        eventually(lambda: two.server("pbx2")["state"] == "lost", "the broker misses it, after three seconds")
        assert pids(two)["reader pbx2"] == before["reader pbx2"] and alive(before["reader pbx2"])
    finally:
        os.kill(before["reader pbx2"], signal.SIGCONT)
