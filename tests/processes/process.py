"""Processes as the kernel shows them, and events as a subscriber receives them."""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import zmq

from amid import Event, Gap, wire
from amid.cli.main import run
from amid.cli.run import REFUSED
from tests.daemon import Daemon, eventually

IDLE_S = 1.0
"""Time for the calls that a test has left to end with their connections."""


def alive(pid: int) -> bool:
    """Whether a process runs or is stopped; a zombie counts as ended."""
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


def has_all_sockets(daemon: Daemon) -> bool:
    """Whether they are those of a daemon with the server pbx1. Processes start in any order."""
    return sockets(daemon) == ["events-pbx1", "readers", "rpc", "state-pbx1", "stream-pbx1", "trace-pbx1"]


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: process["pid"] for name, process in daemon.processes().items()}


def is_intact(daemon: Daemon, before: dict[str, int]) -> bool:
    """Whether the processes are those of `before`, pbx1 is up, and no call is open."""

    def is_idle() -> bool:
        server = daemon.server("pbx1")
        return server["state"] == "up" and not server["lanes"]["busy"] and not server["queued"] and not open_calls(daemon)

    if daemon.process is None or daemon.process.poll() is not None:
        return False
    try:
        eventually(is_idle, "the daemon is idle", IDLE_S)
        return pids(daemon) == before
    except (AssertionError, TimeoutError):
        return False


def refusal(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> str:
    """What `amid check` writes when it refuses the configuration."""
    with pytest.raises(SystemExit) as ended:
        run(["check", "-c", str(daemon.file)])
    assert ended.value.code == REFUSED
    return capsys.readouterr().err


def next_event(events: Iterator[Event | Gap]) -> Event:
    """The next item of a client's iterator, which must be an event."""
    event = next(events)
    assert isinstance(event, Event), event
    return event


def open_calls(daemon: Daemon) -> int:
    calls: int = daemon.result("status")["counters"]["open_calls"]
    return calls


class Listener:
    """A subscriber to the complete stream of a server; the subscription is in effect after the
    constructor."""

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
        """Whether a message has arrived, ticks included; receives it."""
        came = False
        while self.socket.poll(0):
            came = True
            self.events += [one for one in wire.unpack(self.socket.recv_multipart()[1]) if one["event"] != wire.TICK]
        return came

    def more(self, count: int) -> None:
        """Wait for this many further events."""
        wanted = len(self.events) + count
        eventually(lambda: self.heard() and len(self.events) >= wanted, f"{count} more events")

    def gaps(self) -> int:
        """The number of events that do not follow their predecessor."""
        numbers = [(event["epoch"], event["seq"]) for event in self.events]
        return sum(1 for one, two in itertools.pairwise(numbers) if two != (one[0], one[1] + 1))


class Notified:
    """systemd's side of sd_notify(3): the daemon's notifications in order."""

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
