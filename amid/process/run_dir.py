"""The run_dir: its lock, its status file, and the removal of its sockets.

The lock is the kernel's (flock(2)): a daemon that was killed leaves nothing to clean up, and a
second daemon is refused while the first one runs. The lock file can disappear while the daemon
runs: at the last logout (XDG_RUNTIME_DIR), by a cleaner of /tmp, by hand. So the supervisor checks
each second whether the file is still the one that it has locked, and locks a new one if not.
Nothing is written or removed in a run_dir that another daemon has locked.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amid import wire
from amid.outage import Outage

log = logging.getLogger("amid.supervisor")

LOCK_FILE = "lock"
STATUS_FILE = "status.json"
FAILURE_S = 0.5
"""Time for which writing the status file must fail until that is logged: a process that reads the old
file occupies its space for a moment."""

_OF_SERVER = (wire.events_socket, wire.stream_socket, wire.trace_socket, wire.state_socket)
_OWN_SOCKET = re.compile("|".join([wire.RPC_SOCKET, wire.READERS_SOCKET, *(name(".*") for name in _OF_SERVER)]))


def epoch_origin_now() -> int:
    """The wall clock minus the monotonic clock, in milliseconds."""
    return int((time.time() - time.monotonic()) * 1000)


def describe_run_dir_error(run_dir: str, error: Exception) -> str:
    """Why a socket file cannot be made in run_dir.

    ZeroMQ reports "address in use" for any path that it could not remove.
    """
    return str(error) if os.access(run_dir, os.W_OK) else "the directory is not writable; is its file system read-only?"


class RunDirError(Exception):
    """The run_dir cannot be used. The message says why and what to do."""


class RunDirTaken(RunDirError):
    """Another amid uses it."""


Identity = tuple[int, int]
"""Device and inode of a file."""


def identify(path: Path) -> Identity | None:
    """The file's identity; None if it does not exist or cannot be reached."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class RunDir:
    """Created and locked on entry. reserve: the last daemon's,
    from its lock file (see `epochs`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reserve = 0
        self._lock = -1
        failure = f"cannot write the status file in {path}, so `amid status` shows outdated processes"
        self._outage = Outage(log, failure, f"the status file in {path} can be written again", FAILURE_S, logging.ERROR)

    def __enter__(self) -> RunDir:
        self._acquire()
        try:
            with self._explaining():
                self.clean()
                last = os.pread(self._lock, 64, 0).split()
            self.claim(int(last[1]) if len(last) == 2 and last[1].isdigit() else 0)
        except RunDirError:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self.is_ours():
                self.clean()
        except OSError as error:
            log.error("cannot remove amid's files in %s: %s", self.path, error.strerror)
        os.close(self._lock)

    def is_ours(self) -> bool:
        """Whether the lock file is the one that this process has locked."""
        held = os.fstat(self._lock)
        return identify(self.path / LOCK_FILE) == (held.st_dev, held.st_ino)

    def recover(self) -> None:
        """Create and lock it again after it was removed or replaced.

        Raises `RunDirTaken` if another amid was faster.
        """
        lost = self._lock
        self._acquire()
        os.close(lost)
        self.claim(self.reserve)

    def claim(self, reserve: int) -> None:
        """Write this process and `reserve` into the lock file. Raises `RunDirError`."""
        self.reserve = reserve
        claim = b"%d %d\n" % (os.getpid(), reserve)
        with self._explaining():
            os.pwrite(self._lock, claim, 0)  # overwrites the last claim, which works on a full disk too
            os.ftruncate(self._lock, len(claim))

    def clean(self) -> None:
        """Remove amid's sockets and the status file.

        The lock file stays, for its reserve, and so do other files.
        """
        for file in self.path.iterdir():
            if (file.is_socket() and _OWN_SOCKET.fullmatch(file.name)) or file.name in (STATUS_FILE, f".{STATUS_FILE}"):
                file.unlink(missing_ok=True)

    def clean_after(self, server: str) -> None:
        """Remove the sockets of a server that was removed from the configuration."""
        if not self.is_ours():
            return
        for name in (of(server) for of in _OF_SERVER):
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                log.error("cannot remove %s in %s: %s", name, self.path, error.strerror)

    def has_status(self) -> bool:
        return (self.path / STATUS_FILE).exists()

    def write_status(self, text: str) -> bool:
        """Replace the status file; False if that failed."""
        try:
            self._replace_status(text)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._overwrite_status(text):
                self._outage.failed(str(error.strerror))
                return False
        self._outage.succeeded()
        return True

    def _replace_status(self, text: str) -> None:
        """Replaces the file atomically."""
        new = self.path / f".{STATUS_FILE}"
        if not self.is_ours():
            raise FileNotFoundError(errno.ENOENT, "the directory was removed or replaced")
        new.touch(mode=0o640)
        new.write_text(text)
        new.rename(self.path / STATUS_FILE)

    def _overwrite_status(self, text: str) -> bool:
        """Use the space of the old file, with one write, so that no reader finds half of it or none.
        More space is taken first, with blanks, which JSON may end with."""
        data = text.encode()
        try:
            with (self.path / STATUS_FILE).open("r+b", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                missing = len(data) - size
                return os.pwrite(file.fileno(), b" " * missing, size) >= missing and file.write(data.ljust(size)) >= len(data)
        except OSError:
            return False

    def _acquire(self) -> None:
        """Create the directory and lock its lock file.

        Only the daemon's user may open the file: opening permits locking.
        """
        with self._explaining():
            self._make()
            self._check_owner()
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.fchmod(lock, 0o600)  # earlier versions made it readable for the group
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(lock, 64, 0).split(b" ")[0].decode("ascii", "replace") or "unknown"
                os.close(lock)
                message = f"another amid (pid {pid}) already serves {self.path}; stop it or give another with amid --run-dir DIR"
                raise RunDirTaken(message) from None
            except OSError:
                os.close(lock)
                raise
        self._lock = lock

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Raise an `OSError` as a `RunDirError` that says what to do."""
        try:
            yield
        except OSError as error:
            message = f"cannot use run_dir {self.path}: {error.strerror}; fix that, or give another with amid --run-dir DIR"
            raise RunDirError(message) from None

    def _make(self) -> None:
        """Under a umask for sockets, as in the systemd unit, new
        directories could not be entered."""
        mask = os.umask(0o027)
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        finally:
            os.umask(mask)

    def _check_owner(self) -> None:
        """Any other user who can write there could replace amid's sockets or files."""
        link, folder = self.path.lstat(), self.path.stat()
        others = [found.st_uid for found in (link, folder) if found.st_uid not in (0, os.geteuid())]
        if others:
            raise RunDirError(f"run_dir {self.path} belongs to user {others[0]}; give another with amid --run-dir DIR")
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RunDirError(f"others may write in run_dir {self.path}; chmod go-w {self.path}")
