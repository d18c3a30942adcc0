"""Requests for recorded events: each event once and in order, and every missing one is counted."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid.errors import AmidError
from amid.events.replay_buffer import Cursor
from amid.history import blocks
from amid.history.blocks import join
from amid.recorder import replay
from amid.recorder.archive import Archive
from amid.recorder.recording import Page, Recording
from amid.recorder.replay import RecordedFiles, RecordedPull
from amid.recorder.retention import DAY_S
from amid.recorder.store import Store
from amid.rpc.requests import Cursor as After
from amid.rpc.requests import EventsParams
from tests.history.events import Script
from tests.recorder.test_store import NOON, Writer, at, closed_stores, in_utc

__all__ = ["closed_stores", "in_utc"]

LEFT_OUT = "VarSet"


def pull(
    directory: Path, after: tuple[int, int], as_json: bool = False, held: tuple[int, int] | None = None, **params: Any
) -> dict[str, Any] | Cursor:
    """An answer, or the cursor from which the reader continues. held: where its events begin."""
    asked = EventsParams(after=After(*after), **params)
    request = RecordedPull(RecordedFiles(Archive(directory, "pbx1")), asked, as_json, held)
    while not request.is_done:
        request.advance()
    if (request.is_at_end or request.is_held) and request.is_empty:
        return request.cursor
    page = request.page("pbx1", more=True)
    answer: dict[str, Any] = json.loads(page) if as_json else msgspec.msgpack.decode(page)
    assert list(answer) == ["server", "epoch", "seq", "missed", "more", "events"]
    return answer


def follow(directory: Path, after: tuple[int, int], **params: Any) -> Iterator[dict[str, Any]]:
    """All answers from a cursor on."""
    while isinstance(page := pull(directory, after, **params), dict):
        assert (page["epoch"], page["seq"]) > after or page["missed"]
        after = page["epoch"], page["seq"]
        yield page


def seqs(page: dict[str, Any] | Cursor) -> list[int]:
    assert isinstance(page, dict)
    return [event["seq"] for event in page["events"]]


@pytest.mark.parametrize("as_json", [False, True])
def test_recorded_events_are_as_published(as_json: bool, tmp_path: Path) -> None:
    script = at(NOON)
    events = [script.event("UserEvent", Text="é", Repeated=["1", "2"]) for _ in range(600)]
    Writer(tmp_path).write(events)
    page = pull(tmp_path, (1, 200), as_json, limit=10_000)
    assert isinstance(page, dict)
    assert page["events"] == [msgspec.msgpack.decode(event) for event in events[200:]]
    assert (page["server"], page["epoch"], page["seq"], page["missed"]) == ("pbx1", 1, 600, 0)
    assert pull(tmp_path, (1, 600), as_json) == Cursor(1, 600), "the rest is in the reader"


def test_bytes_that_are_not_text_in_json(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("UserEvent", Text=b"Gr\xfc")])
    page = pull(tmp_path, (1, 0), as_json=True)
    assert isinstance(page, dict) and page["events"][0]["fields"]["Text"] == "Gr\udcfc"


def test_pages_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("UserEvent", Text="x" * 100) for _ in range(1100)])
    assert [len(page["events"]) for page in follow(tmp_path, (1, 0), limit=400)] == [400, 400, 300]
    monkeypatch.setattr(replay, "MAX_ANSWER_BYTES", 60_000)
    sizes = [len(page["events"]) for page in follow(tmp_path, (1, 0), limit=10_000)]
    assert sizes == [500, 500, 100], "whole blocks up to the limit in bytes"


def test_names_compare_without_case(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event(("Hangup", "Newchannel")[number % 2]) for number in range(600)])
    page = pull(tmp_path, (1, 0), names=["HANGUP"], limit=100)
    assert seqs(page) == list(range(1, 200, 2)) and isinstance(page, dict) and page["seq"] == 199
    page = pull(tmp_path, (1, 199), names=["hangup", "nothing"])
    assert len(seqs(page)) == 200 and isinstance(page, dict) and (page["seq"], page["missed"]) == (600, 0)
    assert pull(tmp_path, (1, 0), names=["Nothing"]) == Cursor(1, 600)


def test_blocks_without_a_requested_name_are_not_decompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("Rare" if number == 5000 else "Often") for number in range(1, 10_001)])
    decompressed: list[bytes] = []

    def decompress(body: bytes) -> list[msgspec.Raw]:
        decompressed.append(body)
        return blocks.decompress(body)

    monkeypatch.setattr(replay, "decompress", decompress)
    assert seqs(pull(tmp_path, (1, 0), names=["Rare"])) == [5000]
    assert len(decompressed) == 1
    assert seqs(pull(tmp_path, (1, 7100), limit=10)) == list(range(7101, 7111))
    assert len(decompressed) <= 1 + replay.STEP_BLOCKS


def test_events_that_were_left_out_are_missing(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path, (LEFT_OUT,))
    writer.write([script.event((LEFT_OUT, "Hangup", "Hangup")[number % 3]) for number in range(600)])
    writer.write([script.event(LEFT_OUT)])
    (page,) = follow(tmp_path, (1, 0), names=["Hangup"])
    assert len(seqs(page)) == 400 and (page["seq"], page["missed"]) == (601, 0)
    for names in (None, ["varset", "hangup"]):
        pages = list(follow(tmp_path, (1, 0), names=names))
        assert [(page["missed"], seqs(page)) for page in pages] == [(1, [seq, seq + 1]) for seq in range(2, 601, 3)]
    assert pull(tmp_path, (1, 600)) == Cursor(1, 600), "the reader may have what comes next"
    assert [(page["missed"], seqs(page)) for page in follow(tmp_path, (1, 0), names=["VarSet"])] == [(200, [])]


def test_events_that_were_left_out_and_that_the_reader_holds_are_not_missing(tmp_path: Path) -> None:
    """The recorder counted them as missing, up to the end of what is recorded."""
    script = at(NOON)
    writer = Writer(tmp_path, (LEFT_OUT,))
    names = [LEFT_OUT, *["Hangup"] * 9] * 30
    writer.write([script.event(name) for name in names])
    after = Script(epoch=2)
    after.time = NOON + 100
    writer.write([after.event(name) for name in [LEFT_OUT, "Hangup"]], missed=None)
    page = pull(tmp_path, (1, 0), held=(1, 205), names=[LEFT_OUT])
    assert isinstance(page, dict) and (page["seq"], page["missed"], seqs(page)) == (210, 21, [])
    assert pull(tmp_path, (1, 203), held=(1, 205), names=[LEFT_OUT]) == Cursor(1, 210)
    assert pull(tmp_path, (1, 200), held=(1, 200), names=[LEFT_OUT]) != Cursor(1, 200), "the reader does not answer this"
    assert pull(tmp_path, (1, 200), held=(1, 205), names=[LEFT_OUT, "Unique"]) != Cursor(1, 200), "the hole ends before"
    page = pull(tmp_path, (1, 200), held=(1, 205))
    assert isinstance(page, dict) and (page["missed"], seqs(page)) == (1, list(range(202, 211)))
    assert pull(tmp_path, (1, 292), held=(1, 295), names=[LEFT_OUT]) == Cursor(1, 300), "the rest of the epoch is held"
    page = pull(tmp_path, (1, 292), held=(2, 0), names=[LEFT_OUT])
    assert isinstance(page, dict) and (page["epoch"], page["missed"]) == (2, None)


def test_missing_events_are_counted_where_they_are_missing(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    for size in (300, 10):
        writer.write([script.event("Hangup") for _ in range(size)])
    [script.event("Hangup") for _ in range(7)]
    writer.write([script.event("Hangup") for _ in range(300)], missed=7)
    for names in (None, ["Hangup"]):
        before, after = follow(tmp_path, (1, 0), names=names)
        assert (seqs(before), before["missed"]) == (list(range(1, 311)), 0)
        assert (seqs(after), after["missed"]) == (list(range(318, 618)), 7)


def test_an_epoch_that_ended(tmp_path: Path) -> None:
    first, second = at(NOON), Script(epoch=2)
    second.time = NOON + 100
    writer = Writer(tmp_path)
    writer.write([first.event("Hangup") for _ in range(30)])
    writer.write([second.event("Hangup") for _ in range(20)], missed=None)
    ended, begun = follow(tmp_path, (1, 10))
    assert (ended["epoch"], seqs(ended), ended["missed"]) == (1, list(range(11, 31)), 0)
    assert (begun["epoch"], seqs(begun), begun["missed"]) == (2, list(range(1, 21)), None)


def test_all_days_are_read_in_the_order_of_their_events(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    for step in (0, DAY_S, DAY_S, -2 * DAY_S, DAY_S, DAY_S, -2 * DAY_S, 5 * DAY_S):  # the clock is set back twice
        script.time += step
        writer.write([script.event("Hangup") for _ in range(300)])
        writer = Writer(tmp_path)  # as after kill -9
    assert len(Archive(tmp_path, "pbx1").files()) == 4
    pages = list(follow(tmp_path, (1, 0), limit=10_000))
    assert [seq for page in pages for seq in seqs(page)] == list(range(1, 2401))
    assert [page["missed"] for page in pages] == [0] * len(pages)
    (page,) = follow(tmp_path, (1, 950), limit=10_000)
    assert seqs(page) == list(range(951, 2401))


def test_a_damaged_block_is_missing_and_no_other(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("Hangup") for _ in range(900)])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE block SET body = x'00' WHERE id = 2")
    before, after = follow(tmp_path, (1, 0), limit=10_000)
    assert (seqs(before), before["missed"]) == (list(range(1, 251)), 0)
    assert (seqs(after), after["missed"]) == (list(range(501, 901)), 250)
    assert pull(tmp_path, (1, 0), names=["Newchannel"]) == Cursor(1, 900), "none of this name was in it"


def test_a_damaged_tail_is_missing_and_no_block(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("UserEvent") for _ in range(blocks.BLOCK_EVENTS + 50)])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(DAMAGE["tail"])
    found = [event["seq"] for page in follow(tmp_path, (1, 0)) for event in page["events"]]
    assert found == list(range(1, blocks.BLOCK_EVENTS + 1))


def test_a_damaged_file_is_missing_and_no_other(tmp_path: Path) -> None:
    script = at(NOON)
    writer = Writer(tmp_path)
    for _ in range(3):
        writer.write([script.event("Hangup") for _ in range(20)])
        script.time += DAY_S
    writer.store.close()
    second = Archive(tmp_path, "pbx1").files()[1]
    second.write_bytes(os.urandom(second.stat().st_size))
    first, third = follow(tmp_path, (1, 0))
    assert (seqs(first), first["missed"]) == (list(range(1, 21)), 0)
    assert (seqs(third), third["missed"]) == (list(range(41, 61)), 20)


def test_a_file_that_cannot_be_read_at_present(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("Hangup")])
    (path,) = Archive(tmp_path, "pbx1").files()
    files = RecordedFiles(Archive(tmp_path, "pbx1"))
    assert files.after(Cursor(1, 0)) == [(Cursor(1, 1), path)]
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(tmp_path)
    with pytest.raises(AmidError, match="cannot read recorded events") as failed:
        RecordedFiles(Archive(tmp_path, "pbx1")).after(Cursor(1, 0))
    assert (failed.value.kind, failed.value.sent) == ("not_connected", False)


# ── any recording ──


class Step(NamedTuple):
    """What happens next: a batch of events, before which some are missing, or an epoch ends."""

    names: list[str]
    missed: int | None
    days: int
    killed: bool


STEPS = st.lists(
    st.builds(
        Step,
        st.lists(st.sampled_from(["Hangup", "Newchannel", LEFT_OUT]), max_size=30),
        st.sampled_from([0, 0, 0, 0, 3, None]),
        st.sampled_from([0, 0, 0, 1]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def record(directory: Path, steps: list[Step]) -> list[tuple[int, int, str]]:
    """Record steps. Returns the number and name of each event that was sent, missing ones too."""
    script, sent = at(NOON), []
    store, recording = Store(directory, "pbx1"), Recording("pbx1", [LEFT_OUT])
    recording.resume(*store.load())
    recording.feed_page(Page(1, 0, msgspec.Raw(join([])), 0, False), NOON)
    for step in steps:
        if step.killed:
            store.close()
            store, recording = Store(directory, "pbx1"), Recording("pbx1", [LEFT_OUT])
            recording.resume(*store.load())
            if recording.cursor is None:
                recording.feed_page(Page(1, 0, msgspec.Raw(join([])), 0, False), NOON)
        if not step.names:
            continue
        if step.missed is None:
            script = Script(script.epoch + 1)
            script.time = NOON + DAY_S * 400 * script.epoch
        script.time += step.days * DAY_S
        for _ in range(step.missed or 0):
            sent.append((script.epoch, msgspec.msgpack.decode(script.event("Hangup"))["seq"], "Hangup"))
        batch = [script.event(name) for name in step.names]
        sent += [(script.epoch, (event := msgspec.msgpack.decode(one))["seq"], event["event"]) for one in batch]
        page = Page(script.epoch, sent[-1][1], msgspec.Raw(join(batch)), step.missed, False)
        store.commit(recording.feed_page(page, NOON), recording.open_calls)
    store.close()
    return sent


@given(steps=STEPS, limit=st.integers(1, 40), names=st.sampled_from([None, ["Hangup"], ["Newchannel"], ["varset", "hangup"]]))
@settings(max_examples=60)
def test_every_event_is_returned_once_or_counted(steps: list[Step], limit: int, names: list[str] | None) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr("amid.recorder.day_file.BLOCK_EVENTS", 8)
        patch.setattr(replay, "STEP_BLOCKS", 2)
        directory = Path(name)
        sent = record(directory, steps)
        wanted = [one for one in sent if names is None or one[2].casefold() in map(str.casefold, names)]
        position = 1, 0
        found: list[tuple[int, int, str]] = []
        for page in follow(directory, position, limit=limit, names=names):
            events = [(event["epoch"], event["seq"], event["event"]) for event in page["events"]]
            assert all(event[0] == page["epoch"] for event in events) and len(events) <= limit
            cursor = page["epoch"], page["seq"]
            absent = [one for one in wanted if position < one[:2] <= cursor and one not in events]
            if names is None and events and page["missed"] is not None:
                first = position[1] + page["missed"] + 1
                assert [event[1] for event in events] == list(range(first, first + len(events)))
            if page["missed"] is None:
                assert cursor[0] > position[0] and all(one[0] == cursor[0] for one in events)
            elif names is None:
                assert page["missed"] == len(absent)
            else:
                assert page["missed"] >= len(absent)
            position, found = cursor, found + events
        stored = [one for one in wanted if one in found]
        assert found == stored, "in order, each once"


DAMAGE = {
    "tail": "UPDATE tail SET body = x'93c1'",
    "no tail": "UPDATE tail SET body = NULL",
    "names": "UPDATE block SET names = x'010203'",
    "no names": "UPDATE block SET names = NULL",
    "no body": "UPDATE block SET body = NULL",
    "numbers": "UPDATE block SET last = 'x'",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("names", [None, ["Hold"]], ids=["all", "by name"])
def test_damaged_content_ends_no_request(damage: str, names: list[str] | None, tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("UserEvent") for _ in range(300)])
    (path,) = Archive(tmp_path, "pbx1").files()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(DAMAGE[damage])
    assert all(page["seq"] <= 300 for page in follow(tmp_path, (1, 0), names=names))


def test_a_block_that_states_a_size_over_the_limit_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    script = at(NOON)
    body = blocks.Compressor().compress([script.event("UserEvent")])
    monkeypatch.setattr(blocks, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="over 10 bytes"):
        blocks.decompress(body)


def test_a_file_without_tables_has_no_events(tmp_path: Path) -> None:
    script = at(NOON)
    Writer(tmp_path).write([script.event("UserEvent") for _ in range(3)])
    (tmp_path / "pbx1-2026-01-01.db").touch()
    assert seqs(pull(tmp_path, (1, 0))) == [1, 2, 3]
