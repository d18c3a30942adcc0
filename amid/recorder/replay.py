"""Requests for events that the reader no longer holds, answered from the files of one server.

A request is answered in steps of a few blocks, so that others get their turn. Files and blocks are
found by number, and blocks without an event of the requested names are not decompressed.
"""

from __future__ import annotations

import logging
import sqlite3
import sys
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from amid.errors import AmidError
from amid.events.replay_buffer import Cursor
from amid.history.blocks import decompress
from amid.recorder.archive import NEVER, Archive, is_unfinished, opened, tail_of
from amid.recorder.day_file import hashes_of
from amid.rpc.requests import EventsParams
from amid.rpc.result import EncodedEvents

log = logging.getLogger("amid.recorder")

STEP_BLOCKS = 20
"""Blocks read in one step, which takes some 10 ms."""
MAX_ANSWER_BYTES = 1024 * 1024
"""Bytes of events at which an answer ends, as in the reader."""

BLOCKS = """SELECT id, epoch, first, last, events, names FROM block WHERE (epoch, last) > (?, ?) AND (epoch, first) < (?, ?)
            ORDER BY epoch, last LIMIT ?"""
NEXT = "SELECT epoch, first FROM block WHERE (epoch, last) > (?, ?) ORDER BY epoch, last LIMIT 1"
TAIL = "SELECT epoch, first, seq FROM cursor WHERE first <= seq AND (epoch, seq) > (?, ?) AND (epoch, first) < (?, ?)"


class _Head(msgspec.Struct, gc=False):
    """What is decoded of an event."""

    seq: int
    event: str


class _Numbered(NamedTuple):
    seq: int
    name: str
    packed: msgspec.Raw


_HEAD = msgspec.msgpack.Decoder(_Head)


class Run(NamedTuple):
    """Numbers `first` to `last` of an epoch, and the events among them. No other event among them has
    a requested name. events: None if none of them has one."""

    epoch: int
    first: int
    last: int
    events: list[_Numbered] | None = None


class RecordedFiles:
    """The files of one server in the order of their events. After the clock was set back, an earlier
    file continues: the numbers of a file may have holes, which others fill."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._ends: dict[Path, tuple[list[tuple[int, int]], Cursor, Cursor]] = {}
        """The first and last number of a file, and the state of the file when they were read."""

    def after(self, cursor: Cursor) -> list[tuple[Cursor, Path]]:
        """The files with events after this one, in the order of the first of these, whose number is with
        each. Raises `AmidError` if one cannot be read."""
        found = [(begin, path) for path in self._archive.files() if (begin := self._begin_after(cursor, path)) is not None]
        return sorted(found)

    def _begin_after(self, cursor: Cursor, path: Path) -> Cursor | None:
        with _reading(path):
            state = [_state(path), _state(path.with_name(path.name + "-wal"))]
            if path not in self._ends or self._ends[path][0] != state:
                with opened(path) as db:
                    first, last = _begin(db, Cursor(0, 0)), db.execute("SELECT epoch, seq FROM cursor").fetchone()
                if first is None:
                    return None
                self._ends[path] = state, first, Cursor(*map(int, last)) if last else NEVER
            _, first, end = self._ends[path]
            if cursor < first:
                return first
            if end <= cursor:
                return None
            with opened(path) as db:
                return _begin(db, cursor)
        return None


def _state(path: Path) -> tuple[int, int]:
    """Differs after a file was written or replaced."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _begin(db: sqlite3.Connection, after: Cursor) -> Cursor | None:
    """The first number of the first block, or of the tail, with an event after this one."""
    found = db.execute(NEXT, after).fetchone() or db.execute(TAIL, (*after, *NEVER)).fetchone()
    return Cursor(*map(int, found[:2])) if found is not None else None  # a damaged file has other types


