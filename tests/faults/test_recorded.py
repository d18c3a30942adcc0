"""The judge finds what a recorder lost, wrote twice or invented, and nothing in correct files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from amid import wire
from tests.faults.judge import Judge
from tests.faults.recorded import Recorded
from tests.history.events import Script, channel
from tests.recorder.test_store import Writer


def calls(count: int) -> list[bytes]:
    """Calls of two channels each. `prev` is right."""
    script = Script()
    events = []
    for number in range(count):
        ids = [{**channel(leg), "Uniqueid": f"{number}.{leg}", "Linkedid": f"{number}.1"} for leg in (1, 2)]
        events += [script.event(name, **one) for name in ("Newchannel", "Hangup") for one in ids]
    last: dict[str, int] = {}
    unpacked = [wire.unpack(event) for event in events]
    for event in unpacked:
        event["prev"], last[event["event"]] = last.get(event["event"], 0), event["seq"]
    return [wire.pack(event) for event in unpacked]


def violations(recorded: Recorded, judge: Judge) -> list[str]:
    for record in recorded.read():
        judge.take(record)
    return judge.violations


def test_correct_files_have_no_violations(tmp_path: Path) -> None:
    writer, recorded, judge = Writer(tmp_path), Recorded(tmp_path, "pbx1"), Judge()
    events = calls(200)
    writer.write(events[:300])
    assert not violations(recorded, judge)
    writer.write(events[300:601])
    writer.write(events[610:], missed=9)
    assert not violations(recorded, judge)
    assert (judge.recorded_calls, judge.unrecorded, judge.events["recorder"]) == (197, (9, 0), 791)


def test_a_silent_loss_of_an_event(tmp_path: Path) -> None:
    events = calls(100)
    Writer(tmp_path).write(events[:50] + events[51:])
    found = violations(Recorded(tmp_path, "pbx1"), Judge())
    assert any("event 52 of epoch 1 came behind 50" in text for text in found)


def test_an_event_that_is_stored_twice(tmp_path: Path) -> None:
    events = calls(100)
    Writer(tmp_path).write(events[:50] + events[49:])
    found = violations(Recorded(tmp_path, "pbx1"), Judge())
    assert any("event 50 of epoch 1 came behind 50" in text for text in found)


def drop(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM call WHERE linkedid = '50.1'")


def invent(db: sqlite3.Connection) -> None:
    db.execute("""INSERT INTO call (linkedid, summary) VALUES ('invented', '{}')""")


def change(db: sqlite3.Connection) -> None:
    db.execute("UPDATE call SET summary = replace(summary, '\"channels\":2', '\"channels\":3') WHERE linkedid = '50.1'")


@pytest.mark.parametrize("damage", [drop, invent, change])
def test_a_call_that_differs_from_its_events(damage: Callable[[sqlite3.Connection], None], tmp_path: Path) -> None:
    Writer(tmp_path).write(calls(100))
    (path,) = tmp_path.glob("*.db")
    with closing(sqlite3.connect(path)) as db, db:
        damage(db)
    (found,) = violations(Recorded(tmp_path, "pbx1"), Judge())
    assert "not the call of its events" in found
