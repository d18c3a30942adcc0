"""Completion in real interactive shells on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.need import need_programs
from tests.processes.pbx import simulated, table

BOUND_S = 30.0
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -d {folder}/dump; source {script}"),
    "fish": (["fish", "--no-config", "-i"], "source {script}"),
}
"""How each is started with nothing of the user's, and how it is given the script."""


class Terminal:
    """A program on a pseudo-terminal; `seen` is its output."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.seen = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + BOUND_S
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} within {BOUND_S:g} s in {self.seen!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.seen += os.read(self._terminal, 65536).decode("utf-8", "replace")

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_finishes_an_action_name(shell: str, daemon_for: StartDaemon, tmp_path: Path) -> None:
    need_programs(shell, of="PACKAGES")
    program = Path(sys.executable).parent
    argv, load = SHELLS[shell]
    script = tmp_path / f"completion.{shell}"
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        environment = {"PATH": f"{program}:/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "vt100"}
        terminal = Terminal(argv, {**environment, "AMID_RUN_DIR": str(daemon.run_dir)})
        try:
            load = load.format(script=script, folder=tmp_path)
            terminal.type(f"amid completion {shell} > {script}; {load}; echo rea''dy\r")
            terminal.wait_for("ready")
            terminal.type("amid action QueueSu\t")
            terminal.wait_for("mmary")
        finally:
            terminal.close()
