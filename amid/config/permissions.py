"""Who besides amid can read or change a file of the configuration, or the way to a directory: owners and modes.

*Unsafe* is what lets a user who is neither root nor amid's read a secret, or change what amid does: amid does not start. *Careless*
is what may be meant, such as a group of administrators that may write amid.toml: amid says so and starts.

Root's own group counts as root. Files of a systemd credential (LoadCredential=) are owned by root, and their group bits are
the mask of an ACL for amid's user (acl(5)), so 0440 root:root there is right, and so is Debian's 0640 root:amid.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = 0
MAX_LINKS = 40
"""Symbolic links in one path, as in Linux (path_resolution(7))."""


class Finding(NamedTuple):
    """`unsafe` or else careless; `what` goes on a sentence that begins with the file."""

    unsafe: bool
    what: str


def check_file(file: Path, *, secret: bool, callers_group: int) -> Iterator[Finding]:
    """Findings on one file. `secret`: it holds one; `callers_group`: the group whose members can open amid's sockets."""
    found = _stat(file)
    if found is None:
        return
    if found.st_uid not in trusted_users():
        # Root may look at the configuration of a service whose user has any name.
        yield Finding(os.geteuid() != ROOT, f"belongs to user {found.st_uid}, who can change it; chown root {file}")
    if found.st_mode & stat.S_IWOTH:
        yield Finding(True, f"can be changed by everybody; chmod o-w {file}")
    if found.st_mode & stat.S_IWGRP and found.st_gid != ROOT:
        yield Finding(secret, f"can be changed by group {found.st_gid}; chmod g-w {file}")
    if secret:
        yield from check_readers(file, callers_group)


def check_readers(file: Path, callers_group: int) -> Iterator[Finding]:
    """Findings on who can read a file that holds a secret."""
    found = _stat(file)
    if found is None:
        return
    if found.st_mode & stat.S_IROTH:
        yield Finding(True, f"can be read by everybody; chmod o-r {file}")
    if found.st_mode & stat.S_IRGRP and found.st_gid == callers_group != ROOT:
        yield Finding(False, f"can be read by group {found.st_gid}, whose members can open amid's sockets; give it another group")


def _stat(file: Path) -> os.stat_result | None:
    """None for what is no regular file, such as /dev/stdin or one that is missing: reading it says what is wrong."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def check_directory(path: str) -> Iterator[Finding]:
    """Findings on run_dir or state_dir and on all directories above it: who can rename one can put another in its place."""
    for directory, found in _directories(path):
        own = directory == os.path.realpath(path)
        if found.st_uid not in trusted_users():
            yield Finding(True, f"{directory} belongs to user {found.st_uid}, who can replace what is in it; use another directory")
        elif stat.S_ISLNK(found.st_mode) or (found.st_mode & stat.S_ISVTX and not own):
            continue  # in a sticky directory such as /tmp each can rename only what is its own
        elif found.st_mode & stat.S_IWOTH or (own and found.st_mode & stat.S_IWGRP):
            yield Finding(True, f"others may write in {directory}; chmod go-w {directory}")
        elif found.st_mode & stat.S_IWGRP and found.st_gid != ROOT:
            yield Finding(False, f"group {found.st_gid} may write in {directory}, and replace what is in it; chmod g-w {directory}")


def trusted_users() -> set[int]:
    """Users that may own what amid relies on: root, and amid's own; for root, who checks it, the one that the package makes."""
    trusted = {ROOT, os.geteuid()}
    if os.geteuid() == ROOT:
        trusted |= {entry.pw_uid for entry in _entries("amid")}
    return trusted


def _entries(name: str) -> Iterator[pwd.struct_passwd]:
    try:
        yield pwd.getpwnam(name)
    except KeyError:
        return


def callers_group(run_dir: str) -> int:
    """The group whose members can open the sockets: of the run_dir, or of this process, which will make it."""
    try:
        return os.stat(run_dir).st_gid
    except (OSError, ValueError):
        return os.getegid()


def _directories(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each directory and each symbolic link on the way to `path`, itself included, as far as they exist."""
    pending = path.split("/")[::-1]
    current, links = "/", 0
    try:
        yield current, os.lstat(current)
        while pending:
            following = os.path.normpath(os.path.join(current, pending.pop()))
            if following == current:
                continue
            found = os.lstat(following)
            yield following, found
            if stat.S_ISLNK(found.st_mode) and links < MAX_LINKS:
                links += 1
                target = os.readlink(following)
                pending += target.split("/")[::-1]
                following = "/" if target.startswith("/") else current
            current = following
    except (OSError, ValueError):
        return
