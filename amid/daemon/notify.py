"""Words to systemd (sd_notify(3)): a datagram to the socket that $NOTIFY_SOCKET names, and nothing when there is none."""

from __future__ import annotations

import contextlib
import os
import socket

UNWATCHED_S = 5.0
"""Seconds between two looks when systemd's watchdog is not used."""


def send(*assignments: str) -> None:
    """Send `NAME=value` lines, for example READY=1. A systemd that is not there, or does not listen, is not an error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notifier:
        notifier.sendto("\n".join(assignments).encode(), target)


def watchdog_interval() -> float:
    """Seconds between two WATCHDOG=1: half of what systemd waits for."""
    return int(os.environ.get("WATCHDOG_USEC", 2 * UNWATCHED_S * 1e6)) / 2e6
