"""Messages to systemd (sd_notify(3)): datagrams to the socket in
$NOTIFY_SOCKET; nothing without it."""

from __future__ import annotations

import os
import socket

UNWATCHED_S = 5.0
"""Seconds between two steps without systemd's watchdog."""


class Systemd:
    """Reports the state of the service.

    The owner calls `step` in each pass of its loop, at the latest at `next_deadline` (monotonic
    seconds).
    """

    def __init__(self, now: float) -> None:
        self.next_deadline = now
        self._interval_s = int(os.environ.get("WATCHDOG_USEC", 2 * UNWATCHED_S * 1e6)) / 2e6  # half of systemd's timeout
        self._unsent = ""

    def stopping(self) -> None:
        _send("STOPPING=1")

    def reloading(self, now: float) -> None:
        """Report a reload. `ready` must follow."""
        _send(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1e6)}")

    def ready(self, status: str) -> None:
        """Report readiness.

        Without it systemd ends the service, so it is sent again until systemd reads it.
        """
        self._unsent = f"READY=1\nSTATUS={status}"

    def step(self, now: float) -> None:
        """Send what is due."""
        if self._unsent and _send(self._unsent):
            self._unsent = ""
        if now >= self.next_deadline:
            self.next_deadline = now + self._interval_s
            _send("WATCHDOG=1")


def _send(assignments: str) -> bool:
    """False if systemd's socket is full. A missing systemd is not an error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return True
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notifier:
            notifier.sendto(assignments.encode(), target)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
