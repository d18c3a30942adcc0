"""The child's half of the contract with the supervisor, on three inherited descriptors.

    stdin   its configuration, with secrets, as one line of JSON; each further line is a new
            configuration; end of file means that the supervisor has ended
    stdout  lines: an empty one is a beat, others are requests to the supervisor
    stderr  the log

Only a timer of the work loop writes the beat, so it proves that this loop runs. Secrets are never
in argv or in the environment. When the supervisor dies, the kernel sends SIGKILL (prctl(2),
PR_SET_PDEATHSIG), which also ends a stopped child.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from amid.process.log import LEVEL_SIGNALS, Log
from amid.process.settings import ChildSettings

BEAT_S = 0.5
"""Seconds between two beats."""

MAX_PROBLEM_LENGTH = 1000
"""Characters of the problems that are reported: a longer line may be written in part (pipe(7))."""

_PR_SET_PDEATHSIG = 1

Settings = TypeVar("Settings", bound=ChildSettings)


class Child(Generic[Settings]):
    """Create it in the first lines of a child's `main`; `start` attaches it to the loop.

    kind: the type of its settings. by_hand: the settings of a process that a person runs without a
    supervisor. Its beats are discarded.
    """

    def __init__(self, kind: type[Settings], by_hand: Settings | None) -> None:
        os.umask(0o117)  # socket files are 0660
        self._decode = msgspec.json.Decoder(kind).decode
        self._input = b""
        self._supervised = by_hand is None
        self.ended = asyncio.Event()
        """Set when the child must stop: it was asked to, or the supervisor has ended."""
        self.orphaned = False
        self._problems: dict[str, str] = {}
        if by_hand is None:
            die_with_parent()
            self._requests = os.dup(1)
            os.dup2(2, 1)  # a stray print goes to the log and cannot be taken for a beat
            self.settings = self._decode(self._first_line())
        else:
            self._requests = os.open(os.devnull, os.O_WRONLY)
            self.settings = by_hand
        os.set_blocking(self._requests, False)

    def set_up_log(self, secrets: Iterable[str | None] = (), **common: str) -> None:
        """Log as the configuration says, and as each new one will. Call it before the loop starts.

        secrets: hidden in all records. common: fields of every record.
        """
        self._log = Log(self.settings.log_level, secrets, **common)

    def start(self, on_settings: Callable[[Settings], object] = lambda _: None) -> None:
        """Start the beat, and listen to the supervisor and to signals, on the running loop.

        on_settings: takes those of a new configuration.
        """
        self._loop = asyncio.get_running_loop()
        self._on_settings = on_settings
        ending = (signal.SIGTERM,) if self._supervised else (signal.SIGTERM, signal.SIGINT)
        for number in ending:
            self._loop.add_signal_handler(number, self.ended.set)
        for number in LEVEL_SIGNALS:
            self._loop.add_signal_handler(number, self._log.receive_signal, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEVEL_SIGNALS)  # the supervisor starts children with them blocked
        if self._supervised:
            self._loop.add_reader(0, self._read_input)
            self._loop.call_soon(self._apply_input)  # another line may have come with the first one
        self._beat()

    def send(self, request: str) -> None:
        """Send one line to the supervisor.

        It is lost if the pipe is full: a child never waits for the supervisor.
        """
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._requests, request.encode() + b"\n")

    def report_problem(self, subject: str, problem: str) -> None:
        """Show a problem with `subject` in `amid status`, until "" is reported for it."""
        self._problems[subject] = problem
        self.send(f"problem {'; '.join(filter(None, self._problems.values()))[:MAX_PROBLEM_LENGTH]}")

    def _beat(self) -> None:
        self.send("")
        self._loop.call_later(BEAT_S, self._beat)

    def _read_input(self) -> None:
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            return
        if not data:
            self.orphaned = True
            self.ended.set()
            self._loop.remove_reader(0)
        self._input += data
        self._apply_input()

    def _apply_input(self) -> None:
        *lines, self._input = self._input.split(b"\n")
        for line in filter(None, lines):
            settings = self._decode(line)
            self._log.configure(settings.log_level)
            self._on_settings(settings)

    def _first_line(self) -> bytes:
        while b"\n" not in self._input:
            data = os.read(0, 65536)
            if not data:
                sys.exit("amid: no configuration on stdin; to run this process by hand, name a file with -c")
            self._input += data
        line, _, self._input = self._input.partition(b"\n")
        os.set_blocking(0, False)
        return line


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends. Exits if it has ended already."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("amid: the supervisor ended while this process started")
