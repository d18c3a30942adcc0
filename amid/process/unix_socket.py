"""How each Unix socket of run_dir is bound, and who its peer is."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

SO_PASSRIGHTS = 83
"""A socket option of unix(7) since Linux 6.16, without a name in Python."""


SHARED = 0o660
"""Mode of a socket for the callers' group."""
PRIVATE = 0o600
"""Mode of a socket for amid's own user and root only."""

_CREDENTIALS = struct.Struct("iII")


def bind_unix(path: str, mode: int = SHARED) -> socket.socket:
    """A socket at `path`, which replaces a file that a killed process left. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _refuse_descriptors(bound)
        bound.bind(path)
        os.chmod(path, mode)  # no peer can connect before it listens
    except OSError:
        bound.close()
        raise
    return bound


def peer_credentials(connected: socket.socket) -> tuple[int, int, int]:
    """The pid, uid and gid of the peer's process when it connected, from the kernel. The pid is 0 for
    one of another PID namespace."""
    pid, uid, gid = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, gid


def _refuse_descriptors(bound: socket.socket) -> None:
    """Make sending file descriptors (SCM_RIGHTS) fail with EPERM. Accepted connections inherit
    this.

    The kernel closes a descriptor that is not received in the thread that receives the message or
    closes the connection. A TCP socket with SO_LINGER and unsent data blocks that thread for as
    long as its sender chooses: here the event loop, or libzmq's thread. Taking the descriptor does
    not help, since it must be closed as well. Kernels before 6.16 do not have the option.
    """
    with contextlib.suppress(OSError):
        bound.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
