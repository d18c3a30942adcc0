"""A run_dir that is removed, replaced or locked by another daemon; persistent data is in state_dir."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import zmq

from amid.process.run_dir import FAILURE_S, RunDir
from amid.simulator import SimulatedPbx
from amid.supervisor.epochs import RESERVE_MS, Epochs
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.faults.faults import row
from tests.processes.conftest import Lend
from tests.processes.pbx import table
from tests.processes.process import Listener, has_all_sockets, pids, sockets


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


@pytest.fixture
def second(daemon: Daemon, pbx: SimulatedPbx, tmp_path: Path) -> Iterator[Daemon]:
    """Another daemon for the same run_dir, not started yet."""
    other = Daemon(tmp_path, {})
    other.run_dir = daemon.run_dir
    other.configure({"pbx1": table(pbx)})
    yield other
    other.close()


@row(
    "machine",
    "run_dir is removed: at the last logout, by a clean-up program, or manually",
    "It is recreated and locked within a second, and broker and readers are replaced; a new epoch starts.",
)
def test_a_removed_run_dir_is_recreated(daemon: Daemon) -> None:
    before = pids(daemon)
    with Listener(daemon, "pbx1") as listener:
        shutil.rmtree(daemon.run_dir)
        daemon.wait_up("pbx1")
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        listener.more(1)
    eventually(lambda: has_all_sockets(daemon), "it has its sockets again")
    assert "was removed or replaced" in daemon.log.read_text()
    assert pids(daemon)["supervisor"] == before["supervisor"]
    assert daemon.stop() == 0 and not sockets(daemon)


def test_a_replaced_run_dir_is_locked_again(daemon: Daemon) -> None:
    daemon.run_dir.rename(daemon.directory / "moved")
    daemon.run_dir.mkdir(mode=0o750)
    daemon.wait_up("pbx1")
    pid = eventually(lambda: (daemon.run_dir / "lock").read_text().split()[0], "the lock is there")
    assert int(pid) == pids(daemon)["supervisor"]


@row("machine", "a trace- socket is removed", "It is bound again within a second. Nothing is restarted.")
def test_a_removed_trace_socket_is_bound_again_without_a_restart(daemon: Daemon) -> None:
    before = pids(daemon)
    (daemon.run_dir / "trace-pbx1").unlink()
    eventually((daemon.run_dir / "trace-pbx1").is_socket, "it is there again")
    with daemon.socket(zmq.SUB) as watcher:
        watcher.subscribe(b"trace.pbx1.")
        watcher.connect(f"ipc://{daemon.run_dir / 'trace-pbx1'}")
        eventually(lambda: daemon.action("Ping") and watcher.poll(50), "packets are shown there")
    assert "trace-pbx1 was removed" in daemon.log.read_text()
    assert pids(daemon) == before


@row("machine", "a socket in run_dir is removed", "Its process is replaced within a second.")
def test_a_removed_socket_is_bound_again(daemon: Daemon) -> None:
    for name in ("rpc", "readers", "events-pbx1", "stream-pbx1"):
        (daemon.run_dir / name).unlink()
        eventually((daemon.run_dir / name).is_socket, f"{name} is there again")
        daemon.wait_up("pbx1")
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_a_removed_lock_is_recreated_without_a_restart(daemon: Daemon) -> None:
    before = pids(daemon)
    (daemon.run_dir / "lock").unlink()
    eventually(lambda: (daemon.run_dir / "lock").read_text().split()[0] == str(before["supervisor"]), "the lock is there again")
    assert pids(daemon) == before


def test_a_removed_status_file_is_written_again(daemon: Daemon) -> None:
    file = daemon.run_dir / "status.json"
    file.unlink()
    eventually(file.exists, "it is there again")


@row("machine", "run_dir is removed, and another amid starts there", "The first one ends, exit status 6.")
def test_the_first_daemon_ends_when_a_second_has_taken_its_run_dir(daemon: Daemon, second: Daemon) -> None:
    """It removes nothing that belongs to the second."""
    first = pids(daemon)["supervisor"]
    os.kill(first, signal.SIGSTOP)  # or it would be faster than the second
    try:
        shutil.rmtree(daemon.run_dir)
        second.start()
    finally:
        os.kill(first, signal.SIGCONT)
    assert daemon.process is not None and daemon.process.wait(BOUND_S) == 6
    taken = f"another amid (pid {pids(second)['supervisor']}) already serves {daemon.run_dir}"
    assert taken in daemon.log.read_text().splitlines()[-1]
    eventually(lambda: has_all_sockets(second), "it has its sockets")
    assert second.action("Ping")["response"]["Ping"] == "Pong"


@row("machine", "run_dir is removed and cannot be recreated", "It retries every second and logs this, until it succeeds.")
def test_recreating_a_run_dir_is_retried(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    parent = daemon.directory / "parent"
    daemon.run_dir = parent / "run"
    daemon.configure({"pbx1": table(pbx)})
    daemon.start()
    parent.rename(daemon.directory / "moved")
    parent.write_text("in the way")
    eventually(lambda: "trying again each second" in daemon.log.read_text(), "the log says so")
    parent.unlink()
    daemon.wait_up("pbx1")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_only_the_daemons_user_can_open_the_lock(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """A user who can open it can lock it (flock(2)) and keep amid from starting."""
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.run_dir.mkdir(mode=0o750)
    (daemon.run_dir / "lock").touch(mode=0o640)
    daemon.start()
    assert stat.S_IMODE((daemon.run_dir / "lock").stat().st_mode) == 0o600


# ── epochs ──


def unlocked(path: str) -> RunDir:
    """An empty one, which nobody locks."""
    return cast(RunDir, SimpleNamespace(path=Path(path), reserve=0, claim=lambda reserve: None))


def test_epochs_grow_after_an_emptied_run_dir_and_a_clock_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    first = Epochs(tmp_path, unlocked("/run/amid"), now)
    last = first.origin + int((now + 100) * 1000)
    first.close(now + 100)
    clock = time.time()
    monkeypatch.setattr(time, "time", lambda: clock - 3600)
    second = Epochs(tmp_path, unlocked("/run/amid"), now + 101)
    assert second.origin + int((now + 101) * 1000) > last
    after_reboot = Epochs(tmp_path, unlocked("/run/amid"), 5.0)  # the monotonic clock begins again; the second was killed
    assert after_reboot.origin + 5000 > second.reserve
    assert Epochs(tmp_path, unlocked("/run/other"), now).origin < second.origin, "each run_dir has its own"


def test_the_reserve_is_always_ahead(tmp_path: Path) -> None:
    now = time.monotonic()
    epochs = Epochs(tmp_path, unlocked("/run/amid"), now)
    for _ in range(10):
        now += RESERVE_MS / 1000 / 3
        epochs.extend(now)
        (file,) = tmp_path.iterdir()
        assert int(file.read_text()) > epochs.origin + int(now * 1000)


def epoch(daemon: Daemon) -> int:
    found: int = daemon.server("pbx1")["epoch"]
    return found


def test_epochs_grow_after_an_epoch_from_the_future(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """As if the clock had been set back since the last start, which run_dir does not know of any more."""
    daemon = daemon_for({"pbx1": table(pbx)})
    assert daemon.stop() == 0
    shutil.rmtree(daemon.run_dir)
    (file,) = (daemon.directory / "state").iterdir()
    ahead = int(file.read_text()) + 86_400_000
    file.write_text(str(ahead))
    daemon.start()
    assert epoch(daemon) > ahead


def test_an_unwritable_state_dir_is_warned_about(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, state_dir="/proc/amid")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert "cannot write to state_dir /proc/amid" in daemon.log.read_text()
    before = epoch(daemon)
    assert daemon.stop() == 0
    daemon.start()
    assert epoch(daemon) > before, "as long as run_dir remembers"


def fail_with(outcome: Callable[[], OSError | None]) -> Callable[[RunDir, str], None]:
    """In the place of `RunDir._replace_status`: raises this error, if there is one."""

    def replace_status(run_dir: RunDir, text: str) -> None:
        error = outcome()
        if error is not None:
            raise error

    return replace_status


def test_a_status_file_without_space_for_more_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write would end in the middle, as at the end of a page on a full tmpfs."""
    monkeypatch.setattr(RunDir, "_replace_status", fail_with(lambda: OSError(errno.ENOSPC, "No space left on device")))
    run_dir, file = RunDir(tmp_path), tmp_path / "status.json"
    file.write_text(json.dumps(["old"]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert run_dir.write_status(json.dumps(["x" * 4000]))
        assert not run_dir.write_status(json.dumps(["y" * 5000]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert json.loads(file.read_text()) == ["x" * 4000]
    assert run_dir.write_status(json.dumps(["y" * 5000])) and run_dir.write_status(json.dumps(["z"]))
    assert json.loads(file.read_text()) == ["z"]


def test_a_status_file_that_cannot_be_written_for_a_moment_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a reader of the old file occupies the last space, however often it is tried meanwhile."""
    now, full = [0.0], OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("amid.process.run_dir.time.monotonic", lambda: now[0])
    outcomes: list[OSError | None] = []
    monkeypatch.setattr(RunDir, "_replace_status", fail_with(lambda: outcomes[-1]))
    run_dir = RunDir(tmp_path)

    def write(at: float, outcome: OSError | None) -> list[int]:
        now[0] = at
        outcomes.append(outcome)
        caplog.clear()
        assert run_dir.write_status("{}") == (outcome is None)
        return [record.levelno for record in caplog.records]

    assert not any(write(at, full) for at in (0.0, 0.1, FAILURE_S - 0.1))
    assert not write(FAILURE_S, None)
    assert not write(10.0, full)
    assert write(10.0 + FAILURE_S, full) == [logging.ERROR]
    assert not write(20.0, full)
    assert write(21.0, None) == [logging.WARNING]
