"""Keeps on disk which epochs may have been used, so that epochs always grow, even over reboots.

Subscribers drop events of a smaller epoch as duplicates. An epoch is the wall clock at the start of
the daemon plus the time since, on the monotonic clock, so setting the wall clock back while the
daemon runs has no effect. For a clock set back between two starts, the file has a number that no
epoch so far exceeds, the *reserve*; the next start begins above it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from urllib.parse import quote

from amid.process.run_dir import RunDir

log = logging.getLogger("amid.supervisor")

RESERVE_MS = 3_600_000
"""How far the reserve is ahead. A daemon that is killed leaves it
so far ahead, which is harmless."""


class Epochs:
    """`origin` plus the monotonic clock, in milliseconds, gives an epoch.

    run_dir: its lock file has the reserve too, for when the file is missing or unreadable. now:
    monotonic seconds.
    """

    def __init__(self, state_dir: Path, run_dir: RunDir, now: float) -> None:
        self._run_dir = run_dir
        self._file = state_dir / f"epoch-{quote(str(run_dir.path), safe='')}"
        last = max(run_dir.reserve, self._read())
        self.origin = max(int((time.time() - now) * 1000), last + 1 - int(now * 1000))
        self.reserve = 0
        self.extend(now, durable=True)

    def extend(self, now: float, durable: bool = False) -> None:
        """Write a new reserve once half of the last one is used. durable: wait for the disk. Raises
        `RunDirError`."""
        epoch = self.origin + int(now * 1000)
        if epoch >= self.reserve - RESERVE_MS // 2:
            self.reserve = epoch + RESERVE_MS
            self._write(durable)
            self._run_dir.claim(self.reserve)

    def close(self, now: float) -> None:
        """Reduce the reserve to what was used. All processes that use epochs have ended."""
        self.reserve = self.origin + int(now * 1000) + 1
        self._write(durable=True)

    def _read(self) -> int:
        try:
            return int(self._file.read_bytes())
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            log.warning("cannot read %s: %s; event epochs may go back if the clock was set back", self._file, error)
            return 0

    def _write(self, durable: bool) -> None:
        """Replaces the file atomically."""
        new = self._file.with_name(f".{self._file.name}")
        try:
            self._file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(b"%d\n" % self.reserve)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            new.rename(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            message = "cannot write to state_dir %s: %s; event epochs may go back if the clock is set back"
            log.warning(message, self._file.parent, error.strerror)
