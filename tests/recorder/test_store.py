"""The recorded files: nothing is lost, whatever happens to a file, the clock or the process."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest

from amid import wire
from amid.events.replay_buffer import Cursor
from amid.history.blocks import join
from amid.history.event import decode
from amid.recorder.archive import Archive, day_of
from amid.recorder.day_file import Batch, DayFile
from amid.recorder.recording import Page, Recording
from amid.recorder.retention import DAY_S, STEADY_S, Recorded, SteadyClock, delete_outdated, outdated
from amid.recorder.store import Store, StoreError
from amid.rpc.requests import CallParams, CallsParams
from tests.history.events import Script, channel, recorded
from tests.history.test_fold import TALK, ringing, talking

NOON = 1_795_780_800.0


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def page(events: list[bytes], missed: int | None = 0, more: bool = False) -> Page:
    last = decode(events[-1])
    return Page(last.epoch, last.seq, msgspec.Raw(join(events)), missed, more)


OPEN: list[Store] = []
"""Closed after each test, not before: in a test, a recorder may have been killed."""


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


class Writer:
    """A recorder without a daemon. Each `write` is a batch."""

    def __init__(self, directory: Path, leave_out: tuple[str, ...] = ()) -> None:
        self.store = Store(directory, "pbx1")
        OPEN.append(self.store)
        self.recording = Recording("pbx1", leave_out)
        self.recording.resume(*self.store.load())

    def write(self, events: list[bytes], missed: int | None = 0, more: bool = False) -> None:
        self.write_page(page(events, missed, more), NOON)

    def write_page(self, page: Page, now: float) -> None:
        self.store.commit(self.recording.feed_page(page, now), self.recording.open_calls)

    def write_all(self, events: list[bytes]) -> None:
        for event in events:
            self.write([event])


def at(seconds: float) -> Script:
    script = Script()
    script.time = seconds
    return script


def hang_up(script: Script) -> list[bytes]:
    return [script.on("HangupRequest", 1), script.on("Hangup", 2, Cause="16"), script.on("Hangup", 1, Cause="16")]


def ladder_of(directory: Path, linkedid: str = "1.1") -> list[str]:
    found = Archive(directory, "pbx1").call(CallParams(linkedid=linkedid))
    assert found is not None
    return [line["text"].replace("0 s", "N s") for line in found.ladder]


def calls(directory: Path, **filters: object) -> list[str]:
    params = msgspec.convert(filters, CallsParams)
    return [row["linkedid"] for row in Archive(directory, "pbx1").calls(params)[0]]


def sequence(directory: Path) -> list[int]:
    """The numbers of all stored events, in the order of the files."""
    found = []
    for path in Archive(directory, "pbx1").files():
        with closing(sqlite3.connect(path)) as db, db:
            found += [
                seq for first, last in db.execute("SELECT first, last FROM block ORDER BY id") for seq in range(first, last + 1)
            ]
        found += [event.seq for event, _ in Archive(directory, "pbx1").tail(path)]
    return found


def test_the_ladder_of_a_recorded_call(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write_all(talking(script) + hang_up(script))
    assert ladder_of(tmp_path) == [*TALK, "100 hangs up", "the call ends after 1 s"]
    (row,) = Archive(tmp_path, "pbx1").calls(CallsParams())[0]
    assert row["ended_by"] == "caller" and row["numbers"] == ["100", "200"]


def test_a_call_that_was_stored_by_an_earlier_build_is_read(tmp_path: Path) -> None:
    Writer(tmp_path).write(talking(at(NOON)))
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("""UPDATE call SET summary = replace(summary, '"late":false,', '')""")
    archive = Archive(tmp_path, "pbx1")
    assert archive.calls(CallsParams())[0][0]["late"] is False and not archive.failures


@pytest.mark.parametrize("version", ["22", "16"])
def test_joined_calls_have_one_ladder(version: str, tmp_path: Path) -> None:
    events = recorded(version, "attended_transfer")
    Writer(tmp_path, ("VarSet",)).write(events)
    assert len(calls(tmp_path)) == 1
    (row,) = Archive(tmp_path, "pbx1").calls(CallsParams())[0]
    assert ladder_of(tmp_path, row["joined"][0]) == ladder_of(tmp_path, row["linkedid"])
    assert "Bob (200) connects Alice (100) with Carol (300)" in ladder_of(tmp_path, row["linkedid"])


def test_events_are_stored_as_blocks_and_a_tail(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write([script.on("Hold", 1) for _ in range(600)])
    writer.write([script.on("Hold", 1) for _ in range(1)])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("SELECT events FROM block").fetchall() == [(250,), (250,)]
    assert len(Archive(tmp_path, "pbx1").tail(path)) == 101
    assert sequence(tmp_path) == list(range(1, 602))
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_recording_resumes_after_the_last_event(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write_all(talking(script))  # nothing is closed, as after kill -9
    second = Writer(tmp_path)
    assert second.recording.cursor == Cursor(1, 7)
    second.write_all(hang_up(script))
    assert ladder_of(tmp_path) == [*TALK, "100 hangs up", "the call ends after 1 s"]
    assert sequence(tmp_path) == list(range(1, 11))


def test_a_call_over_midnight_is_one_call(tmp_path: Path) -> None:
    script = at(NOON + DAY_S / 2 - 0.35)
    writer = Writer(tmp_path)
    writer.write(talking(script) + hang_up(script))
    assert [path.name for path in Archive(tmp_path, "pbx1").files()] == ["pbx1-2026-11-27.db", "pbx1-2026-11-28.db"]
    assert calls(tmp_path) == ["1.1"]
    assert ladder_of(tmp_path) == [*TALK, "100 hangs up", "the call ends after 1 s"]
    assert calls(tmp_path, ended_by="caller") == ["1.1"] and not calls(tmp_path, outcome="failed")


def test_a_call_over_midnight_in_batches_and_a_crash(tmp_path: Path) -> None:
    script = at(NOON + DAY_S / 2 - 0.35)
    Writer(tmp_path).write_all(talking(script))
    Writer(tmp_path).write_all(hang_up(script))
    assert calls(tmp_path) == ["1.1"]
    assert ladder_of(tmp_path) == [*TALK, "100 hangs up", "the call ends after 1 s"]
    assert sequence(tmp_path) == list(range(1, 11))


def test_a_recorder_that_is_killed_between_two_days_of_a_page_loses_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON + DAY_S / 2 - 0.65)
    writer = Writer(tmp_path)
    events = talking(script) + hang_up(script)
    writer.write(events[:1])
    commit = DayFile.commit

    def killed(file: DayFile, batch: Batch) -> None:
        if file.path.name == "pbx1-2026-11-28.db":
            raise KeyboardInterrupt
        commit(file, batch)

    monkeypatch.setattr(DayFile, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        writer.write(events[3:], missed=2)
    assert sequence(tmp_path) == [1, 4, 5, 6]
    assert [gap[:3] for gap in Archive(tmp_path, "pbx1").gaps()] == [(1, 1, 2)]


def test_the_clock_is_set_back(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    script.time -= 2 * DAY_S
    writer.write_all(hang_up(script))
    assert len(Archive(tmp_path, "pbx1").files()) == 2
    assert ladder_of(tmp_path)[:-1] == [*TALK, "100 hangs up"]
    assert Writer(tmp_path).recording.cursor == Cursor(1, 10)
    assert not Archive(tmp_path, "pbx1").failures


@pytest.mark.parametrize(("hour", "zone"), [(12, "Pacific/Kiritimati"), (1, "Pacific/Pago_Pago")])
def test_the_time_zone_is_changed(hour: int, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON + (hour - 12) * 3600)
    writer = Writer(tmp_path)
    writer.write_all([*talking(script), *hang_up(script)])
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert ladder_of(tmp_path)[:-1] == [*TALK, "100 hangs up"]
    assert calls(tmp_path, since=NOON - 12 * 3600) == ["1.1"]


def test_a_gap_is_a_line_of_open_calls(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    [script.on("Hold", 1) for _ in range(5)]
    writer.write(hang_up(script), missed=5)
    assert ladder_of(tmp_path) == [*TALK, "5 events are missing here", "100 hangs up", "the call ends after 1 s"]
    (gap,) = Archive(tmp_path, "pbx1").gaps()
    assert gap[:3] == (1, 7, 5)
    assert writer.recording.needs_channel_list


@pytest.mark.parametrize(("uptime", "lines"), [("1", ["Asterisk stops"]), ("9999", ["events are missing here", "200 hangs up"])])
def test_a_new_session(uptime: str, lines: list[str], tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all([*talking(script), script.event("amid:disconnected")])
    after = Script(epoch=2)
    after.time = script.time + 30
    events = [after.event("amid:connected"), after.event("FullyBooted", Uptime=uptime)]
    ends = [after.on("HangupRequest", 2), after.on("Hangup", 2), after.on("Hangup", 1)]
    writer.write(events if uptime == "1" else events + ends, missed=None)
    assert ladder_of(tmp_path)[:-1] == [*TALK, *lines]


def new_session(writer: Writer, script: Script, has_events: bool) -> Script:
    """Its first page, after which there are more; it ended in time for an event, or before. Returns
    its events."""
    after = Script(epoch=2)
    after.time = script.time + 30
    if has_events:
        writer.write([after.event("UserEvent")], missed=None, more=True)
    else:
        writer.write_page(Page(2, 0, msgspec.Raw(join([])), None, more=True), after.time)
    return after


@pytest.mark.parametrize("has_events", [True, False])
def test_a_recorder_that_is_killed_in_a_new_session_loses_no_gap(has_events: bool, tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    after = new_session(writer, script, has_events)
    Writer(tmp_path).write(hang_up(after))
    (gap,) = Archive(tmp_path, "pbx1").gaps()
    assert gap[:3] == (1, 7, None)
    assert ladder_of(tmp_path)[:-1] == [*TALK, "events are missing here", "100 hangs up"]


@pytest.mark.parametrize("has_events", [True, False])
def test_a_restart_of_asterisk_that_is_known_late_is_no_gap_of_a_call(has_events: bool, tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all([*talking(script), script.event("amid:disconnected")])
    after = new_session(writer, script, has_events)
    Writer(tmp_path).write([after.event("FullyBooted", Uptime="1")])
    assert ladder_of(tmp_path)[:-1] == [*TALK, "Asterisk stops"]


def test_a_recorder_that_is_killed_after_a_gap_asks_which_channels_are_left(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write(talking(script))
    [script.on("Hold", 1) for _ in range(5)]
    writer.write([script.event("UserEvent")], missed=5)
    second = Writer(tmp_path)
    assert second.recording.needs_channel_list
    second.write(hang_up(script))
    assert not Writer(tmp_path).recording.needs_channel_list, "no call is open"


@pytest.mark.parametrize("killed", [False, True])
def test_a_gap_makes_the_outcome_of_a_call_unknown(killed: bool, tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(ringing(script))
    [script.on("Hold", 1) for _ in range(5)]
    writer.write([script.event("UserEvent")], missed=5)
    writer = Writer(tmp_path) if killed else writer
    writer.write(hang_up(script)[1:])
    (row,) = Archive(tmp_path, "pbx1").calls(CallsParams())[0]
    assert (row["outcome"], row["ended_by"]) == ("unknown", "")


def test_channels_that_asterisk_no_longer_lists(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    writer.store.commit(writer.recording.hang_up(["1.1", "1.2"], script.time), writer.recording.open_calls)
    assert ladder_of(tmp_path) == [*TALK, "the PBX ends the call after 1 s"]


def test_events_that_are_not_stored_still_join_calls(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path, ("VarSet",))
    writer.write_all([*talking(script), script.on("VarSet", 2, linkedid="0.9")])
    assert calls(tmp_path) == ["0.9"]
    assert sequence(tmp_path) == list(range(1, 8))


def test_a_damaged_file_is_renamed(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write_all(talking(script))
    (path,) = Archive(tmp_path, "pbx1").files()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    path.write_bytes(b"no database at all" * 1000)
    writer = Writer(tmp_path)
    assert writer.recording.cursor is None
    writer.write_all(talking(at(NOON + 60)))
    assert calls(tmp_path) == ["1.1"]
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    (gap,) = Archive(tmp_path, "pbx1").gaps()
    assert gap.missed is None and "damaged" in gap.reason


@pytest.mark.parametrize("day", [NOON, NOON - DAY_S], ids=["today", "yesterday"])
@pytest.mark.parametrize("content", [b"", b"a database without tables"], ids=["empty", "without tables"])
def test_a_file_whose_creation_was_interrupted_is_completed(day: float, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"pbx1-{day_of(day)}.db"
    path.touch()
    if content:
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("PRAGMA journal_mode = WAL")
    Writer(tmp_path).write_all(talking(at(NOON)))
    assert calls(tmp_path) == ["1.1"]
    assert not Archive(tmp_path, "pbx1").failures


def test_a_removed_file_is_replaced(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    (path,) = Archive(tmp_path, "pbx1").files()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    writer.write([script.event("UserEvent")])
    assert sequence(tmp_path) == [8]


def test_a_replaced_file_is_continued(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path / "backup").write([script.event("UserEvent") for _ in range(3)])
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    (path,) = Archive(tmp_path, "pbx1").files()
    (backup,) = Archive(tmp_path / "backup", "pbx1").files()
    with closing(sqlite3.connect(backup)) as db, db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup.rename(path)
    writer.write([script.event("UserEvent")])
    assert len(sequence(tmp_path)) == 4


DAMAGE = {
    "summary": "UPDATE call SET summary = replace(summary, '\"began\"', '\"cegan\"')",
    "no summary": "UPDATE call SET summary = NULL",
    "no json": "UPDATE call SET summary = substr(summary, 2)",
    "numbers of a call": "UPDATE call SET first_epoch = 'x'",
    "gap": "INSERT INTO gap VALUES (NULL, 'x', 1, NULL, '')",
    "tail": "UPDATE tail SET body = x'93c1'",
    "no tail": "UPDATE tail SET body = NULL",
    "cursor": "UPDATE cursor SET epoch = 'x'",
    "cursor of no text": "UPDATE cursor SET epoch = CAST(x'ff' AS TEXT)",
    "first number": "UPDATE cursor SET first = 'x'",
    "numbers of a block": "UPDATE block SET epoch = 'x'",
    "column": "ALTER TABLE block RENAME COLUMN names TO mames",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("later", [60, DAY_S], ids=["the same day", "another day"])
def test_damaged_content_ends_neither_requests_nor_the_recording(damage: str, later: int, tmp_path: Path) -> None:
    Writer(tmp_path).write([*talking(at(NOON)), *(at(NOON).event("UserEvent") for _ in range(300))])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(DAMAGE[damage])
    archive = Archive(tmp_path, "pbx1")
    archive.calls(CallsParams())
    archive.call(CallParams(linkedid="1.1"))
    script = Script(epoch=2)
    script.time = NOON + later
    events = [script.event("Newchannel", **channel(7, "7.7")), *(script.event("UserEvent") for _ in range(300))]
    for last in (False, True):
        try:
            Writer(tmp_path).write(events)
        except StoreError:
            assert not last, "recording resumes at the second attempt"
        else:
            break
    assert "7.7" in calls(tmp_path)


def test_the_rest_of_a_damaged_tail_is_missing(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write_all([script.on("Hangup", 1) for _ in range(3)])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE tail SET body = x'93c1' WHERE id = 2")
    Writer(tmp_path).write([script.event("UserEvent") for _ in range(300)])
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("SELECT first, last FROM block ORDER BY id LIMIT 2").fetchall() == [(1, 1), (4, 253)]


@pytest.mark.parametrize("header", ["CallerIDNum", "CallerIDName", "Exten", "Queue", "MemberName"])
def test_bytes_that_are_not_utf_8_are_recorded(header: str, tmp_path: Path) -> None:
    """A caller may send any bytes as their number."""
    script = at(NOON)
    ids = {**channel(1), "ChannelStateDesc": "Ring", "Exten": "1", "Queue": "desk", "MemberName": "Bob", header: b"1\xfc"}
    events = [script.event(name, **ids) for name in ("Newchannel", "QueueCallerJoin", "AgentConnect")]
    Writer(tmp_path).write(events)
    Writer(tmp_path).write([script.event("HangupRequest", **ids), script.event("Hangup", **ids)])
    found_by = {"CallerIDNum": "number", "CallerIDName": "name", "Exten": "number", "Queue": "queue", "MemberName": "agent"}
    assert calls(tmp_path, **{found_by[header]: "1\udcfc"}) == ["1.1"]
    assert ladder_of(tmp_path)[-1] == "the call ends after N s"


def test_headers_whose_names_are_not_utf_8_are_recorded(tmp_path: Path) -> None:
    """Any program may send them with a UserEvent."""
    script = at(NOON)
    event = msgspec.msgpack.decode(script.event("UserEvent", **channel(1)))
    event["fields"][b"Stra\xdfe"] = "x"
    Writer(tmp_path).write([wire.pack(event), *talking(script)])
    Writer(tmp_path).write(hang_up(script))
    assert ladder_of(tmp_path)[-1] == "the call ends after 1 s"
    found = Archive(tmp_path, "pbx1").call(CallParams(linkedid="1.1"))
    assert found is not None and b"Stra\xdfe" in bytes(found.events[0])


def test_a_damaged_block_affects_no_other(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([*talking(script), *(script.on("Hold", 1) for _ in range(300))])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE block SET body = x'00' WHERE id = 1")
    archive = Archive(tmp_path, "pbx1")
    assert archive.call(CallParams(linkedid="1.1")) is not None and archive.failures


def test_a_full_disk_stops_recording_between_two_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    writer.write_all(talking(script))
    assert writer.store._file is not None
    (pages,) = writer.store._file._db.execute("PRAGMA page_count").fetchone()
    writer.store._file._db.execute(f"PRAGMA max_page_count = {pages}")
    events = [script.event("UserEvent", Text=os.urandom(2000).hex()) for _ in range(20)]
    with pytest.raises(StoreError, match="full"):
        writer.write(events)
    writer.recording.resume(*writer.store.load())  # a new connection does not have the limit
    assert writer.recording.cursor == Cursor(1, 7)
    writer.write(events)
    assert sequence(tmp_path) == list(range(1, 28))


def test_a_directory_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot create"):
        Store(tmp_path / "file" / "recordings", "pbx1").load()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_stops_recording_and_no_request(make: Callable[[Path], None], tmp_path: Path) -> None:
    """Opening a FIFO would wait for its writer."""
    writer = Writer(tmp_path)
    make(tmp_path / f"pbx1-{day_of(NOON)}.db")
    archive = Archive(tmp_path, "pbx1")
    assert archive.calls(CallsParams()) == ([], False) and archive.failures
    for attempt in (lambda: writer.write_all(talking(at(NOON))), lambda: Writer(tmp_path)):
        with pytest.raises(StoreError, match=r"cannot read .* not a regular file"):
            attempt()


def test_a_tail_that_cannot_be_read_at_present_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its damage is a reason to continue without its events."""
    script = at(NOON)
    Writer(tmp_path).write_all(talking(script))
    store = Store(tmp_path, "pbx1")
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    with monkeypatch.context() as patched, pytest.raises(StoreError, match=r"cannot read .* I/O error"):
        patched.setattr("amid.recorder.archive.tail_of", Mock(side_effect=error))
        store.load()
    Writer(tmp_path).write_all(hang_up(script))
    assert sequence(tmp_path) == list(range(1, 11))


