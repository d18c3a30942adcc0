"""Deletes recorded files that are too old, or too many. Files of today are never deleted."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from amid.recorder.archive import SUFFIX, day_of

log = logging.getLogger("amid.recorder")

DAY_S = 86_400
_NAME = re.compile(rf"[A-Za-z0-9_-]+-(\d{{4}}-\d\d-\d\d){re.escape(SUFFIX)}(?:\.damaged-\d+)?")


class Recorded(NamedTuple):
    """A file. size: in bytes, with its write-ahead log."""

    day: str
    name: str
    size: int


def outdated(files: Iterable[Recorded], now: float, keep_days: int, keep_bytes: int) -> list[Recorded]:
    """The files to delete. now: in seconds since 1970."""
    today, first = day_of(now), day_of(now - keep_days * DAY_S)
    oldest_first = sorted(files)
    size = sum(file.size for file in oldest_first)
    found = []
    for file in oldest_first:
        if file.day < today and (file.day <= first or size > keep_bytes):
            found.append(file)
            size -= file.size
    return found


def delete_outdated(directory: Path, now: float, keep_days: int, keep_bytes: int) -> int:
    """Delete outdated files. Returns their number. Raises `OSError`."""
    old = outdated(_files(directory), now, keep_days, keep_bytes)
    for file in old:
        for suffix in ("", "-wal", "-shm"):
            (directory / (file.name + suffix)).unlink(missing_ok=True)
        log.info("deleted %s (%d bytes), because of keep_days or keep_bytes", file.name, file.size)
    return len(old)


def _files(directory: Path) -> list[Recorded]:
    found = []
    for entry in os.scandir(directory):
        name = _NAME.fullmatch(entry.name)
        if name:
            sizes = (directory / (entry.name + suffix) for suffix in ("", "-wal"))
            found.append(Recorded(name[1], entry.name, sum(path.stat().st_size for path in sizes if path.exists())))
    return found
