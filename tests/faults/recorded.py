"""What the recorder has written, as records for the judge: it is a subscriber that receives every
event, or a gap of the right size, and it has every call of these events once.

A file is read in one transaction. The recorder stores events, gaps and calls in one as well, so
they must agree at any moment, also after SIGKILL. The expected calls follow from the events alone:
a call is complete if no event between its first Newchannel and its last Hangup is missing.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from amid.history.blocks import decompress
from amid.recorder.archive import Archive, opened, tail_of
from tests.faults.listeners import END, token
from tests.faults.records import Deaf, Missed, Record, RecordedCall, Seen

NAME = "recorder"
BLOCKS = "SELECT body FROM block WHERE (epoch, last) > (?, ?) ORDER BY id"

Packet = dict[str, Any]


@dataclass
class Expected:
    """A call as its events say. began, ended: times of its first and last event of a channel."""

    began: float
    ended: float = 0.0
    live: set[str] = field(default_factory=set)
    channels: int = 0

    def as_row(self) -> dict[str, Any]:
        return {"began": self.began, "ended": self.ended, "channels": self.channels}


class Calls:
    """Folds events into the calls that must be there. known: all Linkedids that events had."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self._open: dict[str, Expected] = {}

    def interrupt(self) -> None:
        """Events are missing: nothing is expected of the calls that are open."""
        self._open.clear()

    def feed(self, event: Packet) -> Iterator[tuple[str, Expected]]:
        """The call that ended with this event."""
        fields = event["fields"]
        linkedid, uniqueid = fields.get("Linkedid"), fields.get("Uniqueid")
        self.known |= {fields[header] for header in ("Linkedid", "DestLinkedid") if header in fields}
        if event["event"] == "Newchannel":
            if uniqueid == linkedid:
                self._open[linkedid] = Expected(event["time"])
            if call := self._open.get(linkedid):
                call.live.add(uniqueid)
                call.channels += 1
        elif event["event"] == "Hangup" and (call := self._open.get(linkedid)):
            call.live.discard(uniqueid)
            if not call.live:
                call.ended = event["time"]
                yield linkedid, self._open.pop(linkedid)


class Recorded:
    """The files of one server. directory: where the recorder writes."""

    def __init__(self, directory: Path, server: str) -> None:
        self._archive = Archive(directory, server)
        self._calls = Calls()
        self._cursor = (0, 0)
        self._gaps: dict[Path, int] = {}
        self.has_all = False
        """Whether the last event of the load is recorded."""

    def read(self) -> Iterator[Record]:
        """What was written since the last time."""
        for path in self._archive.files():
            with opened(path) as db:
                yield from self._read(path, db)

    def end(self) -> Iterator[Record]:
        """The load has ended, and nothing more comes."""
        if not self.has_all:
            yield Deaf(NAME, time.monotonic())

    def _read(self, path: Path, db: sqlite3.Connection) -> Iterator[Record]:
        ended: list[tuple[str, Expected]] = []
        for one in self._in_order(path, db):
            if isinstance(one, Missed):
                self._calls.interrupt()
                yield one
            else:
                yield self._seen(one)
                ended += self._calls.feed(one)
        joined = dict(db.execute("SELECT linkedid, target FROM joined"))
        now = time.monotonic()
        for linkedid, call in ended:
            if linkedid not in joined:
                expected, row = call.as_row(), _summary(db, linkedid)
                yield RecordedCall(now, linkedid, expected, row and {key: row[key] for key in expected})
        listed = {linkedid for (linkedid,) in db.execute("SELECT linkedid FROM call")}
        for linkedid in listed - self._calls.known:
            yield RecordedCall(now, linkedid, None, _summary(db, linkedid))

    def _in_order(self, path: Path, db: sqlite3.Connection) -> Iterator[Missed | Packet]:
        """New events and gaps; a gap follows the event after which others are missing."""
        gaps: list[tuple[tuple[int, int, int], Missed | Packet]] = []
        sql = "SELECT rowid, epoch, after, missed FROM gap WHERE rowid > ? ORDER BY epoch, after"
        for rowid, epoch, after, missed in db.execute(sql, (self._gaps.get(path, 0),)).fetchall():
            self._gaps[path] = max(rowid, self._gaps.get(path, 0))
            gaps.append(((epoch, after, 1), Missed(NAME, time.monotonic(), epoch, after, missed)))
        for _, one in heapq.merge(self._new_events(db), gaps, key=lambda one: one[0]):
            yield one

    def _new_events(self, db: sqlite3.Connection) -> Iterator[tuple[tuple[int, int, int], Missed | Packet]]:
        """A block at a time: the events of minutes would be large."""
        read = self._cursor
        blocks = (decompress(body) for (body,) in db.execute(BLOCKS, read))
        for packed in chain(chain.from_iterable(blocks), tail_of(db)):
            event = msgspec.msgpack.decode(packed)
            number = event["epoch"], event["seq"]
            if number > read:
                self._cursor = max(self._cursor, number)
                yield (*number, 0), event

    def _seen(self, event: Packet) -> Seen:
        said = token(event["event"], event["fields"])
        self.has_all |= said == END
        at = event["time"] - time.time() + time.monotonic()
        return Seen(NAME, at, event["epoch"], event["seq"], event["prev"], event["event"], said)


def _summary(db: sqlite3.Connection, linkedid: str) -> dict[str, Any] | None:
    """The call as the contract describes it, None if it is not there."""
    found = db.execute("SELECT summary FROM call WHERE linkedid = ?", (linkedid,)).fetchone()
    return json.loads(found[0]) if found else None
