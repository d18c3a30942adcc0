"""The files of one server, as they are written: one for each day.

Events that cannot be written are not kept in memory: recording stops, and resumes after the last
event on disk. The reader holds the events meanwhile; those that it no longer holds are a gap.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

from amid.events.replay_buffer import Cursor
from amid.history.fold import Fold
from amid.recorder.archive import SUFFIX, Archive, day_of
from amid.recorder.day_file import Batch, CallRow, DayFile, GapRow, StoredEvent, stored

log = logging.getLogger("amid.recorder")

DIRECTORY_MODE = 0o750

OpenCalls = Callable[[], list[CallRow]]


class StoreError(Exception):
    """The files cannot be written at present."""


class Store:
    """Not for concurrent use. directory: is created if necessary."""

    def __init__(self, directory: Path, server: str) -> None:
        self.directory = directory
        self.server = server
        self._file: DayFile | None = None
        self._day = ""
        self._cursor = Cursor(0, 0)
        self._damaged: list[str] = []

    def load(self) -> tuple[Cursor | None, Fold]:
        """The last recorded event, None for none, and the calls that were open then. Raises
        `StoreError`."""
        self.close()
        self.make_directory()
        archive = Archive(self.directory, self.server)
        found = archive.cursor()
        for unread, why in archive.failures:
            if not _is_damage(why):
                raise StoreError(f"cannot read {unread}: {why}")
            self._rename_damaged(unread, why)
        if found is None:
            return None, Fold()
        cursor, path = found
        self._cursor = cursor
        self._open(path, archive)
        return cursor, archive.open_calls(path)

    def make_directory(self) -> None:
        """Raises `StoreError`."""
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(parents=True)
                self.directory.chmod(DIRECTORY_MODE)  # mkdir applies the umask
        except OSError as error:
            raise StoreError(f"cannot create {self.directory}: {error.strerror}") from None

    def commit(self, batch: Batch, open_calls: OpenCalls) -> None:
        """Store one batch. open_calls: returns the open calls, for the file of a new day. Raises
        `StoreError`."""
        try:
            *earlier, (day, last) = _by_day(batch.events) or [(self._day or day_of(time.time()), [])]
            for earlier_day, group in earlier:
                cursor = Cursor(group[-1].epoch, group[-1].seq)
                self._commit(earlier_day, batch._replace(cursor=cursor, events=group, calls=()), open_calls)
                batch = batch._replace(first=cursor.seq + 1, gaps=())  # a gap is before the first event
            gaps = [*batch.gaps, *self._gaps_of_damage(batch.cursor)]
            self._commit(day, batch._replace(events=last, gaps=gaps), open_calls)
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._day = None, ""

    def _commit(self, day: str, batch: Batch, open_calls: OpenCalls) -> None:
        self._file_of(day, open_calls).commit(batch)
        self._cursor = batch.cursor

    def _file_of(self, day: str, open_calls: OpenCalls) -> DayFile:
        """The file of this day. It may be an earlier day, if the clock was set back."""
        old = self._file
        if old is not None and old.is_removed:
            log.error("%s was removed; what it contained is lost, and recording continues in a new file", old.path)
            self.close()
            _remove_logs(old.path)
            old = None
        if old is not None and day == self._day:
            return old
        path = self.directory / f"{self.server}-{day}{SUFFIX}"
        file = self._open(path, Archive(self.directory, self.server))
        if old is not None:
            with closing(old):
                file.commit(Batch(self._cursor.seq + 1, self._cursor, calls=open_calls()))
                old.finish()
        return file

    def _open(self, path: Path, archive: Archive) -> DayFile:
        tail = [stored(event, packed) for event, packed in archive.tail(path)]
        damage = next((why for failed, why in archive.failures if failed == path), None)
        if damage is not None and not _is_damage(damage):
            raise StoreError(f"cannot read {path}: {damage}")
        if damage is not None:
            log.error("events at the end of %s are missing, because it is damaged: %s", path, damage)
        try:
            self._file = self._day_file(path, tail, is_whole=damage is None)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open {path}: {error}") from None
        self._day = path.name.removesuffix(SUFFIX)[-10:]
        return self._file

    def _day_file(self, path: Path, tail: Sequence[StoredEvent], is_whole: bool) -> DayFile:
        """The file, or a new one in place of a damaged one. Raises `sqlite3.Error` and `OSError`."""
        try:
            return DayFile(path, tail, is_whole)
        except (sqlite3.DatabaseError, ValueError) as error:
            if not _is_damage(error):
                raise
            self._rename_damaged(path, error)
        return DayFile(path)

    def _failed(self, error: Exception) -> StoreError:
        path = self._file.path if self._file is not None else self.directory
        self.close()
        if _is_damage(error):
            self._rename_damaged(path, error)
        return StoreError(f"cannot write {path}: {error}")

    def _rename_damaged(self, path: Path, damage: Exception) -> None:
        """Keep a damaged file under another name, so that its content can be rescued by hand."""
        renamed = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        try:
            path.rename(renamed)
        except OSError as error:
            raise StoreError(f"{path} is damaged and cannot be renamed: {error.strerror}") from None
        _remove_logs(path)
        self._damaged.append(f"{path.name}: {damage}")
        log.error("%s is damaged (%s) and was renamed to %s; its calls are no longer shown", path, damage, renamed.name)

    def _gaps_of_damage(self, cursor: Cursor) -> list[GapRow]:
        gaps = [GapRow(*cursor, None, time.time(), f"damaged file {damage}") for damage in self._damaged]
        self._damaged = []
        return gaps


def _remove_logs(path: Path) -> None:
    """Remove SQLite's files beside a file that is gone. They would be applied to its successor."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _by_day(events: Sequence[StoredEvent]) -> list[tuple[str, list[StoredEvent]]]:
    """The events of each day, in order. A batch that begins and ends on the same day belongs to it."""
    if events and day_of(events[0].time) == (day := day_of(events[-1].time)):
        return [(day, list(events))]
    return [(day, list(group)) for day, group in groupby(events, lambda event: day_of(event.time))]


def _is_damage(error: Exception) -> bool:
    """Whether the content of the file is wrong, and not its disk, permissions or a lock."""
    if isinstance(error, sqlite3.OperationalError):  # the general error is one of the schema or of a text
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR
    return not isinstance(error, OSError)
