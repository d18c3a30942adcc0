"""The run_dir: its lock, its status file, and what is left of its sockets at the end.

The lock is the kernel's (flock(2)), so a daemon that was killed leaves nothing that a person would have to clean up, and a second
daemon is refused while the first one lives.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from pathlib import Path
from types import TracebackType

from amid import wire

log = logging.getLogger("amid.supervisor")

LOCK_FILE = "lock"
STATUS_FILE = "status.json"

_OWN_SOCKET = re.compile(f"{wire.RPC_SOCKET}|{wire.READERS_SOCKET}|{wire.events_socket('.*')}|{wire.stream_socket('.*')}")


def epoch_origin_now() -> int:
    """The wall clock less the monotonic one, in milliseconds."""
    return int((time.time() - time.monotonic()) * 1000)


class RunDirError(Exception):
    """The run_dir cannot be used; the message says why and what to do."""


class RunDir:
    """Made and locked on entry. `epoch_origin` is what the monotonic clock must be added to, in milliseconds, to give an epoch.

    An epoch only grows: within a daemon's life because the monotonic clock does, and over restarts, even if the wall clock was
    set back meanwhile, because the origin that the last daemon used stands in the lock file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch_origin = 0
        self._lock = -1

    def __enter__(self) -> RunDir:
        try:
            self._make()
            self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            message = f"run_dir {self.path} cannot be used: {error.strerror}; give another with amid --run-dir DIR"
            raise RunDirError(message) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 64, 0).split(b" ")[0].decode("ascii", "replace") or "unknown"
            os.close(self._lock)
            message = f"another amid (pid {pid}) already serves {self.path}; stop it or give another with amid --run-dir DIR"
            raise RunDirError(message) from None
        self._claim()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clean()
        os.close(self._lock)

    def clean(self) -> None:
        """Remove amid's sockets and the status; the lock file stays, for what it remembers, and so does what others have here."""
        for file in self.path.iterdir():
            if (file.is_socket() and _OWN_SOCKET.fullmatch(file.name)) or file.name in (STATUS_FILE, f".{STATUS_FILE}"):
                file.unlink(missing_ok=True)

    def clean_after(self, server: str) -> None:
        """Remove the sockets of a server that is no longer served; ZeroMQ leaves them."""
        for name in (wire.events_socket(server), wire.stream_socket(server)):
            (self.path / name).unlink(missing_ok=True)

    def _make(self) -> None:
        """A mask that suits sockets, as in the systemd unit, would make directories that nobody can enter."""
        mask = os.umask(0o027)
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        finally:
            os.umask(mask)

    def write_status(self, text: str) -> None:
        """Replace the status file in one step, so that nobody reads half of it."""
        new = self.path / f".{STATUS_FILE}"
        try:
            new.touch(mode=0o640)
            new.write_text(text)
            new.rename(self.path / STATUS_FILE)
        except OSError as error:
            log.error("the status file in %s cannot be written: %s", self.path, error.strerror)

    def _claim(self) -> None:
        self.clean()
        last = os.pread(self._lock, 64, 0).split()
        last_origin = int(last[1]) if len(last) == 2 and last[1].isdigit() else 0
        self.epoch_origin = max(epoch_origin_now(), last_origin)
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, b"%d %d\n" % (os.getpid(), self.epoch_origin), 0)
        except OSError as error:
            log.error("the lock file in %s cannot be written: %s", self.path, error.strerror)
