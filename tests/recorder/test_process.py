"""The recorder in a whole daemon, with real Asterisks and the simulated PBX."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from amid.config.tables import Recorder as RecorderTable
from amid.process.loop import clock
from amid.process.settings import RecorderSettings
from amid.recorder import recorder, server_recorder
from amid.recorder.archive import Archive
from amid.rpc.messages import CallService
from amid.rpc.requests import CallsParams
from tests.asterisk.server import Asterisk
from tests.conformance.pbx import of
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.history.ladders import LADDERS, OUTCOMES, lines
from tests.history.scenarios import CONFIG, SCENARIOS, SERVER, stage
from tests.processes.pbx import arm, table
from tests.processes.pbx import simulated as faulty_pbx
from tests.recorder.pbx import simulated

RIGHTS = {"admin": True, "history": True}


@pytest.fixture(scope="module")
def pbx(asterisk_version: str) -> Iterator[Asterisk]:
    server = Asterisk(asterisk_version, more=CONFIG)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def recording(pbx: Asterisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("recording")
    tables: dict[str, Any] = {"recorder": {"directory": str(directory / "calls")}, "callers__local": RIGHTS}
    daemon = Daemon(directory, {SERVER: of(pbx).table}, **tables)
    try:
        daemon.start()
        eventually(lambda: Archive(directory / "calls", SERVER).cursor(), "events are recorded")
        yield daemon
    finally:
        daemon.close()


def amid(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(daemon.run_dir), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("kind", SCENARIOS)
def test_amid_call_shows_the_ladder(kind: str, pbx: Asterisk, recording: Daemon) -> None:
    known = {row["linkedid"] for row in recording.result("calls", {"limit": 1000})["calls"]}
    with stage(pbx, recording) as s:
        SCENARIOS[kind](s)
        s.until_quiet()

    def new_calls() -> list[dict[str, Any]] | None:
        """Once the recorder has their ends, too."""
        new = [row for row in recording.result("calls", {"limit": 1000})["calls"] if row["linkedid"] not in known]
        return new if new and all(row["ended"] for row in new) else None

    def age(row: dict[str, Any]) -> tuple[float, int]:
        """The events of one read have one time. Then the number in the Linkedid decides."""
        return row["began"], int(row["linkedid"].rpartition(".")[2])

    first = min(eventually(new_calls, "the calls are recorded"), key=age)
    shown = amid(recording, "call", first["linkedid"])
    assert shown.returncode == 0, shown.stderr
    shown_lines = [re.sub(r"\b\d+ s\b", "N s", line.partition(" s  ")[2]) for line in shown.stdout.splitlines()[2:]]
    assert shown_lines == lines(kind)
    assert (first["outcome"], first["ended_by"]) == OUTCOMES[kind]
    assert set(LADDERS) == set(SCENARIOS)


def test_calls_and_their_filters(recording: Daemon) -> None:
    shown = amid(recording, "calls", "--since", "1h", "--limit", "2")
    assert shown.returncode == 0 and len(shown.stdout.splitlines()) == 3, shown.stdout + shown.stderr
    rows = [json.loads(row) for row in amid(recording, "calls", "--json", "--ended-by", "agent").stdout.splitlines()]
    assert rows and all(row["ended_by"] == "agent" for row in rows)
    found = json.loads(amid(recording, "call", "--number", "300", "--at", "0m", "--all", "--json").stdout)
    assert found["call"]["linkedid"] and found["ladder"] and len(found["events"]) > 20
    assert amid(recording, "call", "1.1").returncode == 1


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"Channel": "PJSIP/200", "Application": "Wait", "Data": "0.1"}, "answered"),
        ({"Channel": "Local/200@desk", "Application": "Wait", "Data": "0.1"}, "answered"),
        ({"Channel": "PJSIP/200", "Context": "desk", "Exten": "301", "Priority": "1"}, "no answer"),
    ],
    ids=["an application", "a Local channel", "a second party"],
)
def test_the_outcome_of_a_call_that_asterisk_makes(pbx: Asterisk, recording: Daemon, fields: dict[str, str], outcome: str) -> None:
    with stage(pbx, recording) as s:
        before, began = s.now(), time.time()
        recording.action("Originate", {**fields, "Async": "true"}, server=SERVER)
        s.answers(s.bob, before)
        s.until_event("OriginateResponse", before)
        s.until_quiet()
    asked = {"since": began}
    (call,) = eventually(lambda: [one for one in recording.result("calls", asked)["calls"] if one["ended"]], "it is recorded")
    assert call["outcome"] == outcome


def test_files_are_readable_by_the_group_of_the_daemon(recording: Daemon) -> None:
    (file,) = Archive(recording.directory / "calls", SERVER).files()
    assert file.stat().st_mode & 0o777 == 0o640 and file.parent.stat().st_mode & 0o777 == 0o750


# ── with the simulated PBX ──


@pytest.fixture
def storm(daemon_for: Any, tmp_path: Path) -> Iterator[Daemon]:
    with simulated() as table:
        yield daemon_for({"pbx1": table}, recorder={"directory": str(tmp_path), "leave_out": []}, callers__local=RIGHTS)


def last(directory: Path) -> tuple[int, int]:
    found = Archive(directory, "pbx1").cursor()
    assert found is not None
    cursor = found[0]
    return cursor.epoch, cursor.seq


def numbers(directory: Path) -> list[int]:
    """The numbers of all stored events."""
    found: list[int] = []
    for path in Archive(directory, "pbx1").files():
        with closing(sqlite3.connect(path)) as db, db:
            found += [seq for low, high in db.execute("SELECT first, last FROM block ORDER BY id") for seq in range(low, high + 1)]
        found += [event.seq for event, _ in Archive(directory, "pbx1").tail(path)]
    return found


def _has_recorded(directory: Path, least: int) -> bool:
    return last(directory)[1] > least


def test_no_event_is_lost_when_the_recorder_is_killed(storm: Daemon, tmp_path: Path) -> None:
    eventually(lambda: last(tmp_path)[1] > 500, "events are recorded")
    for _ in range(3):
        least = last(tmp_path)[1] + 200
        storm.kill("recorder")
        eventually(partial(_has_recorded, tmp_path, least), "events are recorded again")
    found = numbers(tmp_path)
    assert found == list(range(found[0], found[0] + len(found))), "each event once, in order"
    assert not Archive(tmp_path, "pbx1").gaps()


def test_status_shows_why_nothing_is_recorded(tmp_path: Path, daemon_for: StartDaemon) -> None:
    directory = tmp_path / "calls"
    with faulty_pbx() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, recorder={"directory": str(directory)})
        eventually(lambda: Archive(directory, "pbx1").cursor(), "events are recorded")
        directory.rename(tmp_path / "away")
        directory.touch()
        eventually(lambda: "pbx1: recording has stopped" in daemon.processes()["recorder"]["problem"], "it is shown")
        directory.unlink()
        eventually(lambda: not daemon.processes()["recorder"]["problem"], "it is recorded again")
        assert Archive(directory, "pbx1").cursor()


def _answers_with(daemon: Daemon, kind: str | None) -> bool:
    return _kind(daemon) == kind


def test_the_right_history_decides(storm: Daemon) -> None:
    for right, expected in ((False, "denied"), ("masked", None)):
        storm.configure(storm.servers, recorder={"directory": str(storm.directory)}, callers__local={"history": right})
        assert storm.process is not None
        storm.process.send_signal(1)
        eventually(partial(_answers_with, storm, expected), "the new right is in effect")
    assert storm.request("call", {"linkedid": "1", "all": True})["error"]["data"]["kind"] == "denied"


def _kind(daemon: Daemon) -> str | None:
    error = daemon.request("calls", {}).get("error")
    return error["data"]["kind"] if error else None


def test_a_list_of_channels_that_fails_is_requested_again(daemon_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call ends while its events are missing, and the connection ends with the list that shows it."""
    with faulty_pbx() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, recorder={"directory": str(tmp_path)}, callers__local=RIGHTS)
        eventually(lambda: Archive(tmp_path, "pbx1").cursor(), "events are recorded")
        call = {"Channel": "Local/400@default", "Exten": "400", "Context": "default", "Priority": 1, "Async": True}
        daemon.action("Originate", call)
        eventually(lambda: [call["ended"] for call in daemon.result("calls", {})["calls"]] == [None], "a call is open")
        arm(daemon, "close", "CoreShowChannels")
        with monkeypatch.context() as patched:
            patched.setattr(pbx.pbx, "channels", {})
            daemon.kill("reader pbx1")
            eventually(lambda: all(call["ended"] for call in daemon.result("calls", {})["calls"]), "the call has ended")


