"""Opens descriptors 0 to 2 if the process was started without them.

Otherwise the next opened file would get the number of stderr, and log lines would go to the lock
file, a socket, or a pipe to a child. Each missing descriptor opens /dev/null; stderr opens the
system log if there is one.
"""

from __future__ import annotations

import os
import socket
import sys

SYSLOG = "/dev/log"


def open_missing() -> None:
    """Call this before anything else is opened.

    The output of Python and its children to a closed stderr goes to `SYSLOG`.
    """
    missing = [descriptor for descriptor in range(3) if not _is_open(descriptor)]
    for _ in missing:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # gets the lowest free number
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
    """Each write is then a datagram, which syslogd and journald
    take as a line (RFC 3164, 4.3.3)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        try:
            syslog.connect(SYSLOG)
        except OSError:
            return
        os.dup2(syslog.fileno(), 2)
