"""A recorded day in the simulated PBX: its events as they were, its lists, and the same calls."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from amid.cli.demo_pbx import pbx_command, running_pbx
from amid.playback.recording import PLAY, Recording, RecordingError
from amid.recorder.archive import Archive
from amid.rpc.requests import CallsParams
from amid.state.calls import derive_calls
from amid.state.fold import apply
from amid.state.model import Model
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.history.events import recorded
from tests.recorder.test_store import Writer, calls

SPEED = 10.0
PAUSE_S = 20.0
"""Before the last event of a recording."""


def record(directory: Path, events: list[bytes]) -> Path:
    """A file of the recorder with these events."""
    Writer(directory).write(events)
    (file,) = Archive(directory, "pbx1").files()
    return file


def bodies(events: list[bytes]) -> list[dict[str, Any]]:
    """Without amid's own."""
    decoded = [msgspec.msgpack.decode(event) for event in events]
    return [event for event in decoded if not event["event"].startswith("amid:")]


def pulled(daemon: Daemon, count: int) -> list[dict[str, Any]]:
    """The first events of the recording that the daemon has received."""
    page = daemon.result("events", {"after": {"epoch": 0, "seq": 0}, "limit": 10_000, "timeout": 0})
    found = [event for event in page["events"] if not event["event"].startswith(("amid:", "SuccessfulAuth", "VarSet"))]
    begin = next((place for place, event in enumerate(found) if event["event"] != "FullyBooted"), 0)
    return found[begin : begin + count] if len(found) >= begin + count else []


@pytest.fixture
def playing(daemon_for: StartDaemon, tmp_path: Path) -> Iterator[Any]:
    """Starts a daemon in front of a PBX that plays a file."""
    pbxs = []

    def play(file: Path, **tables: Any) -> Daemon:
        pbx = running_pbx(tmp_path, pbx_command(file, SPEED, None))
        pbxs.append(pbx)
        daemon = daemon_for({"pbx1": pbx.__enter__()}, **tables)
        if "recorder" in tables:
            eventually(lambda: Archive(Path(tables["recorder"]["directory"]), "pbx1").cursor(), "the recorder is connected")
        daemon.action(PLAY)
        return daemon

    yield play
    for pbx in pbxs:
        pbx.__exit__(None, None, None)


@pytest.fixture
def story() -> list[bytes]:
    """The events of a call, without those that the simulator and the daemon cause themselves."""
    names = ("FullyBooted", "SuccessfulAuth", "VarSet")
    return [one for one in recorded("22", "attended_transfer") if msgspec.msgpack.decode(one)["event"] not in names]


@pytest.fixture
def part(story: list[bytes]) -> list[bytes]:
    """Its events up to the middle of the call."""
    names = [msgspec.msgpack.decode(one)["event"] for one in story]
    return story[: names.index("BridgeEnter") + 3]


def test_events_are_as_recorded(story: list[bytes], playing: Any, tmp_path: Path) -> None:
    last = msgspec.msgpack.decode(story[-1])
    late = msgspec.msgpack.encode({**last, "seq": last["seq"] + 1, "time": last["time"] + PAUSE_S})
    file = record(tmp_path / "day", [*story, late])
    expected = bodies([*story, late])
    daemon = playing(file)
    found = eventually(lambda: pulled(daemon, len(expected)), "all events are played", 60)
    assert [(one["event"], one["fields"]) for one in found] == [(one["event"], one["fields"]) for one in expected]
    assert found[-1]["time"] - found[-2]["time"] >= PAUSE_S / SPEED * 0.8, "with the pauses between them"


def test_lists_are_as_they_were(part: list[bytes], playing: Any, tmp_path: Path) -> None:
    daemon = playing(record(tmp_path / "day", part))
    eventually(lambda: pulled(daemon, len(bodies(part))), "all events are played", 60)
    model = Model()
    for event in bodies(part):
        apply(model, event["event"], event["fields"], event["time"])
    derive_calls(model)
    listed = {one["Uniqueid"]: one for one in daemon.action("CoreShowChannels")["events"]}
    channels = model.kinds["channel"]
    assert listed.keys() == channels.keys() and len(listed) >= 2
    assert all(listed[key]["ChannelStateDesc"] == one["state"] for key, one in channels.items())
    assert {key: one["BridgeId"] for key, one in listed.items()} == {key: one["bridge"] for key, one in channels.items()}
    assert any(one["bridge"] for one in channels.values())
    state = daemon.result("state", {"kinds": ["channels", "bridges"], "timeout": 10})
    assert {one["uniqueid"]: one["caller"] for one in state["channels"]} == {key: one["caller"] for key, one in channels.items()}
    assert [one["uniqueid"] for one in state["bridges"]] == list(model.kinds["bridge"])
    assert "plays a recording" in daemon.failure("Hangup", {"Channel": next(iter(listed.values()))["Channel"]})["message"]


def test_a_played_day_has_the_same_calls(playing: Any, tmp_path: Path) -> None:
    file = record(tmp_path / "day", recorded("22", "attended_transfer"))
    daemon = playing(file, recorder={"directory": str(tmp_path / "again")}, callers__local={"history": True})
    once = Archive(file.parent, "pbx1").calls(CallsParams())[0]

    def again() -> list[dict[str, Any]] | None:
        found: list[dict[str, Any]] = daemon.result("calls")["calls"]
        return found if len(found) == len(once) and all(one["ended"] for one in found) else None

    members = ("linkedid", "who", "whom", "dialled", "outcome", "ended_by", "joined", "numbers", "channels")
    shown = eventually(again, "all calls have ended", 60)
    assert [[one[name] for name in members] for one in shown] == [[one[name] for name in members] for one in once]
    assert calls(file.parent) == [one["linkedid"] for one in shown]


def test_a_damaged_block_is_omitted(story: list[bytes], tmp_path: Path) -> None:
    events = (story * 10)[:600]
    file = record(tmp_path, events)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("UPDATE block SET body = x'00' WHERE id = 1")
    assert sum(map(len, Recording(file).blocks())) == 350


@pytest.mark.parametrize("content", [b"", b"no recording", os.urandom(9000)])
def test_a_file_that_is_no_recording(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(RecordingError, match="is not a recording of amid"):
        Recording(file)


def test_a_recording_without_events(tmp_path: Path) -> None:
    file = record(tmp_path, recorded("22", "attended_transfer"))
    with closing(sqlite3.connect(file)) as db, db:
        db.executescript("DELETE FROM block; DELETE FROM tail")
    with pytest.raises(RecordingError, match="has no events"):
        Recording(file)


def argv(run_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "amid", "--run-dir", str(run_dir), "demo", *arguments]


def test_the_command(part: list[bytes], tmp_path: Path) -> None:
    """It shows a call of the recording, which is still open at its end."""
    file = record(tmp_path / "day", part)
    command = argv(tmp_path / "run", "--recorded", str(file), "--speed", "10", "--seconds", "60")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = next((line for line in process.stdout if "Alice 100 → Bob 200" in line), None)
        process.terminate()
    assert shown is not None and process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--recorded", __file__], "is not a recording of amid"),
        (["--recorded", "/nowhere.db"], "does not exist"),
        (["--recorded", __file__, "--speed", "0"], "0.1<=x<=1000"),
        (["--speed", "10"], "--speed needs --recorded"),
        (["--recorded", __file__, "--calls-per-minute", "10"], "not for --recorded"),
    ],
)
def test_invalid_options(arguments: list[str], error: str, tmp_path: Path) -> None:
    refused = subprocess.run(argv(tmp_path, *arguments), capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2 and error in " ".join(refused.stderr.split()), refused.stderr
