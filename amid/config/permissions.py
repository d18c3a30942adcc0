"""Checks who else can read or change a configuration file, or replace a directory: owners and
modes.

*Unsafe* is what lets a user other than root and amid read a secret or change what amid does: amid
does not start. *Careless* is what may be intended, such as an administrators' group that can write
amid.toml: amid starts with a warning.

Root's group counts as root. Files of a systemd credential (LoadCredential=) belong to root, and
their group bits are the mask of an ACL for amid's user (acl(5)), so 0440 root:root is accepted
there, as is Debian's 0640 root:amid.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = 0
MAX_LINKS = 40
"""The maximum number of symbolic links in a path, as in Linux (path_resolution(7))."""


class Finding(NamedTuple):
    """A finding: unsafe or careless. `what` continues a sentence that begins with the file."""

    unsafe: bool
    what: str


def check_file(file: Path, *, secret: bool, callers_group: int) -> Iterator[Finding]:
    """Findings on one file. secret: whether it contains a secret. callers_group: the group whose
    members can open amid's sockets."""
    found = _stat(file)
    if found is None:
        return
    if found.st_uid not in trusted_users():
        # Root may check the configuration of a service that runs as another user.
        yield Finding(os.geteuid() != ROOT, f"belongs to user {found.st_uid}, who can change it; chown root {file}")
    if found.st_mode & stat.S_IWOTH:
        yield Finding(True, f"can be changed by everybody; chmod o-w {file}")
    if found.st_mode & stat.S_IWGRP and found.st_gid != ROOT:
        yield Finding(secret, f"can be changed by group {found.st_gid}; chmod g-w {file}")
    if secret:
        yield from check_readers(file, callers_group)
    is_credential = str(file.parent) == os.environ.get("CREDENTIALS_DIRECTORY")
    if os.geteuid() == ROOT and not is_credential and any(not _may_read(user, file, found) for user in _entries("amid")):
        yield Finding(False, f"cannot be read by the user amid, which the service runs as; chown amid {file}")


def check_readers(file: Path, callers_group: int) -> Iterator[Finding]:
    """Findings on who can read a file with a secret."""
    found = _stat(file)
    if found is None:
        return
    if found.st_mode & stat.S_IROTH:
        yield Finding(True, f"can be read by everybody; chmod o-r {file}")
    if found.st_mode & stat.S_IRGRP and found.st_gid == callers_group != ROOT:
        yield Finding(False, f"can be read by group {found.st_gid}, whose members can open amid's sockets; change the file's group")


def _may_read(user: pwd.struct_passwd, file: Path, found: os.stat_result) -> bool:
    """Whether its owner and mode let this user read it. An ACL is taken to do so."""
    with contextlib.suppress(OSError):  # the file system has no extended attributes
        if "system.posix_acl_access" in os.listxattr(file):
            return True
    if found.st_uid == user.pw_uid:
        return bool(found.st_mode & stat.S_IRUSR)
    bit = stat.S_IRGRP if found.st_gid in os.getgrouplist(user.pw_name, user.pw_gid) else stat.S_IROTH
    return bool(found.st_mode & bit)


def _stat(file: Path) -> os.stat_result | None:
    """The file's status; None unless it is a regular file. Reading it reports the problem."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def check_directory(path: str) -> Iterator[Finding]:
    """Findings on run_dir or state_dir and on all directories above it: a user who can rename one
    of them can replace it."""
    for directory, found in _directories(path):
        own = directory == os.path.realpath(path)
        if found.st_uid not in trusted_users():
            yield Finding(True, f"{directory} belongs to user {found.st_uid}, who can replace what is in it; use another directory")
        elif stat.S_ISLNK(found.st_mode) or (found.st_mode & stat.S_ISVTX and not own):
            continue  # in a sticky directory such as /tmp users can only rename their own files
        elif found.st_mode & stat.S_IWOTH or (own and found.st_mode & stat.S_IWGRP):
            yield Finding(True, f"others may write in {directory}; chmod go-w {directory}")
        elif found.st_mode & stat.S_IWGRP and found.st_gid != ROOT:
            yield Finding(False, f"group {found.st_gid} may write in {directory}, and replace what is in it; chmod g-w {directory}")


def trusted_users() -> set[int]:
    """Users that may own files that amid relies on: root and amid's own user; when root checks, the
    package's user."""
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
    """The group whose members can open the sockets: that of run_dir, or of this process, which will
    create it."""
    try:
        return os.stat(run_dir).st_gid
    except (OSError, ValueError):
        return os.getegid()


def _directories(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each existing directory and symbolic link on the way to `path`, and `path` itself."""
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
