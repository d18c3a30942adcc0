"""The right to write the files of a server: two recorders would mix their events."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from amid.recorder.store import StoreError

FILE_MODE = 0o640


class Claim:
    """A lock of the kernel's (flock(2)), which ends with the process. directory: must exist when the
    claim is taken."""

    def __init__(self, directory: Path, server: str) -> None:
        self._path = directory / f"{server}.lock"
        self._server = server
        self._lock = -1
        self.is_refused = False
        """Whether another process had it at the last attempt."""

    def take(self) -> None:
        """Take it, unless this process has it. That in a directory which was removed or replaced since
        then does not count. Raises `StoreError`."""
        if self._is_held():
            return
        self.release()
        try:
            lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise StoreError(f"cannot create {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            self.is_refused = True
            advice = "give each its own `state_dir`, or `directory` in [recorder]"
            raise StoreError(f"another amid records server {self._server} in {self._path.parent}; {advice}") from None
        self._lock, self.is_refused = lock, False

    def _is_held(self) -> bool:
        with contextlib.suppress(OSError):
            return self._lock >= 0 and os.path.samestat(os.fstat(self._lock), self._path.stat())
        return False

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1
