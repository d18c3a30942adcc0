"""Faults of the machine that exist before amid starts: a run_dir on a separate file system, a
separate clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from amid.process.run_dir import RunDir, identify
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.faults.faults import row
from tests.faults.on_machine import mounted_read_only
from tests.faults.test_campaign import SEED
from tests.faults.world import READER, SERVER, recordings_in, world
from tests.need import need
from tests.processes.process import gone, pids

SIZE = 64 * 1024
HOUR_S = 3600
NOWHERE = {SERVER: {"host": "127.0.0.1", "port": 1, "username": "amid", "secret": "secret"}}
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


@pytest.fixture
def mounts(tmp_path: Path) -> None:
    """For tests that mount something."""
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        need("nothing may be mounted here; it takes root, and a container that allows it", "ASTERISK")
    subprocess.run(["umount", tmp_path], check=True)


@contextmanager
def small_file_system(directory: Path, size: int = SIZE) -> Iterator[None]:
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=750", "tmpfs", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(directory: Path) -> None:
    """Not one byte more has room there."""
    with pytest.raises(OSError, match="No space left"), (directory / "others").open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def refused(daemon: Daemon) -> str:
    """What `amid run` says instead of starting: one line."""
    ended = subprocess.run(daemon.argv("run"), capture_output=True, text=True, timeout=BOUND_S)
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 6
    return line


def remembers(daemon: Daemon) -> int:
    """Where its epochs begin, as its lock file says."""
    return int((daemon.run_dir / "lock").read_bytes().split()[1])


@row("machine", "run_dir is full: at start", "It does not start, exit status 6; one line names the full directory and the remedy.")
def test_a_full_run_dir_at_start(mounts: None, daemon_for: StartDaemon) -> None:
    daemon = daemon_for(NOWHERE, start=False)
    with small_file_system(daemon.run_dir):
        fill(daemon.run_dir)
        line = refused(daemon)
    assert f"cannot use run_dir {daemon.run_dir}: No space left on device" in line and "--run-dir" in line


@row("machine", "run_dir is read-only: at start", "The same.")
def test_a_read_only_run_dir_at_start(mounts: None, daemon_for: StartDaemon) -> None:
    daemon = daemon_for(NOWHERE, start=False)
    daemon.run_dir.mkdir()
    with mounted_read_only(daemon.run_dir):
        line = refused(daemon)
    assert f"cannot use run_dir {daemon.run_dir}: Read-only file system" in line and "--run-dir" in line


@row(
    "machine",
    "run_dir is read-only: at the end",
    "It ends normally; the log lists the remaining files, and the next start is clean.",
)
def test_run_dir_read_only_at_the_end(mounts: None, daemon_for: StartDaemon) -> None:
    daemon = daemon_for(NOWHERE, start=False)
    daemon.start(wait=False)
    eventually(lambda: daemon.server(SERVER)["detail"], "its reader reports")
    with mounted_read_only(daemon.run_dir):
        assert daemon.stop() == 0
    assert f"cannot remove amid's files in {daemon.run_dir}: Read-only file system" in daemon.log.read_text()
    daemon.start(wait=False)
    eventually(lambda: daemon.server(SERVER)["detail"], "its reader reports")


@row(
    "machine",
    "run_dir is full, and a daemon ended in it",
    "It starts: the old lock file has enough space for persistent data, so epochs grow. The log says once that "
    "`amid status` cannot show processes.",
)
def test_run_dir_full_at_restart(mounts: None, daemon_for: StartDaemon) -> None:
    daemon = daemon_for(NOWHERE, start=False)
    with small_file_system(daemon.run_dir):
        for start in range(2):
            daemon.start(wait=False)
            eventually(lambda: daemon.server(SERVER)["detail"], "its reader reports")
            if start:
                eventually(lambda: "the status file in" in daemon.log.read_text(), "it is logged")
            assert daemon.stop() == 0
            if not start:
                remembered = remembers(daemon)
                fill(daemon.run_dir)
        assert remembers(daemon) >= remembered > 0
    assert daemon.log.read_text().count("the status file in") == 1


def test_the_status_file_is_never_missing_while_run_dir_is_full(mounts: None, tmp_path: Path) -> None:
    """The broker reads it for `status`, and warned if that was in the moment between two files."""
    directory = tmp_path / "run"
    with small_file_system(directory), RunDir(directory) as run_dir:
        assert run_dir.write_status('{"processes": [1, 2, 3]}')
        before = identify(directory / "status.json")
        fill(directory)
        assert run_dir.write_status('{"processes": [4]}')
        assert identify(directory / "status.json") == before
        assert json.loads((directory / "status.json").read_text()) == {"processes": [4]}


@row(
    "machine",
    "run_dir fills up",
    "Nothing: sockets need no space, processes are replaced normally, and the status file reuses its space.",
)
def test_run_dir_fills_up(mounts: None, asterisk_version: str, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "run"), world(asterisk_version, tmp_path, SEED) as here:
        here.load.well()
        fill(here.daemon.run_dir)
        here.replaced(READER, here.signal(READER, signal.SIGKILL))
        with here.load.broker_away():
            here.replaced("broker", here.signal("broker", signal.SIGKILL))
        here.load.well()
        here.load.stop()
        assert here.daemon.stop() == 0
        assert sorted(file.name for file in here.daemon.run_dir.iterdir()) == ["lock", "others"]
        assert "status file" not in here.daemon.log.read_text()


@row(
    "recorder",
    "its disk is full",
    "Recording stops, with the reason in the log. Once there is space it continues after the last event on disk; nothing is "
    "missing as long as the reader still has it. Calls and events notice nothing.",
)
def test_the_disk_of_the_recorder_is_full(mounts: None, asterisk_version: str, tmp_path: Path) -> None:
    recordings = recordings_in(tmp_path)
    with small_file_system(recordings, 64 << 20), world(asterisk_version, tmp_path, SEED, recorder=True) as here:
        here.load.well()
        fill(recordings)
        eventually(lambda: "recording has stopped: cannot " in here.daemon.log.read_text(), "it is said")
        here.load.well()
        (recordings / "others").unlink()
        eventually(lambda: "recording resumed" in here.daemon.log.read_text(), "it continues")
        here.load.well()
        assert here.load.stop().unrecorded == (0, 0)


@row(
    "machine",
    "the clock is stepped by an hour in either direction",
    "Only the `time` of events changes: deadlines and heartbeats use the monotonic clock, and epochs grow over restarts too.",
)
def test_clock_stepped(asterisk_version: str, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    with by_clock(clock), world(asterisk_version, tmp_path, SEED) as here:
        here.load.well()
        before, epochs = pids(here.daemon), [here.daemon.server(SERVER)["epoch"]]
        for step in (HOUR_S, -HOUR_S):
            clock.write_text(f"{step:+d}")
            eventually(partial(events_have_time, here.daemon, step), "events have the new time")
            assert_deadline_is_kept(here.daemon)
            here.load.well()
            assert pids(here.daemon) == before, "no process was killed"
        here.replaced(READER, here.signal(READER, signal.SIGKILL))
        here.daemon.wait_up(SERVER)
        epochs.append(here.daemon.server(SERVER)["epoch"])
        with here.load.broker_away():
            assert here.daemon.stop() == 0
            here.daemon.start()
        epochs.append(here.daemon.server(SERVER)["epoch"])
        here.load.well()
        assert epochs == sorted(set(epochs)), "an hour back, and still they grow"
        here.load.stop()


@contextmanager
def by_clock(file: Path) -> Iterator[None]:
    """The processes that are started from now on have the wall clock that `file` says, and the true monotonic one."""
    need("" if FAKETIME else "libfaketime is not there; on Debian: apt install faketime", "ASTERISK")
    environment = {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME_TIMESTAMP_FILE": str(file)}
    environment |= {name: "1" for name in ("FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC")}
    with mock.patch.dict(os.environ, environment):
        yield
    for left in Path("/dev/shm").glob("*faketime_*"):  # a process that was killed leaves its own
        if gone(int(left.name.rpartition("_")[2])):
            left.unlink()


def events_have_time(daemon: Daemon, step: int) -> bool:
    """Whether the latest event came at a time that far from the true one, as amid says."""
    view = daemon.server(SERVER)
    after = {"epoch": view["epoch"], "seq": view["seq"] - 1}
    at: float = daemon.result("events", {"server": SERVER, "after": after, "timeout": 0})["events"][-1]["time"]
    return abs(at - time.time() - step) < 60


def assert_deadline_is_kept(daemon: Daemon) -> None:
    began = time.monotonic()
    failure = daemon.failure("Ping", until="Never", timeout=1)
    assert failure["data"]["kind"] == "timeout"
    assert 1.0 <= time.monotonic() - began < 2.0
