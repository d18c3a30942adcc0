"""Where the daemon is on this machine: the one look at the file system that the client takes.

A directory that was named, by its caller or by AMID_RUN_DIR, is the only one that counts: a script that means a test daemon must
not reach the production one because the test daemon is down.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from amid import wire
from amid.errors import AmidError

SOCKET = "a socket"
ADVICE = "start one with `amid run`, or name its directory with --run-dir or AMID_RUN_DIR"


def find_endpoint(run_dir: str | None, endpoint: str | None) -> str:
    """The endpoint of a daemon's rpc socket. Raises `AmidError` of kind `unreachable` when no directory holds one."""
    if endpoint is not None:
        return endpoint
    looked = {directory: _what_is_in(directory) for directory in run_dirs(run_dir, os.environ)}
    for directory, found in looked.items():
        if found == SOCKET:
            # ZeroMQ takes UTF-8, and the bytes of the path are what counts, whatever this process's locale makes of them.
            return wire.ipc(os.fsencode(directory).decode(), wire.RPC_SOCKET)
    raise _no_daemon(looked)


def run_dirs(run_dir: str | None, environ: Mapping[str, str]) -> list[str]:
    """The directories to look in, in order; one that was named is the only one."""
    named = run_dir if run_dir is not None else environ.get("AMID_RUN_DIR") or None
    if named is not None:
        return [named]
    private = environ.get("XDG_RUNTIME_DIR")
    return ["/run/amid", *([f"{private}/amid"] if private else [])]


def _no_daemon(looked: Mapping[str, str]) -> AmidError:
    """`looked` maps each directory to what was there."""
    if len(looked) == 1:
        ((directory, found),) = looked.items()
        return AmidError("unreachable", f"no amid daemon at {directory} ({found}): {ADVICE}")
    paths = "; ".join(f"{directory}: {found}" for directory, found in looked.items())
    return AmidError("unreachable", f"no amid daemon found ({paths}): {ADVICE}")


def _what_is_in(directory: str) -> str:
    """What a run_dir holds, in words; connecting to a socket takes the permission to write it."""
    path = os.path.join(directory, wire.RPC_SOCKET)
    try:
        os.fsencode(path).decode()
        mode = os.stat(path).st_mode
    except PermissionError:
        return "this user may not enter it"
    except UnicodeDecodeError:
        return "its path is not UTF-8"
    except (OSError, ValueError):
        return "no socket"
    if not directory or not stat.S_ISSOCK(mode):
        return "no socket"
    return SOCKET if os.access(path, os.W_OK) else "this user may not use its socket"
