"""What the kernel knows of a process, and events as a subscriber sees them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from amid import wire
from tests.daemon import Daemon, eventually


def alive(pid: int) -> bool:
    """Whether it runs or is stopped; one that has ended and waits to be reaped is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def gone(pid: int) -> bool:
    return not alive(pid)


def stop(pid: int) -> None:
    """SIGSTOP, in effect when this returns."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", f"{pid} is stopped")


def sockets(daemon: Daemon) -> list[str]:
    return sorted(file.name for file in daemon.run_dir.iterdir() if file.is_socket())


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: process["pid"] for name, process in daemon.processes().items()}


class Listener:
    """A subscriber to the whole stream of a server, in effect when this is made."""

    def __init__(self, daemon: Daemon, server: str) -> None:
        self.socket = daemon.socket(zmq.SUB)
        self.socket.subscribe(f"stream.{server}.")
        self.socket.subscribe(f"tick.{server}.")
        self.socket.connect(daemon.server(server)["stream"])
        self.events: list[dict[str, Any]] = []
        eventually(self.heard, "the subscription is in effect")

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def heard(self) -> bool:
        """Whether anything came, ticks included; takes it."""
        came = False
        while self.socket.poll(0):
            came = True
            self.events += [one for one in wire.unpack(self.socket.recv_multipart()[1]) if one["event"] != wire.TICK]
        return came

    def more(self, count: int) -> None:
        """Wait for so many events more."""
        wanted = len(self.events) + count
        eventually(lambda: self.heard() and len(self.events) >= wanted, f"{count} more events")

    def gaps(self) -> int:
        """How often an event does not follow the one before it."""
        numbers = [(event["epoch"], event["seq"]) for event in self.events]
        return sum(1 for one, two in itertools.pairwise(numbers) if two != (one[0], one[1] + 1))


class Notified:
    """systemd's end of sd_notify(3): what the daemon said, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._said: list[str] = []

    def said(self) -> list[str]:
        while True:
            try:
                self._said += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self._said

    def close(self) -> None:
        self._socket.close()
