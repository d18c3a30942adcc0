"""The run_dir: its lock, its status file, and what is left of its sockets at the end.

The lock is the kernel's (flock(2)), so a daemon that was killed leaves nothing that a person would have to clean up, and a second
daemon is refused while the first one lives. It is on a file, and the file can go while the daemon runs: at the last logout
(XDG_RUNTIME_DIR), by a cleaner of /tmp, by hand. So the supervisor looks each second whether the file is still the one that it
has locked, and locks a new one if not; nothing is written or removed in a run_dir whose lock is another's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import stat
import time
from pathlib import Path
from types import TracebackType

from amid import wire

log = logging.getLogger("amid.supervisor")

LOCK_FILE = "lock"
STATUS_FILE = "status.json"

_OF_SERVER = (wire.events_socket, wire.stream_socket, wire.trace_socket)
_OWN_SOCKET = re.compile("|".join([wire.RPC_SOCKET, wire.READERS_SOCKET, *(name(".*") for name in _OF_SERVER)]))


def epoch_origin_now() -> int:
    """The wall clock less the monotonic one, in milliseconds."""
    return int((time.time() - time.monotonic()) * 1000)


def why_not(run_dir: str, error: Exception) -> str:
    """Why a socket cannot be bound: ZeroMQ says "address in use" of one that it could not remove, whatever kept it from that."""
    return str(error) if os.access(run_dir, os.W_OK) else "nothing can be written there; is its file system read-only?"


class RunDirError(Exception):
    """The run_dir cannot be used; the message says why and what to do."""


class RunDirTaken(RunDirError):
    """Another amid serves there."""


Identity = tuple[int, int]
"""Device and inode of a file."""


def identify(path: Path) -> Identity | None:
    """None when there is no file, or it cannot be reached."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class RunDir:
    """Made and locked on entry. `reserve` is the last daemon's, from its lock file (see `epochs`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reserve = 0
        self.behind = 0
        self._lock = -1

    def __enter__(self) -> RunDir:
        self._acquire()
        try:
            self.clean()
            last = os.pread(self._lock, 64, 0).split()
            self.claim(int(last[1]) if len(last) == 2 and last[1].isdigit() else 0)
        except OSError as error:
            os.close(self._lock)
            raise self._unusable(error) from None
        except RunDirError:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self.is_ours():
                self.clean()
        except OSError as error:
            log.error("what amid had in %s cannot be removed: %s", self.path, error.strerror)
        os.close(self._lock)

    def is_ours(self) -> bool:
        """Whether the lock file there is the one that this process has locked."""
        held = os.fstat(self._lock)
        return identify(self.path / LOCK_FILE) == (held.st_dev, held.st_ino)

    def recover(self) -> None:
        """Make and lock it again, as it was removed or replaced. Raises `RunDirTaken` when another amid was faster."""
        lost = self._lock
        self._acquire()
        os.close(lost)
        self.claim(self.reserve)

    def claim(self, reserve: int) -> None:
        """Write into the lock file whose it is. Raises `RunDirError`."""
        self.reserve = reserve
        claim = b"%d %d\n" % (os.getpid(), reserve)
        try:
            os.pwrite(self._lock, claim, 0)  # over the last one, which has the room for it even where there is no other
            os.ftruncate(self._lock, len(claim))
        except OSError as error:
            raise self._unusable(error) from None

    def clean(self) -> None:
        """Remove amid's sockets and the status; the lock file stays, for what it remembers, and so does what others have here."""
        for file in self.path.iterdir():
            if (file.is_socket() and _OWN_SOCKET.fullmatch(file.name)) or file.name in (STATUS_FILE, f".{STATUS_FILE}"):
                file.unlink(missing_ok=True)

    def clean_after(self, server: str) -> None:
        """Remove the sockets of a server that is no longer served."""
        if not self.is_ours():
            return
        for name in (of(server) for of in _OF_SERVER):
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                log.error("%s in %s cannot be removed: %s", name, self.path, error.strerror)

    def has_status(self) -> bool:
        return (self.path / STATUS_FILE).exists()

    def write_status(self, text: str) -> None:
        """Replace the status file; `behind` counts the tries since it could not be.

        That is said once, at the second: whoever reads the old one at this moment holds its room a moment longer.
        """
        error = self._replace_status(text)
        if error is not None and error.errno == errno.ENOSPC:  # the old one is wrong now, and has the room for the new one
            with contextlib.suppress(OSError):
                (self.path / STATUS_FILE).unlink()
            error = self._replace_status(text)
        if error is not None and self.behind == 1:
            said = "the status file in %s cannot be written: %s; `amid status` shows processes that were"
            log.error(said, self.path, error.strerror)
        if error is None and self.behind > 1:
            log.warning("the status file in %s is written again", self.path)
        self.behind = 0 if error is None else self.behind + 1

    def _replace_status(self, text: str) -> OSError | None:
        """In one step, so that nobody reads half of it."""
        new = self.path / f".{STATUS_FILE}"
        if not self.is_ours():
            return FileNotFoundError(errno.ENOENT, "the directory was removed or replaced")
        try:
            new.touch(mode=0o640)
            new.write_text(text)
            new.rename(self.path / STATUS_FILE)
        except OSError as error:
            return error
        return None

    def _acquire(self) -> None:
        """Make the directory and lock its lock file, which is for the daemon's user alone: whoever can open it can lock it."""
        try:
            self._make()
            self._check_owner()
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            os.fchmod(lock, 0o600)  # an earlier amid's was readable for its group
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 64, 0).split(b" ")[0].decode("ascii", "replace") or "unknown"
            os.close(lock)
            message = f"another amid (pid {pid}) already serves {self.path}; stop it or give another with amid --run-dir DIR"
            raise RunDirTaken(message) from None
        except OSError as error:
            os.close(lock)
            raise self._unusable(error) from None
        self._lock = lock

    def _unusable(self, error: OSError) -> RunDirError:
        message = f"run_dir {self.path} cannot be used: {error.strerror}; mend that, or give another with amid --run-dir DIR"
        return RunDirError(message)

    def _make(self) -> None:
        """A mask that suits sockets, as in the systemd unit, would make directories that nobody can enter."""
        mask = os.umask(0o027)
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        finally:
            os.umask(mask)

    def _check_owner(self) -> None:
        """Whoever else could write there could put his own socket in place of amid's, or a link in place of a file."""
        link, folder = self.path.lstat(), self.path.stat()
        others = [found.st_uid for found in (link, folder) if found.st_uid not in (0, os.geteuid())]
        if others:
            raise RunDirError(f"run_dir {self.path} belongs to user {others[0]}; give another with amid --run-dir DIR")
        if folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RunDirError(f"others may write in run_dir {self.path}; chmod go-w {self.path}")