class RecordedPull:
    """One request. cursor: up to where its answer is complete. held: where the events begin that the
    reader holds, if it is known."""

    def __init__(self, files: RecordedFiles, params: EventsParams, as_json: bool, held: tuple[int, int] | None = None) -> None:
        assert params.after is not None
        self._limit = params.limit
        self._names = frozenset(name.casefold() for name in params.names or ())
        self._files = files
        self.cursor = self._position = Cursor(params.after.epoch, params.after.seq)
        self._held = held if held is not None and held > self.cursor else NEVER
        self.missed: int | None = 0
        self.events = EncodedEvents(as_json)
        self.is_complete = False
        self.is_at_end = False
        """Whether nothing after the cursor is recorded."""
        self.is_held = False
        """Whether the reader holds events after the cursor that are not recorded."""

    @property
    def is_empty(self) -> bool:
        """Whether its answer reports nothing yet."""
        return not self.events.count and self.missed == 0

    @property
    def is_done(self) -> bool:
        """Whether there is nothing more to read for its answer."""
        return self.is_complete or self.is_at_end

    def page(self, server: str, more: bool) -> bytes:
        """The answer, encoded."""
        return self.events.page(server, *self.cursor, self.missed, more)

    def advance(self) -> None:
        """Read the next blocks. Raises `AmidError` if a file cannot be read at present."""
        files = self._files.after(self._position)
        runs: list[Run] = []
        position = None
        ends = [begin for begin, _ in files[1:]] + [NEVER]
        for (_, path), end in zip(files, ends, strict=False):
            with _reading(path), opened(path) as db:
                runs, position = _read(db, self._position, end, self._names)
            if position is not None:
                break
        self._position = position or self._position
        self.is_at_end = position is None
        self.is_complete = not all(map(self._add, runs))

    def _add(self, run: Run) -> bool:
        """Add the events of a run. False once the answer is complete. Missing events are before all
        events of an answer."""
        self.is_held = self._is_held_before(run)
        if self.is_held:
            return False
        if run.epoch != self.cursor.epoch:
            if not self.is_empty:
                return False
            self.missed, self.cursor = None, Cursor(run.epoch, 0)
        hole = run.first - 1 - self.cursor.seq
        if hole > 0:
            if self.events.count or self.missed is None:
                return False
            self.missed += hole
        new = [event for event in run.events or () if event.seq > self.cursor.seq and self._is_wanted(event)]
        chosen = new[: self._limit - self.events.count]
        if chosen:
            self.events.add_packed([event.packed for event in chosen])
        is_full = self.events.count == self._limit
        self.cursor = Cursor(run.epoch, chosen[-1].seq if is_full else max(run.last, self.cursor.seq))
        return not is_full and self.events.size < MAX_ANSWER_BYTES

    def _is_held_before(self, run: Run) -> bool:
        """Whether the reader holds events, or the end of an epoch, between the cursor and a run."""
        epoch, seq = self.cursor
        last = run.first - 1 if run.epoch == epoch else sys.maxsize
        return last > seq and (epoch, last) > self._held

    def _is_wanted(self, event: _Numbered) -> bool:
        return not self._names or event.name.casefold() in self._names


def _read(db: sqlite3.Connection, after: Cursor, end: Cursor, names: frozenset[str]) -> tuple[list[Run], Cursor | None]:
    """The next runs of a file that begin before `end`, and the number up to which it was read; None if
    there are none after `after`. names: the requested ones, case-folded, all if empty."""
    lacks = not names or any(name in names for (name,) in db.execute("SELECT name FROM left_out"))
    hashes = hashes_of(names)
    runs: list[Run] = []
    rows = db.execute(BLOCKS, (*after, *end, STEP_BLOCKS)).fetchall()
    for block, *numbers, found in rows:
        epoch, first, last, stored = map(int, numbers)
        may_lack = lacks and stored < last - first + 1
        if not names or may_lack or not hashes.isdisjoint(array("I", found)):
            runs += _runs(epoch, first, last, _events_of(db, block), may_lack)
        else:
            runs.append(Run(epoch, first, last))
        after = Cursor(epoch, last)
    if len(rows) < STEP_BLOCKS:
        for epoch, first, last in [map(int, row) for row in db.execute(TAIL, (*after, *end))]:
            rows.append((epoch, last))
            runs += _runs(epoch, first, last, _events_of_tail(db), lacks)
            after = Cursor(epoch, last)
    return runs, after if rows else None


def _runs(epoch: int, first: int, last: int, events: list[_Numbered] | None, may_lack: bool) -> list[Run]:
    """A block as runs; none if it is damaged. may_lack: an event with a requested name may have been
    left out, so that each run ends where one is missing."""
    if events is None or not may_lack:
        return [] if events is None else [Run(epoch, first, last, events)]
    stretches = groupby(enumerate(events), lambda one: one[1].seq - one[0])
    in_sequence = [[event for _, event in stretch] for _, stretch in stretches]
    return [Run(epoch, stretch[0].seq, stretch[-1].seq, stretch) for stretch in in_sequence]


def _events_of(db: sqlite3.Connection, block: int) -> list[_Numbered] | None:
    """The events of a block, None if it is damaged."""
    (body,) = db.execute("SELECT body FROM block WHERE id = ?", (block,)).fetchone()
    try:
        return _numbered(decompress(body))
    except (ValueError, TypeError) as error:
        log.error("block %d of recorded events cannot be read: %s", block, error)
        return None


def _events_of_tail(db: sqlite3.Connection) -> list[_Numbered] | None:
    """The events of the tail, None if it is damaged."""
    try:
        return _numbered(tail_of(db))
    except (ValueError, TypeError) as error:
        log.error("the last recorded events cannot be read: %s", error)
        return None


def _numbered(packed: Iterable[msgspec.Raw]) -> list[_Numbered]:
    return [_Numbered((head := _HEAD.decode(one)).seq, head.event, one) for one in packed]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A damaged, deleted or unfinished file has no events. Raises `AmidError` if it cannot be read at
    present."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not is_unfinished(error):
            raise AmidError("not_connected", f"cannot read recorded events in {path}: {error}; retry") from None
    except (sqlite3.DatabaseError, ValueError, TypeError, FileNotFoundError) as error:
        log.error("recorded events in %s cannot be read: %s", path, error)
