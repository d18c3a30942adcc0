"""Finds the daemon's socket on this machine; the only part of the client that reads the file
system.

A directory that is named by an argument or by AMID_RUN_DIR is the only one searched: a script that
is meant for a test daemon must not reach the production daemon when the test daemon is down.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amid import wire
from amid.errors import AmidError

SOCKET = "a socket"
NO_ENTRY = "this user may not enter it"
NO_WRITE = "this user may not use its socket"
ADVICE = "start one with `amid run`, or name its directory with --run-dir or AMID_RUN_DIR"


def find_endpoint(run_dir: str | None, endpoint: str | None) -> str:
    """The endpoint of the daemon's `rpc` socket. Raises `AmidError` of kind `unreachable` when no
    directory contains one."""
    if endpoint is not None:
        return endpoint
    looked = {directory: _what_is_in(directory) for directory in run_dirs(run_dir, os.environ)}
    for directory, found in looked.items():
        if found == SOCKET:
            # ZeroMQ expects UTF-8, so the bytes of the path are passed whatever this process's
            # locale is.
            return wire.ipc(os.fsencode(directory).decode(), wire.RPC_SOCKET)
    raise _no_daemon(looked)


def run_dirs(run_dir: str | None, environ: Mapping[str, str]) -> list[str]:
    """The directories to search, in order: only the named one, or the defaults."""
    named = run_dir if run_dir is not None else environ.get("AMID_RUN_DIR") or None
    if named is not None:
        return [named]
    private = environ.get("XDG_RUNTIME_DIR")
    return ["/run/amid", *([f"{private}/amid"] if private else [])]


def _no_daemon(looked: Mapping[str, str]) -> AmidError:
    """The error for a search that found nothing. `looked` maps each directory to what it contains."""
    for directory, found in looked.items():
        if found == NO_ENTRY:
            return _no_permission(directory, stat.S_IXGRP)
        if found == NO_WRITE:
            return _no_permission(os.path.join(directory, wire.RPC_SOCKET), stat.S_IWGRP)
    if len(looked) == 1:
        ((directory, found),) = looked.items()
        return AmidError("unreachable", f"no amid daemon at {directory} ({found}): {ADVICE}")
    paths = "; ".join(f"{directory}: {found}" for directory, found in looked.items())
    return AmidError("unreachable", f"no amid daemon found ({paths}): {ADVICE}")


def _what_is_in(directory: str) -> str:
    """Describe what a run_dir contains. Connecting to a socket requires write permission on it."""
    path = os.path.join(directory, wire.RPC_SOCKET)
    try:
        os.fsencode(path).decode()
        mode = os.stat(path).st_mode
    except PermissionError:
        return NO_ENTRY
    except UnicodeDecodeError:
        return "its path is not UTF-8"
    except (OSError, ValueError):
        return "no socket"
    if not directory or not stat.S_ISSOCK(mode):
        return "no socket"
    return SOCKET if os.access(path, os.W_OK) else NO_WRITE


def _no_permission(path: str, group_bit: int) -> AmidError:
    """The error for a daemon that this user may not use. group_bit: the mode bit that the group
    needs for `path`."""
    try:
        status = os.stat(path)
    except OSError:
        advice = "ask its owner; the system's daemon is for members of the group amid-clients"
    else:
        group, owner = _name_of(grp.getgrgid, status.st_gid), _name_of(pwd.getpwuid, status.st_uid)
        advice = f"only its owner {owner} may"
        if status.st_mode & group_bit and status.st_gid:
            advice = f"members of the group {group} may (`usermod --append --groups {group} USER`, then log in again)"
    return AmidError("unreachable", f"no permission to use {path}: {advice}")


def _name_of(look_up: Callable[[int], Sequence[Any]], number: int) -> str:
    """The name of a user or group; the number when the system has no name for it."""
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)
