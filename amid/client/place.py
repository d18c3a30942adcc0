"""Where the daemon is on this machine: the one look at the file system that the client takes."""

from __future__ import annotations

import os
import stat

from amid import wire
from amid.client import rules

SOCKET = "a socket"


def find(run_dir: str | None, endpoint: str | None) -> str:
    """The endpoint of a daemon's rpc socket. Raises `AmidError` of kind `unreachable` when no directory holds one."""
    if endpoint is not None:
        return endpoint
    looked = {path: _there(os.path.join(path, wire.RPC_SOCKET)) for path in rules.run_dirs(run_dir, os.environ)}
    for path, found in looked.items():
        if found == SOCKET:
            return wire.ipc(path, wire.RPC_SOCKET)
    raise rules.nothing_at(looked)


def _there(path: str) -> str:
    """What is at `path`, in words; connecting to a socket takes the permission to write it."""
    try:
        mode = os.stat(path).st_mode
    except PermissionError:
        return "this user may not enter it"
    except OSError:
        return "no socket"
    if not stat.S_ISSOCK(mode):
        return "no socket"
    return SOCKET if os.access(path, os.W_OK) else "this user may not use its socket"
