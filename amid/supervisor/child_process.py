"""A child's process: exec, three pipes, signals and exit.

Children are started with exec and never with fork alone: libzmq does not survive a fork, and a
process list then shows `python -m amid reader pbx1`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import IO

from amid.process.log import LEVEL_SIGNALS


class Process:
    """A process, started at once.

    lines: the descriptor of its lines. input: the descriptor of its stdin; while there are `unsent`
    bytes, the owner calls `flush` when it is writable. end: readable when the process has ended
    (pidfd_open(2)).
    """

    def __init__(self, argv: list[str], configuration: bytes) -> None:
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
        self.lines = self._stdout.fileno()
        self.end = os.pidfd_open(self.pid)
        self.input = self._stdin.fileno()
        self.unsent = b""
        self._partial = b""
        self.send(configuration)

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        return pipe

    def send(self, configuration: bytes) -> None:
        """Send one line to the child. `unsent` keeps what the pipe does not take now."""
        self.unsent += configuration
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes now. Data for a child that has ended is dropped."""
        try:
            while self.unsent:
                self.unsent = self.unsent[os.write(self.input, self.unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.unsent = b""

    def read_lines(self) -> list[str] | None:
        """The lines that the child has sent since the last call; None if it has closed its end."""
        try:
            data = os.read(self.lines, 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def poll(self) -> bool:
        """Whether the process has ended. Reaps it."""
        return self._child.poll() is not None

    def close(self) -> str:
        """Close the pipes. Returns how the process ended, for example "status 0"."""
        self._stdin.close()
        self._stdout.close()
        os.close(self.end)
        code = self._child.returncode
        return f"signal {_signal_name(-code)}" if code < 0 else f"status {code}"


def _signal_name(number: int) -> str:
    """Real-time signals between the first and the last have no name in Python."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
