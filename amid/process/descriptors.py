"""Descriptors 0 to 2 of a process that was started without some of them.

The next file that it opened would have the number of stderr: a log line would end up in the lock file, in a socket, or in the pipe
to a child. Instead each opens /dev/null, and stderr the system's log where there is one.
"""

from __future__ import annotations

import os
import socket
import sys

SYSLOG = "/dev/log"


def open_missing() -> None:
    """Due before anything else is opened. What Python and its children write to a stderr that was closed goes to `SYSLOG`."""
    missing = [descriptor for descriptor in range(3) if not _is_open(descriptor)]
    for _ in missing:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest number that is free
    if 2 in missing:
        _connect_stderr_to_syslog()
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _connect_stderr_to_syslog() -> None:
    """Each write is a datagram then, which syslogd and journald take as a line (RFC 3164, 4.3.3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        try:
            syslog.connect(SYSLOG)
        except OSError:
            return
        os.dup2(syslog.fileno(), 2)
