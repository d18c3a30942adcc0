"""The child's half of the contract with the supervisor, on three inherited descriptors.

    stdin   its configuration, secrets included, as one line of JSON; another line is a new configuration; the end of file means
            that the supervisor is gone
    stdout  lines: an empty one is a beat, written by the work loop itself and by nothing else; others are words to the supervisor
    stderr  the log

Nothing secret is ever in argv or in the environment. The kernel sends SIGKILL when the supervisor dies (prctl(2),
PR_SET_PDEATHSIG), which also ends a child that is stopped.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from amid.process.log import LEVEL_SIGNALS, Log

BEAT_S = 0.5
"""Seconds between two beats."""

_PR_SET_PDEATHSIG = 1


class Child:
    """Set up in the first lines of a child's `main`. The loop polls `poll_fds`, calls `drain` when one is readable, and `beat`.

    by_hand: the settings of a process that a person runs without a supervisor; its beats go nowhere.
    """

    def __init__(self, by_hand: msgspec.Struct | None) -> None:
        os.umask(0o117)  # socket files are 0660
        self._next_beat = 0.0
        self._input = b""
        self.stopping = False
        self.orphaned = False
        if by_hand is None:
            die_with_parent()
            self._words = os.dup(1)
            os.dup2(2, 1)  # a stray print goes to the log and cannot be taken for a beat
            self.configuration: dict[str, Any] = json.loads(self._first_line())
            self._wakeup = signal_pipe(signal.SIGTERM, *LEVEL_SIGNALS)
        else:
            self._words = os.open(os.devnull, os.O_WRONLY)
            self.configuration = msgspec.to_builtins(by_hand)
            self._wakeup = signal_pipe(signal.SIGTERM, signal.SIGINT, *LEVEL_SIGNALS)
        self._supervised = by_hand is None
        os.set_blocking(self._words, False)

    def set_up_log(self, secrets: Iterable[str | None] = (), **common: str) -> None:
        """Log as the configuration says, and as each new one will: due before the loop. `secrets` are hidden, `common` are fields
        of every record."""
        self._log = Log(self.configuration["log_level"], secrets, **common)

    def poll_fds(self) -> set[int]:
        return {0, self._wakeup} if self._supervised else {self._wakeup}

    def drain(self) -> list[dict[str, Any]]:
        """Take what has come on stdin and from signals; returns new configurations. Sets `stopping` and `orphaned`."""
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakeup, 512):
                self.stopping = self.stopping or number not in LEVEL_SIGNALS
                self._log.hear(number)
        if not self._supervised:
            return []
        try:
            data = os.read(0, 65536)
        except BlockingIOError:
            return []
        self.orphaned = self.orphaned or not data
        *lines, self._input = (self._input + data).split(b"\n")
        configurations: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
        for configuration in configurations:
            self._log.configure(configuration["log_level"])
        return configurations

    def beat(self, now: float) -> bool:
        """Show that the work loop runs, when it is time to; True when it was."""
        if now < self._next_beat:
            return False
        self._next_beat = now + BEAT_S
        self.say("")
        return True

    def say(self, words: str) -> None:
        """One line to the supervisor. A pipe that is full loses it: whoever does not read is not waited for."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._words, words.encode() + b"\n")

    def _first_line(self) -> bytes:
        data = b""
        while b"\n" not in data:
            piece = os.read(0, 65536)
            if not piece:
                sys.exit("amid: no configuration on stdin; the supervisor gives one, and a person names a file with -c")
            data += piece
        line, _, self._input = data.partition(b"\n")
        os.set_blocking(0, False)
        return line


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("amid: the supervisor ended while this process started")


def signal_pipe(*numbers: signal.Signals) -> int:
    """A descriptor that becomes readable, with the signal's number as a byte, when one of `numbers` comes."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # `process` starts children with some of them blocked
    return reading
