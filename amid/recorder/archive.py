"""The files of one server, as they are read: calls, one call with its ladder, its events.

Each request opens the files that it needs, read-only, and closes them, because a file may be
deleted or renamed at any time. A file that cannot be read is skipped, and the answer names it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from amid.client.results import CallSummary
from amid.events.replay_buffer import Cursor
from amid.history import blocks
from amid.history.event import Event, decode, linkedids_of
from amid.history.fold import Fold
from amid.history.ladder import UNANSWERED, ladder
from amid.history.masking import mask, mask_summary
from amid.history.model import Call
from amid.recorder.day_file import SESSION, SESSION_EVENTS, CallRow, GapRow, as_json, hashes_of, reverse, storable
from amid.rpc.requests import LONGEST_EXTENSION, CallParams, CallsParams

T = TypeVar("T")

SUFFIX = ".db"
MAX_CHARACTER = "\U0010ffff"
"""Sorts after every character of a number."""
AT_S = 12 * 3600
"""Seconds before and after a time within which the nearest call of a number is searched."""
OTHER_ZONE_S = 24 * 3600
"""The days of files differ so much if the time zone of this machine was another one then."""
NEVER = Cursor(1 << 62, 0)
"""Greater than every number."""

Numbered = tuple[Event, msgspec.Raw]
"""An event and its bytes."""

_SUMMARY: Any = CallSummary


class _StoredCall(NamedTuple):
    summary: str
    first_epoch: int
    first_seq: int
    last_epoch: int | None
    last_seq: int | None


class FoundCall(NamedTuple):
    """summary, ladder: as the contract describes them. events: as they were published."""

    summary: dict[str, Any]
    ladder: list[dict[str, Any]]
    events: list[msgspec.Raw]


class Archive:
    """directory: where the files of all servers are."""

    def __init__(self, directory: Path, server: str) -> None:
        self._directory = directory
        self._server = server
        self.failures: list[tuple[Path, Exception]] = []
        """The files that this archive could not read, and why."""

    def files(self) -> list[Path]:
        """The oldest first."""
        return sorted(self._directory.glob(f"{self._server}-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]{SUFFIX}"))

    # ── calls ──

    def calls(self, params: CallsParams) -> tuple[list[dict[str, Any]], bool]:
        """The newest `limit` calls that match, newest first, and whether there are more."""
        conditions, values = _conditions(params)
        sql = f"SELECT summary FROM call WHERE {' AND '.join(conditions)} ORDER BY began DESC LIMIT ?"
        found: list[dict[str, Any]] = []
        for path in reversed(self.files()):
            if (params.since is not None and _day(path) < day_of(params.since - OTHER_ZONE_S)) or len(found) > params.limit:
                break
            found += self._ask(path, partial(_summaries, sql=sql, values=(*values, params.limit + 1)))
        found.sort(key=lambda row: row["began"], reverse=True)
        shown = found[: params.limit]
        return [mask_summary(row) for row in shown] if params.masked else shown, len(found) > params.limit

    # ── one call ──

    def call(self, params: CallParams) -> FoundCall | None:
        """The call that `params` identify, None if there is no such call."""
        linkedid = params.linkedid if params.linkedid is not None else self._linkedid_at(params.number or "", params.at)
        row = self._row(linkedid) if linkedid is not None else None
        if row is None:
            return None
        events = self._events_of(row)
        call = self._fold(row.summary, events)
        lines = ladder(call, mask if params.masked else str) if call is not None else []
        shown = mask_summary(row.summary) if params.masked else row.summary
        return FoundCall(shown, lines, [packed for _, packed in events])

    def _row(self, linkedid: str) -> CallRow | None:
        condition = "continued = 0 AND linkedid IN (?, (SELECT target FROM joined WHERE linkedid = ?))"
        for path in reversed(self.files()):
            for row in self._rows(path, condition, (linkedid, linkedid)):
                return row
        return None

    def _rows(self, path: Path, condition: str, values: Sequence[Any] = ()) -> list[CallRow]:
        sql = f"SELECT summary, first_epoch, first_seq, last_epoch, last_seq FROM call WHERE {condition}"
        return self._ask(path, lambda db: map(_call_row, _rows(db, sql, values, _StoredCall)))

    def _linkedid_at(self, number: str, at: float | None) -> str | None:
        """The call of this number at that time, or the nearest one; without a time, the newest."""
        if at is None:
            found, _ = self.calls(CallsParams(number=number, limit=1))
        else:
            found, _ = self.calls(CallsParams(number=number, since=at - AT_S, until=at, limit=1000))
            found += self.calls(CallsParams(number=number, since=at, until=at + AT_S, limit=1000))[0]
            found.sort(key=lambda row: _distance(row, at))
        return found[0]["linkedid"] if found else None

    def _events_of(self, row: CallRow) -> list[Numbered]:
        """Each event of a call once, in order, and the events of the session that may end it."""
        call = row.summary
        wanted = {call["linkedid"], *call["joined"]}
        hashes = hashes_of({*wanted, SESSION})
        end = call["ended"] if call["ended"] is not None else time.time()
        began, end = sorted((call["began"], end))  # the clock may have been set back
        first_day, last_day = day_of(began - OTHER_ZONE_S), day_of(end + OTHER_ZONE_S)
        found: dict[tuple[int, int], Numbered] = {}
        for path in self.files():
            if not first_day <= _day(path) <= last_day:
                continue
            for event, packed in self._ask(path, partial(_events_near, row=row, hashes=hashes)):
                if not wanted.isdisjoint(linkedids_of(event, packed)) or _may_end(event, call):
                    found[event.number] = event, packed
        return [found[number] for number in sorted(found)]

    def _fold(self, call: dict[str, Any], events: list[Numbered]) -> Call | None:
        end = call["ended"] if call["ended"] is not None else time.time()
        fold = _fold_of(events, [gap for gap in self.gaps() if call["began"] <= gap.time <= end])
        folded = fold.calls.get(call["linkedid"])
        if folded is not None and call["ended"] is not None and not folded.ended:  # it ended in a gap
            fold.hang_up_unlisted(frozenset(), call["ended"])
        return folded

    def gaps(self) -> list[GapRow]:
        """All known gaps, the oldest first."""
        found: list[GapRow] = []
        for path in self.files():
            found += self._read(path, "SELECT epoch, after, missed, time, reason FROM gap", GapRow)
        return sorted(found, key=lambda gap: (gap.epoch, gap.after))

    # ── where recording continues ──

    def cursor(self) -> tuple[Cursor, Path] | None:
        """The last event that was recorded, and its file. Epochs grow."""
        found: list[tuple[Cursor, Path]] = []
        for path in self.files():
            found += [(cursor, path) for cursor in self._read(path, "SELECT epoch, seq FROM cursor", Cursor)]
        return max(found, default=None)

    def open_calls(self, path: Path) -> Fold:
        """The calls that were open when this file was written last."""
        rows = self._rows(path, "ended IS NULL AND continued = 0")
        found = {event.number: (event, packed) for row in rows for event, packed in self._events_of(row)}
        events = [found[number] for number in sorted(found) if found[number][0].event not in SESSION_EVENTS]
        return _fold_of(events, self.gaps() if events else [])

    def tail(self, path: Path) -> list[Numbered]:
        """The events that are not in a block yet."""
        return self._ask(path, lambda db: map(_numbered, tail_of(db))) if path.exists() else []

    def _read(self, path: Path, sql: str, kind: type[T]) -> list[T]:
        return self._ask(path, lambda db: _rows(db, sql, (), kind))

    def _ask(self, path: Path, question: Callable[[sqlite3.Connection], Iterable[T]]) -> list[T]:
        """The answer of a file, as far as it can be read. A failure is noted and affects no other
        file."""
        found: list[T] = []
        try:
            with opened(path) as db:
                for item in question(db):
                    found.append(item)  # keeps what comes before a damaged block
        except (sqlite3.Error, ValueError, TypeError) as error:
            if not is_unfinished(error):
                self.failures.append((path, error))
        return found


def is_unfinished(error: Exception) -> bool:
    """Whether a file has no tables: its creation was interrupted, or is under way. It has nothing."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table")


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A file, as it is at this moment. Raises `sqlite3.Error`."""
    if os.path.exists(path) and not os.path.isfile(path):  # opening a FIFO would wait for its writer
        error = sqlite3.OperationalError("not a regular file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
        db.create_function("shown", 1, _shown, deterministic=True)
        db.create_function("fold", 1, _fold, deterministic=True)
        db.execute("BEGIN")
        yield db


def _rows(db: sqlite3.Connection, sql: str, values: Sequence[Any], kind: type[T]) -> Iterator[T]:
    """Rows of this type. A damaged file may have values of other types: raises `ValueError`."""
    values = [storable(value) if isinstance(value, str) else value for value in values]
    return (msgspec.convert(row, kind) for row in db.execute(sql, values))


def _summary(text: str) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.convert({"late": False, **json.loads(text)}, _SUMMARY)  # earlier builds wrote none
    return found


def _shown(summary: str) -> str:
    """What a call shows of its parties and queues, without the names of members."""
    row = json.loads(summary)
    return as_json([row[name] for name in ("who", "whom", "dialled", "queue", "agent", "numbers")])


def _fold(text: Any) -> Any:
    """Text that compares without case, as Asterisk compares the names of queues."""
    return text.casefold() if isinstance(text, str) else text


def _summaries(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    return (_summary(text) for (text,) in _rows(db, sql, values, tuple[str]))


def _call_row(row: _StoredCall) -> CallRow:
    last = Cursor(row.last_epoch, row.last_seq) if row.last_epoch is not None and row.last_seq is not None else None
    return CallRow(_summary(row.summary), Cursor(row.first_epoch, row.first_seq), last)


def _numbered(packed: msgspec.Raw) -> Numbered:
    return decode(packed), packed


def _events_near(db: sqlite3.Connection, row: CallRow, hashes: set[int]) -> Iterator[Numbered]:
    """The events of the blocks that may have some of a call, and of the tail."""
    sql = "SELECT id, calls FROM block WHERE (epoch, last) >= (?, ?) AND (epoch, first) <= (?, ?) ORDER BY id"
    candidates = db.execute(sql, (*row.first, *(row.last or NEVER))).fetchall()
    for block in [block for block, calls in candidates if not hashes.isdisjoint(array("I", calls))]:
        for (body,) in db.execute("SELECT body FROM block WHERE id = ?", (block,)):
            yield from map(_numbered, blocks.decompress(body))
    yield from map(_numbered, tail_of(db))


def tail_of(db: sqlite3.Connection) -> Iterator[msgspec.Raw]:
    for (body,) in db.execute("SELECT body FROM tail ORDER BY id"):
        yield from blocks.decompress(body)


def _conditions(params: CallsParams) -> tuple[list[str], list[Any]]:
    """The conditions of a query, and their values."""
    asked: dict[str, Any] = {
        "began >= ?": params.since,
        "began <= ?": params.until,
        "fold(queue) = ?": _fold(params.queue),
        "fold(agent) = ?": _fold(params.agent),
        "ended_by = ?": params.ended_by,
        "outcome = ?": params.outcome,
        "seconds >= ?": params.longer,
        "seconds <= ?": params.shorter,
    }
    given = {sql: value for sql, value in asked.items() if value is not None}
    conditions, values = ["continued = 0", *given], list(given.values())
    if params.lost:
        conditions.append(f"ended IS NOT NULL AND outcome IN ({','.join('?' * len(UNANSWERED))})")
        values += sorted(UNANSWERED)
    if params.number is not None:
        parts = []
        for number in {params.number.lstrip("+"), _shrink(params.number)}:
            extension = len(number) <= LONGEST_EXTENSION  # the whole number, with or without a plus, as for longer ones
            parts.append("number IN (?, ?)" if extension else "number BETWEEN ? AND ?")
            values += [reverse(number), reverse(number) + ("+" if extension else MAX_CHARACTER)]
        conditions.append(f"linkedid IN (SELECT linkedid FROM party WHERE {' OR '.join(parts)})")
    if params.name is not None:
        conditions += [f"fold({text}) LIKE ? ESCAPE '\\'" for text in ("summary", "shown(summary)")]  # parses the likely ones only
        values += ["%" + "".join(f"\\{c}" if c in "%_\\" else c for c in _fold(as_json(params.name))[1:-1]) + "%"] * 2
    return conditions, values


def _shrink(number: str) -> str:
    """Without a plus before it and what people write between digits, as Asterisk shrinks a caller
    ID (ast_shrink_phone_number in callerid.c); text that is not a number is returned unchanged."""
    digits = re.sub(r"[\s().-]", "", number).lstrip("+")
    return digits if digits.isdecimal() else number.lstrip("+")


def _may_end(event: Event, call: dict[str, Any]) -> bool:
    """Whether it is an event of the session that may have ended this call."""
    until = call["ended"] if call["ended"] is not None and call["ended_by"] != "restart" else event.time
    return event.event in SESSION_EVENTS and call["began"] <= event.time <= until


def _fold_of(events: list[Numbered], gaps: list[GapRow]) -> Fold:
    """The calls of these events, and of the gaps between them; both are in order."""
    fold, later = Fold(), deque(gaps)
    for event, packed in events:
        while later and (later[0].epoch, later[0].after) < event.number:
            _add_gap(fold, later.popleft())
        fold.feed(event, packed)
    for gap in later:
        _add_gap(fold, gap)
    return fold


def _add_gap(fold: Fold, gap: GapRow) -> None:
    fold.add_gap(gap.epoch, gap.after, gap.missed, gap.time)


def _distance(row: dict[str, Any], at: float) -> float:
    """Seconds between a call and a time; 0 if the call was open then."""
    began: float = row["began"]
    ended: float = row["ended"] if row["ended"] is not None else at
    return max(began - at, at - ended, 0.0)


def day_of(seconds: float) -> str:
    """The day of a time in the time zone of this machine, as file names have it."""
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _day(path: Path) -> str:
    return path.name.removesuffix(SUFFIX)[-10:]