def test_a_file_that_cannot_be_written_stops_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Writer(tmp_path).write_all(talking(at(NOON)))
    monkeypatch.setattr(os, "open", Mock(side_effect=PermissionError(errno.EPERM, "Operation not permitted")))
    with pytest.raises(StoreError, match=r"cannot open .* not permitted"):
        Store(tmp_path, "pbx1").load()


# ── requests ──


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Ten calls a minute apart, the last one open."""
    writer = Writer(tmp_path)
    script = at(NOON)
    for number in range(10):
        linkedid = f"9.{number}"
        ids = {"Uniqueid": linkedid, "Linkedid": linkedid, "Channel": f"SIP/x-{number}", "CallerIDName": f"Name {number}"}
        ids |= {"CallerIDNum": f"030000{number}", "Exten": "400", "ChannelStateDesc": "Ring"}
        script.time = NOON + 60 * number
        events = [script.event("Newchannel", **ids)]
        if number % 2:
            events += [script.event("QueueCallerJoin", **ids, Queue="desk", Position="1")]
        script.time += number
        if number < 9:
            events += [script.event("HangupRequest", **ids), script.event("Hangup", **ids, Cause="16")]
        writer.write(events)
    return tmp_path


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, "9876543210"),
        ({"limit": 3}, "987"),
        ({"since": NOON + 125, "until": NOON + 245}, "43"),
        ({"number": "0300004"}, "4"),
        ({"number": "300004"}, "4"),
        ({"number": "+0300.004"}, "4"),
        ({"number": "(0300) 00-4"}, "4"),
        ({"number": "400"}, "9876543210"),
        ({"number": "00"}, ""),
        ({"name": "name 7"}, "7"),
        ({"name": "%"}, ""),
        ({"queue": "desk"}, "97531"),
        ({"queue": "Desk"}, "97531"),
        ({"queue": "des"}, ""),
        ({"longer": 7, "shorter": 7.5}, "7"),
        ({"lost": True, "queue": "desk"}, "7531"),
        ({"ended_by": "caller", "limit": 2}, "87"),
        ({"ended_by": "agent"}, ""),
        ({"name": "name 7"}, "7"),
        ({"name": "0300004"}, "4"),
        ({"name": "queue"}, ""),
        ({"name": "cancelled"}, ""),
        ({"outcome": "cancelled", "limit": 1}, "8"),
    ],
)
def test_filters(several: Path, filters: dict[str, object], numbers: str) -> None:
    assert "".join(linkedid[2:] for linkedid in calls(several, **filters)) == numbers


@pytest.mark.parametrize("name", ["Jürgen", 'a "b" \\ c', "\udcfc"])
def test_a_name_is_found_without_regard_to_case(name: str, tmp_path: Path) -> None:
    caller = name.encode("utf-8", "surrogateescape") if "\udcfc" in name else name
    script = at(NOON)
    Writer(tmp_path).write([script.event("Newchannel", **{**channel(1), "CallerIDName": caller})])
    assert calls(tmp_path, name=name) == calls(tmp_path, name=name.upper()) == ["1.1"]
    assert not calls(tmp_path, name=name * 2)


@pytest.mark.parametrize(("recorded", "others"), [("123", ["23", "1234"]), ("4930123456", ["4930123457"])])
def test_a_plus_before_a_number_is_ignored(tmp_path: Path, recorded: str, others: list[str]) -> None:
    """Asterisk reports it, or not, as the provider sends the number."""
    script = at(NOON)
    numbers = [recorded, f"+{recorded}"]
    channels = [{**channel(n, f"1.{n}"), "CallerIDNum": number} for n, number in enumerate(numbers, 1)]
    Writer(tmp_path).write([script.event("Newchannel", **each) for each in channels])
    for number in numbers:
        assert sorted(calls(tmp_path, number=number)) == ["1.1", "1.2"], number
    assert not any(calls(tmp_path, number=other) for other in others)


def test_text_in_place_of_a_number_is_found(tmp_path: Path) -> None:
    script = at(NOON)
    ids = {**channel(1), "CallerIDNum": "anonymous", "Exten": "sales", "ChannelStateDesc": "Ring"}
    Writer(tmp_path).write([script.event("Newchannel", **ids)])
    assert calls(tmp_path, number="anonymous") == calls(tmp_path, number="sales") == ["1.1"] and not calls(tmp_path, number="abc")


def test_a_call_by_number_and_time(several: Path) -> None:
    archive = Archive(several, "pbx1")

    def found(**params: object) -> str | None:
        call = archive.call(msgspec.convert(params, CallParams))
        return call.summary["linkedid"] if call else None

    assert found(number="400", at=NOON + 183) == "9.3"
    assert found(number="400", at=NOON + 230) == "9.4"
    assert found(number="400") == "9.9"
    assert found(number="7777777", at=NOON) is None and found(linkedid="7.7") is None


def test_a_call_by_time_of_a_number_with_many_calls(tmp_path: Path) -> None:
    script = at(NOON)
    events = []
    for n in range(1, 1102):
        ids = {**channel(n, f"1.{n}"), "CallerIDNum": "400"}
        events += [script.event("Newchannel", **ids), script.event("Hangup", **ids)]
    Writer(tmp_path).write(events)
    found = Archive(tmp_path, "pbx1").call(CallParams(number="400", at=NOON + 1))
    assert found is not None and abs(found.summary["began"] - NOON - 1) < 0.5


def test_masked_answers_have_no_long_number(several: Path) -> None:
    archive = Archive(several, "pbx1")
    rows, more = archive.calls(CallsParams(limit=1, masked=True))
    found = archive.call(CallParams(linkedid="9.9", masked=True))
    assert more and found is not None
    assert "0300009" not in f"{rows}{found.summary}{found.ladder}" and rows[0]["who"] == "xxxxx09"


def test_files_that_are_too_old_or_too_many() -> None:
    days = [day_of(NOON - number * DAY_S) for number in range(5)]
    files = [Recorded(day, f"{server}-{day}.db", 100) for day in days for server in ("a", "b")]
    names = {file.name for file in outdated(files, NOON, keep_days=3, keep_bytes=10_000)}
    assert names == {f"{server}-{day}.db" for day in days[3:] for server in ("a", "b")}
    names = {file.name for file in outdated(files, NOON, keep_days=30, keep_bytes=350)}
    assert names == {f"{server}-{day}.db" for day in days[2:] for server in ("a", "b")} | {f"a-{days[1]}.db"}
    assert not [file for file in outdated(files, NOON, 1, 0) if file.day == days[0]]


def test_a_file_that_cannot_be_deleted_affects_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, other, today = (tmp_path / f"pbx1-{day_of(NOON - days * DAY_S)}.db" for days in (3, 2, 0))
    for file in (old, other, today):
        file.touch()
    (tmp_path / f"pbx1-{day_of(NOON - 4 * DAY_S)}.db").mkdir()  # is none of the files
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == old:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok)

    with monkeypatch.context() as patched, pytest.raises(PermissionError):
        patched.setattr(Path, "unlink", refuse)
        delete_outdated(tmp_path, NOON, 1, 0)
    assert old.exists() and not other.exists() and today.exists()
    delete_outdated(tmp_path, NOON, 1, 0)
    assert not old.exists() and today.exists()


def test_a_clock_that_was_set_makes_no_file_too_old() -> None:
    clock, year = SteadyClock(), 365 * DAY_S
    assert clock.is_steady(NOON, 50.0)
    assert clock.is_steady(NOON + 69, 110.0), "9 s were corrected"
    assert not clock.is_steady(NOON + year, 170.0)
    assert not clock.is_steady(NOON + 180, 230.0)
    assert clock.is_steady(NOON + 180 + STEADY_S, 230.0 + STEADY_S)
    files = [Recorded(day_of(NOON), "pbx1.db", 100)]
    assert outdated(files, NOON + year, 30, 100) and not outdated(files, NOON + year, None, 100)
    assert outdated(files, NOON + year, None, 99)
