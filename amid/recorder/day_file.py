"""The SQLite file of one server and day, as it is written.

Events come in batches, one transaction each. They are in `tail`, an array of each batch, until there
are enough of them for a block. A block has the hashes of the calls that its events belong to, and
`call` has the numbers of the first and last event of each call, so that a call is found by looking
at the hashes of few blocks. In the same way, events are found by their names.

A block, and the tail, stand for a range of numbers without a gap: an event that is not in them was
left out because of its name. The numbers between two ranges are those of missing events.

SQLite's write-ahead log makes a batch complete or absent, however the process ends, and lets other
connections read meanwhile.
"""

from __future__ import annotations

import json
import os
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from amid.events.replay_buffer import Cursor
from amid.history.blocks import BLOCK_EVENTS, Compressor
from amid.history.event import Event, Packed, linkedids_of

FORMAT = 1
"""`user_version` of the file."""
MODE = 0o640
SESSION = ""
"""Stands for the Linkedid of events about the session."""
SESSION_EVENTS = frozenset({"FullyBooted", "amid:disconnected"})
"""Events of no call that may end calls."""

SCHEMA = """
CREATE TABLE block (id INTEGER PRIMARY KEY, epoch INTEGER, first INTEGER, last INTEGER, events INTEGER, names BLOB, calls BLOB,
                    body BLOB);
CREATE INDEX block_numbers ON block (epoch, last);
CREATE TABLE tail (id INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE call (linkedid TEXT PRIMARY KEY, first_epoch INTEGER, first_seq INTEGER, last_epoch INTEGER, last_seq INTEGER,
                   began REAL, ended REAL, continued INTEGER DEFAULT 0, seconds REAL, queue TEXT, agent TEXT, outcome TEXT,
                   ended_by TEXT, summary TEXT) WITHOUT ROWID;
CREATE INDEX call_began ON call (began);
CREATE TABLE party (number TEXT, linkedid TEXT, PRIMARY KEY (number, linkedid)) WITHOUT ROWID;
CREATE TABLE joined (linkedid TEXT PRIMARY KEY, target TEXT) WITHOUT ROWID;
CREATE TABLE gap (epoch INTEGER, after INTEGER, missed INTEGER, time REAL, reason TEXT);
CREATE TABLE left_out (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER, first INTEGER, seq INTEGER);
"""


class StoredEvent(msgspec.Struct, gc=False):
    """An event to store. packed: as it was published. linkedids: its calls."""

    epoch: int
    seq: int
    time: float
    name: str
    packed: Packed
    linkedids: Sequence[str]


def stored(event: Event, packed: Packed, linkedids: Sequence[str] | None = None) -> StoredEvent:
    """An event to store. linkedids: `linkedids_of` it, if the caller has them."""
    if linkedids is None:
        linkedids = linkedids_of(event, packed)
    if not linkedids and event.event in SESSION_EVENTS:
        linkedids = (SESSION,)
    return StoredEvent(event.epoch, event.seq, event.time, event.event, packed, linkedids)


class CallRow(NamedTuple):
    """A call. summary: as the contract describes it. first, last: the numbers of its first and last
    event; `last` is None during the call."""

    summary: dict[str, Any]
    first: Cursor
    last: Cursor | None


class GapRow(NamedTuple):
    """`missed` events after number `after` of `epoch` are missing; None: their number is unknown."""

    epoch: int
    after: int
    missed: int | None
    time: float
    reason: str


class Batch(NamedTuple):
    """Events of one epoch to store, calls that changed, and gaps.

    All events from number `first` to `cursor` were read; those that are not in `events` were left
    out, because they have one of the names in `left_out` (case-folded).
    """

    first: int
    cursor: Cursor
    events: Sequence[StoredEvent] = ()
    calls: Sequence[CallRow] = ()
    gaps: Sequence[GapRow] = ()
    left_out: Iterable[str] = ()


class Tail(NamedTuple):
    """Events `first` to `last` of an epoch, which are not in a block yet."""

    epoch: int
    first: int
    last: int
    events: list[StoredEvent]