def test_it_is_off_by_default(daemon_for: Any) -> None:
    with simulated() as table:
        daemon = daemon_for({"pbx1": table}, callers__local=RIGHTS)
        assert "recorder" not in daemon.processes()
        error = daemon.request("calls", {})["error"]
        assert error["data"]["kind"] == "not_connected" and "[recorder]" in error["message"]


def test_a_caller_without_the_right_is_told_first_that_there_is_no_recorder(daemon_for: Any) -> None:
    with simulated() as table:
        daemon = daemon_for({"pbx1": table})
        for method, params in (("calls", {}), ("call", {"linkedid": "1.1"})):
            error = daemon.request(method, params)["error"]
            assert error["data"]["kind"] == "not_connected" and "[recorder]" in error["message"]


def test_a_call_for_a_server_that_was_just_added_ends_no_recorder(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """The broker knows the server before the recorder, which is replaced, has ended: it failed instead of committing its
    events."""
    tables: dict[str, Any] = {"recorder": {"directory": str(tmp_path / "calls")}, "callers__local": RIGHTS}
    with faulty_pbx() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, **tables)
        daemon.result("calls", {"server": "pbx1"})
        daemon.configure({"pbx1": table(pbx), "pbx2": table(pbx)}, **tables)
        daemon.signal("supervisor", signal.SIGHUP)
        asked, end = {"server": "pbx2", "timeout": 0.5}, time.monotonic() + BOUND_S
        while "unknown_server" in str(daemon.request("calls", asked)):  # without a pause, so that one comes at the moment
            assert time.monotonic() < end
        eventually(lambda: "result" in daemon.request("calls", asked), "it is recorded")
        process = daemon.processes()["recorder"]
        assert (process["restarts"], process["last_exit"]) == (1, "status 0")


