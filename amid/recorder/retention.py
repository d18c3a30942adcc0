"""Deletes recorded files that are too old, or too many. Files of today are never deleted.

A clock that is set far ahead for a moment would make all files too old. So the age does not count
for STEADY_S after the clock was set.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from amid.recorder.archive import SUFFIX, day_of

log = logging.getLogger("amid.recorder")

DAY_S = 86_400
STEADY_S = 3600.0
"""Time after the clock was set in which no file is deleted because of its age."""
STEP_S = 3600.0
"""A smaller change of the clock does not matter here."""
_NAME = re.compile(rf"[A-Za-z0-9_-]+-(\d{{4}}-\d\d-\d\d){re.escape(SUFFIX)}(?:\.damaged-\d+)?")


class Recorded(NamedTuple):
    """A file. size: in bytes, with its write-ahead log."""

    day: str
    name: str
    size: int


class SteadyClock:
    """Detects that the clock was set. Times in seconds: wall since 1970, monotonic on that clock."""

    def __init__(self) -> None:
        self._offset: float | None = None
        self._set_at = -math.inf

    def is_steady(self, wall: float, monotonic: float) -> bool:
        """Whether the clock has not been set for STEADY_S, as far as it was looked at."""
        offset = wall - monotonic
        if self._offset is not None and abs(offset - self._offset) > STEP_S:
            self._set_at = monotonic
        self._offset = offset
        return monotonic - self._set_at >= STEADY_S


def outdated(files: Iterable[Recorded], now: float, keep_days: int | None, keep_bytes: int) -> list[Recorded]:
    """The files to delete. now: in seconds since 1970. keep_days: None for no limit of the age."""
    today, first = day_of(now), day_of(now - keep_days * DAY_S) if keep_days is not None else ""
    oldest_first = sorted(files)
    size = sum(file.size for file in oldest_first)
    found = []
    for file in oldest_first:
        if file.day < today and (file.day <= first or size > keep_bytes):
            found.append(file)
            size -= file.size
    return found


def delete_outdated(directory: Path, now: float, keep_days: int | None, keep_bytes: int) -> None:
    """Delete outdated files. A file that cannot be deleted affects no other. Raises `OSError` for the
    last of them."""
    failure = None
    for file in outdated(_files(directory), now, keep_days, keep_bytes):
        try:
            for suffix in ("", "-wal", "-shm"):
                (directory / (file.name + suffix)).unlink(missing_ok=True)
            log.info("deleted %s (%d bytes), because of keep_days or keep_bytes", file.name, file.size)
        except OSError as error:
            failure = error
    if failure is not None:
        raise failure


def _files(directory: Path) -> list[Recorded]:
    found = []
    for entry in os.scandir(directory):
        name = _NAME.fullmatch(entry.name)
        if name and entry.is_file():
            sizes = (directory / (entry.name + suffix) for suffix in ("", "-wal"))
            found.append(Recorded(name[1], entry.name, sum(path.stat().st_size for path in sizes if path.exists())))
    return found
