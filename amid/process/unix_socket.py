"""The Unix sockets of run_dir: how each of them is bound."""

from __future__ import annotations

import contextlib
import os
import socket

SO_PASSRIGHTS = 83
"""Of unix(7), since Linux 6.16; Python has no name for it."""


SHARED = 0o660
"""Mode of a socket for the callers' group."""
PRIVATE = 0o600
"""Mode of a socket for amid's own user, and root, alone."""


def bind_unix(path: str, mode: int = SHARED) -> socket.socket:
    """A socket at `path`, in place of what a process that was killed left there. Raises `OSError`."""
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


def _refuse_descriptors(bound: socket.socket) -> None:
    """Make sending file descriptors (SCM_RIGHTS) fail with EPERM. Connections inherit it before they are accepted.

    The kernel closes a descriptor that nobody takes in the thread that receives the message, or that closes the connection. A TCP
    socket with SO_LINGER and unsent data blocks that thread as long as its sender likes: here the event loop, or libzmq's thread.
    A receiver that takes it is no better off, since it has to close it too. Kernels before 6.16 do not know the option.
    """
    with contextlib.suppress(OSError):
        bound.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