def test_calls_that_nobody_waits_for_any_more_are_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred slow searches would delay all others, also after their callers have given up."""
    searched: list[str] = []
    all_gave_up = threading.Event()

    async def recent(*_: object) -> None: ...

    def search(_directory: Path, server: str, _params: Any) -> dict[str, Any]:
        searched.append(server)
        assert all_gave_up.wait(BOUND_S)
        return {}

    async def ask() -> None:
        settings = RecorderSettings(str(tmp_path), "info", ["pbx1"], RecorderTable(), str(tmp_path))
        child: Any = SimpleNamespace(report_problem=None)
        process = recorder.Recorder(child, settings)
        deadline = clock.monotonic() + BOUND_S
        before = asyncio.all_tasks()
        for number in range(100):
            process._handle_call(CallService(number, deadline, deadline, "calls", "pbx1", b""), CallsParams())
        answers = asyncio.all_tasks() - before
        async with asyncio.timeout(BOUND_S):
            while len(searched) < recorder.CONCURRENT_REQUESTS:
                await asyncio.sleep(0)
        process._forget(None)
        all_gave_up.set()
        async with asyncio.timeout(BOUND_S):
            await asyncio.gather(*answers)

    monkeypatch.setattr(recorder, "answer", search)
    monkeypatch.setattr(server_recorder.ServerRecorder, "refresh", recent)
    asyncio.run(ask())
    assert len(searched) == recorder.CONCURRENT_REQUESTS