class DayFile:
    """A file that is open for writing; it is created if necessary. All methods raise
    `sqlite3.Error` and `OSError`, and the constructor raises `ValueError` for a damaged file."""

    def __init__(self, path: Path, tail: Sequence[StoredEvent] = (), is_whole: bool = True) -> None:
        """tail: the events in its tail, which the caller has read. is_whole: false if the events after
        them are damaged, and so are missing."""
        self.path = path
        created = os.open(path, os.O_CREAT | os.O_RDWR, MODE)  # the write-ahead log gets the mode of this file
        self._inode = os.fstat(created).st_ino
        os.close(created)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            if not self._db.execute("PRAGMA user_version").fetchone()[0]:
                self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
            cursor = self._db.execute("SELECT epoch, first, seq FROM cursor").fetchone() or (0, 1, 0)
            epoch, first, last = msgspec.convert(cursor, tuple[int, int, int])
        except BaseException:
            self._db.close()
            raise
        self._compressor = Compressor()
        if not is_whole:
            last = tail[-1].seq if tail else first - 1
        self._tail = Tail(epoch, first, last, list(tail))

    @property
    def is_removed(self) -> bool:
        """Whether it was deleted or replaced, so that nothing stored in it would be found."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def commit(self, batch: Batch) -> None:
        """Store one batch, completely or not at all."""
        with _Transaction(self._db):
            tail = self._put_events(batch)
            self._put_calls(batch.calls)
            self._db.executemany("INSERT INTO gap VALUES (?, ?, ?, ?, ?)", batch.gaps)
            self._db.executemany("INSERT OR IGNORE INTO left_out VALUES (?)", [(name,) for name in batch.left_out])
            self._db.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?, ?, ?)", (tail.epoch, tail.first, tail.last))
        self._tail = tail

    def finish(self) -> None:
        """Complete the file, because another one is written from now on. Open calls continue there."""
        with _Transaction(self._db):
            self._put_block(self._tail)
            self._db.execute("DELETE FROM tail")
            self._db.execute("UPDATE cursor SET first = seq + 1")
            self._db.execute("UPDATE call SET continued = 1 WHERE ended IS NULL")
        self._tail = Tail(self._tail.epoch, self._tail.last + 1, self._tail.last, [])

    def close(self) -> None:
        self._db.close()

    def _put_events(self, batch: Batch) -> Tail:
        """Store events. Returns the tail after them."""
        old = self._tail
        if (batch.cursor.epoch, batch.first) == (old.epoch, old.last + 1):
            first, events, is_new = old.first, [*old.events, *batch.events], batch.events
        else:
            self._put_block(old)
            first, events, is_new = batch.first, list(batch.events), batch.events
        while len(events) > BLOCK_EVENTS:
            block, events = events[:BLOCK_EVENTS], events[BLOCK_EVENTS:]
            self._put_block(Tail(batch.cursor.epoch, first, block[-1].seq, block))
            first, is_new = block[-1].seq + 1, events
        if (batch.cursor.epoch, first) != (old.epoch, old.first):
            self._db.execute("DELETE FROM tail")
        if is_new:
            self._db.execute("INSERT INTO tail (body) VALUES (?)", (self._compressor.compress([event.packed for event in is_new]),))
        return Tail(batch.cursor.epoch, first, batch.cursor.seq, events)

    def _put_block(self, tail: Tail) -> None:
        """Make a block of a tail, unless it stands for no numbers."""
        if tail.first > tail.last:
            return
        events = tail.events
        names = hashes_of(map(str.casefold, {event.name for event in events}))
        calls = hashes_of({linkedid for event in events for linkedid in event.linkedids})
        body = self._compressor.compress([event.packed for event in events])
        self._db.execute(
            "INSERT INTO block (epoch, first, last, events, names, calls, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (tail.epoch, tail.first, tail.last, len(events), _packed(names), _packed(calls), body),
        )

    def _put_calls(self, calls: Sequence[CallRow]) -> None:
        many = self._db.executemany
        many("INSERT OR REPLACE INTO call VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)", map(_call_values, calls))
        joined = [(storable(linkedid), _linkedid(call)) for call in calls for linkedid in call.summary["joined"]]
        many("DELETE FROM call WHERE linkedid = ?", [(linkedid,) for linkedid, _ in joined])
        many("INSERT OR REPLACE INTO joined VALUES (?, ?)", joined)
        parties = [(reverse(number), _linkedid(call)) for call in calls for number in call.summary["numbers"]]
        many("INSERT OR IGNORE INTO party VALUES (?, ?)", parties)


class _Transaction:
    """Begins immediately, so that a file that cannot be written fails here; all or nothing is
    stored."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")


def _call_values(call: CallRow) -> tuple[Any, ...]:
    row = call.summary
    seconds = row["ended"] - row["began"] if row["ended"] is not None else None
    numbers = *call.first, *(call.last or (None, None))
    found_by = storable(row["queue"]), storable(row["agent"]), row["outcome"], row["ended_by"]
    return _linkedid(call), *numbers, row["began"], row["ended"], seconds, *found_by, as_json(row)


def _linkedid(call: CallRow) -> str:
    return storable(call.summary["linkedid"])


def storable(text: str) -> str:
    """As the columns have text. SQLite refuses lone surrogates, which stand for bytes that are not
    UTF-8; anyone who calls can send such bytes as a number."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_json(value: Any) -> str:
    """As `call.summary` has text, so that a part of it is found there."""
    try:
        return msgspec.json.encode(value).decode()  # five times faster, but refuses lone surrogates
    except UnicodeEncodeError:
        return storable(json.dumps(value, ensure_ascii=False))  # the escape of a lone surrogate is that of JSON


def hashes_of(texts: Iterable[str]) -> set[int]:
    """Of Linkedids and names of events, as `block` has them, 32 bits each. Different ones may have
    the same hash."""
    return {crc32(storable(text).encode()) for text in texts}


def _packed(hashes: Iterable[int]) -> bytes:
    return array("I", hashes).tobytes()


def reverse(number: str) -> str:
    """As `party` has numbers, so that one is found by its last digits."""
    return storable(number)[::-1]
