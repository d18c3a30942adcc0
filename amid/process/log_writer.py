"""Writes lines to a descriptor from a thread, so that no loop waits for the program that reads
them.

A write to stderr blocks if stderr is a full pipe, a terminal stopped with Ctrl-S, or a file on an
unreachable network. O_NONBLOCK does not help: it belongs to the open file, which amid shares with
its children and the shell that started it, and another user's pipe cannot be opened again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

BUFFER_BYTES = 256 * 1024
"""Bytes of lines that wait to be written. Further lines are dropped and counted."""

CLOSE_S = 0.3
"""Time to write the last lines when the process ends."""


class LogWriter:
    """`write` never blocks. on_loss: makes the line that reports how many lines were dropped."""

    def __init__(self, descriptor: int, on_loss: Callable[[int], bytes]) -> None:
        self._descriptor = descriptor
        self._on_loss = on_loss
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._left_out = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue a line, or drop and count it if the buffer is full."""
        with self._changed:
            if self._waiting_bytes + len(line) > BUFFER_BYTES:
                self._left_out += 1
                return
            self._lines.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify()

    def close(self) -> None:
        """Wait until all lines are written, at most `CLOSE_S` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (line := self._next_line()) is not None:
            try:
                self._write_all(line)
            except OSError:  # the reader has ended, or the disk is full; reported with the next line that succeeds
                self._finish(line, lost=1)
            else:
                self._finish(line, lost=0)

    def _next_line(self) -> bytes | None:
        """Wait for a line; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._closing)
            return self._lines.popleft() if self._lines else None

    def _finish(self, line: bytes, lost: int) -> None:
        with self._changed:
            self._waiting_bytes -= len(line)
            self._left_out += lost
            if self._left_out and not lost and not self._lines:
                report, self._left_out = self._on_loss(self._left_out), 0
                self._lines.append(report)
                self._waiting_bytes += len(report)

    def _write_all(self, line: bytes) -> None:
        while line:
            line = line[os.write(self._descriptor, line) :]
