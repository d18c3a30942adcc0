"""A child's process: exec, three pipes, signals and exit.

Children are started with exec and never with fork alone: libzmq does not survive a fork, and a
process list then shows `python -m amid reader pbx1`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO

from amid.process.log import LEVEL_SIGNALS


class Process:
    """A process, started at once, and its pipes on the running loop.

    on_lines: called when `read_lines` may return some. on_end: called when the process has ended.
    """

    def __init__(self, argv: list[str], configuration: bytes, on_lines: Callable[[], object], on_end: Callable[[], object]) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEVEL_SIGNALS)  # inherited: signals wait until the child has handlers
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "amid", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._child.pid
        self._stdin: IO[bytes] = self._pipe(self._child.stdin)
        self._stdout: IO[bytes] = self._pipe(self._child.stdout)
        self._end = os.pidfd_open(self.pid)
        self._unsent = self._partial = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._stdout, on_lines)
        self._loop.add_reader(self._end, on_end)
        self.send(configuration)

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        return pipe

    def send(self, configuration: bytes) -> None:
        """Send one line to the child. What its pipe does not take now is sent when there is room."""
        self._unsent += configuration
        self._flush()

    def _flush(self) -> None:
        """Write what the pipe takes now. Data for a child that has ended is dropped."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent) :]
        except BlockingIOError:
            self._loop.add_writer(self._stdin, self._flush)
            return
        except BrokenPipeError:
            self._unsent = b""
        self._loop.remove_writer(self._stdin)

    def read_lines(self) -> list[str]:
        """The lines that the child has sent since the last call."""
        try:
            data = os.read(self._stdout.fileno(), 65536)
        except BlockingIOError:
            return []
        if not data:  # it has closed its end
            self._loop.remove_reader(self._stdout)
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def poll(self) -> bool:
        """Whether the process has ended. Reaps it."""
        return self._child.poll() is not None

    def close(self) -> str:
        """Close the pipes. Returns how the process ended, for example "status 0"."""
        for watched in (self._stdout, self._end):
            self._loop.remove_reader(watched)
        self._loop.remove_writer(self._stdin)
        self._stdin.close()
        self._stdout.close()
        os.close(self._end)
        code = self._child.returncode
        return f"signal {_signal_name(-code)}" if code < 0 else f"status {code}"


def _signal_name(number: int) -> str:
    """Real-time signals between the first and the last have no name in Python."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
