"""Words to systemd (sd_notify(3)): a datagram to the socket that $NOTIFY_SOCKET names, and nothing when there is none."""

from __future__ import annotations

import os
import socket

UNWATCHED_S = 5.0
"""Seconds between two looks when systemd's watchdog is not used."""


def send(*assignments: str) -> bool:
    """Send `NAME=value` lines, for example READY=1. False when systemd does not read just now, so that it must be sent again.

    A systemd that is not there is not an error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return True
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notifier:
            notifier.sendto("\n".join(assignments).encode(), target)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def watchdog_interval() -> float:
    """Seconds between two WATCHDOG=1: half of what systemd waits for."""
    return int(os.environ.get("WATCHDOG_USEC", 2 * UNWATCHED_S * 1e6)) / 2e6
