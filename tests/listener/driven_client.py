"""A program of `clients/`, started by a test.

Those of `clients/driven` do what the test tells them, so that the test decides when a client sends
what. One line of standard input is one action: `event NUMBER` sends a UserEvent, `mask CLASSES`
sends Events, and `ping -` sends Ping. The program prints `ready` after its login, `answer RESPONSE`
for each action, and `event NUMBER` for each of its own UserEvents that it receives, at the latest
while it waits for the next answer.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from pathlib import Path
from typing import Self

from tests.daemon import eventually
from tests.listener.setting import BOUND_S, Endpoint

FOLDER = Path(os.environ.get("AMID_AMI_CLIENTS", "/var/cache/amid-ami-clients"))
CLIENTS = Path(__file__).parent / "clients"
PROGRAMS = sorted(path.name for path in CLIENTS.iterdir() if path.is_file())
INTERPRETERS = {".py": [str(FOLDER / "venv/bin/python")], ".js": ["node"], ".pl": ["perl"], ".rb": ["ruby"], ".php": ["php"]}


def start(program: Path, endpoint: Endpoint, event: str) -> subprocess.Popen[bytes]:
    """Start a program. event: the name of the UserEvents that it sends and expects."""
    argv = [*INTERPRETERS[program.suffix], str(program), endpoint.host, str(endpoint.port), endpoint.username, endpoint.secret]
    environment = {
        **os.environ,
        "NODE_PATH": str(FOLDER / "node_modules"),
        "PYTHONUTF8": "1",
        "LANG": "C.UTF-8",
        "AMI_EVENT": event,
    }
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)


class DrivenClient:
    """A program of `clients/driven`. name: of its UserEvents. events: the numbers that it received."""

    def __init__(self, program: str, endpoint: Endpoint) -> None:
        self.name = program.partition(".")[0]
        self.events: list[int] = []
        self._process = start(CLIENTS / "driven" / program, endpoint, self.name)
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it without a Logoff."""
        self._process.kill()
        self._process.communicate()

    def wait_ready(self) -> None:
        assert self._line() == ["ready"], self.name

    def ask(self, command: str, value: str = "-") -> str:
        """The Response of an action."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command} {value}\n".encode())
        self._process.stdin.flush()
        while (line := self._line())[0] != "answer":
            self.events.append(int(line[1]))
        return " ".join(line[1:])

    def wait_event(self, number: int) -> None:
        """Ping until the event was received."""
        eventually(lambda: self.ask("ping") and number in self.events, f"{self.name} receives event {number}")

    def _line(self) -> list[str]:
        """The next line, in words."""
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            with selectors.DefaultSelector() as selector:
                selector.register(self._process.stdout, selectors.EVENT_READ)
                assert selector.select(BOUND_S), f"{self.name} prints nothing for {BOUND_S:g} s"
            data = os.read(self._process.stdout.fileno(), 65536)
            assert data, f"{self.name} ended: {self._process.communicate()[1].decode()[-2000:]}"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode().split()
