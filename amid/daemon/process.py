"""A child process as its parent holds it: exec, three pipes, signals to a pid that is known, and its end.

Exec and never fork alone: libzmq does not survive a fork, and `python -m amid reader pbx1` is an honest line in a process list.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from typing import IO

from amid.daemon.log import LEVEL_SIGNALS


class Process:
    """Started at once. `words` is the descriptor of what it says."""

    def __init__(self, argv: list[str], configuration: bytes) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, LEVEL_SIGNALS)  # inherited: they wait until the child has handlers
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "amid", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._child.pid
        self._stdin: IO[bytes] = self._pipe(self._child.stdin)
        self._stdout: IO[bytes] = self._pipe(self._child.stdout)
        self.words = self._stdout.fileno()
        self._partial = b""
        if len(configuration) > fcntl.fcntl(self._stdin, fcntl.F_GETPIPE_SZ):  # hundreds of servers
            fcntl.fcntl(self._stdin, fcntl.F_SETPIPE_SZ, len(configuration))
        self.send(configuration)

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        return pipe

    def send(self, configuration: bytes) -> None:
        """One line to the child. One that has not read what it got before is not waited for: it is hung, and will be replaced."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._stdin.write(configuration)

    def read_lines(self) -> list[str] | None:
        """What the child has said since; None when it has closed its end."""
        try:
            data = os.read(self.words, 65536)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def kill(self) -> None:
        self._child.kill()

    def poll(self) -> bool:
        """Whether it has ended; reaps it."""
        return self._child.poll() is not None

    def wait(self) -> None:
        """Wait for a process that was killed."""
        self._child.wait()

    def close(self) -> str:
        """Close the pipes; how it ended, in words."""
        self._stdin.close()
        self._stdout.close()
        code = self._child.returncode
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
