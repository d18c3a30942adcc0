"""What the README and the quick start of etc/doc/http.md tell a newcomer to type works in order, with a simulated PBX in place of
theirs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from amid.simulator import SimulatedPbx
from tests.asterisk.server import free_port
from tests.daemon import BOUND_S, Daemon, eventually
from tests.need import need_programs
from tests.processes.pbx import simulated, table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
STEPS = dict(re.findall(r"^\*\*(\d)\. (.*?)(?=^\*\*\d\. |^## )", README, flags=re.M | re.S))
HTTP = (ROOT / "etc/doc/http.md").read_text().partition("## Quick start\n")[2].partition("\n## ")[0]
MAX_LINES = 160


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


class Newcomer:
    """A person with a home and a clone; `type` gives what a command printed. The PBX and the gateway have ports of the test's."""

    def __init__(self, home: Path, pbx: SimulatedPbx) -> None:
        self.home = home
        self.pbx = table(pbx)
        self.gateway_port = free_port()
        program = Path(sys.executable).parent
        self.environment = {"HOME": str(home), "PATH": f"{program}:{os.environ['PATH']}", "AMID_RUN_DIR": f"{home}/run"}
        self.environment |= {"XDG_STATE_HOME": f"{home}/state", "STATE_DIRECTORY": f"{home}/state"}

    def type(self, commands: str, keys: str = "") -> str:
        done = subprocess.run(["bash", "-ec", self.here(commands)], input=keys, **self.options(), timeout=BOUND_S)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(["bash", "-c", f"exec {self.here(command)}"], **self.options(), stdin=subprocess.PIPE)  # type: ignore[call-overload, no-any-return]

    def options(self) -> dict[str, object]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return {"cwd": self.home, "env": self.environment, "text": True, **pipes}

    def here(self, commands: str) -> str:
        commands = commands.replace("8088", str(self.gateway_port))
        commands = commands.replace('username = "amid"', f'username = "{self.pbx["username"]}"')
        return commands.replace('host = "127.0.0.1"', f'host = "127.0.0.1"\nport = {self.pbx["port"]}')


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    need_programs("bash", "curl", "openssl", of="LANGUAGES")
    with simulated() as pbx:
        yield Newcomer(tmp_path, pbx)


def test_a_gateway_in_three_blocks(newcomer: Newcomer) -> None:
    secret, files, requests = blocks(HTTP, "sh")
    newcomer.type(secret, f"{newcomer.pbx['secret']}\n")
    *prepare, run = files.strip().splitlines()
    address = newcomer.type("\n".join(prepare)).strip()
    token = (newcomer.home / ".amid-token").read_text().rpartition(" ")[2].strip()
    assert address == f"http://127.0.0.1:{newcomer.gateway_port}/#token={token}"
    assert {file.stat().st_mode & 0o777 for file in (newcomer.home / "my").iterdir()} == {0o600}
    assert run == "amid run -c my/amid.toml"
    daemon = newcomer.start(run)
    try:
        eventually(lambda: " up " in newcomer.type("amid status"), "the server is up")
        eventually(lambda: newcomer.type("curl -sSf http://127.0.0.1:8088/readyz"), "the gateway answers")
        commands = re.split(r"\n(?=curl)", requests.strip())
        assert len(commands) == 3
        for command in commands:
            limit = " --max-time 1 || [ $? = 28 ]" if " -N " in command else ""
            shown = newcomer.type(re.sub("    # .*", "", command) + r" -sS -w '\n%{http_code}'" + limit)
            assert shown.endswith("\n200"), shown
    finally:
        daemon.terminate()
        daemon.communicate(timeout=BOUND_S)


@pytest.fixture
def daemon(tmp_path: Path, newcomer: Newcomer) -> Iterator[Daemon]:
    with closing(Daemon(tmp_path, {"pbx1": newcomer.pbx})) as daemon:
        yield daemon.start()


def test_the_commands_for_the_second_terminal(newcomer: Newcomer, daemon: Daemon) -> None:
    (typed,) = blocks(STEPS["3"], "console")
    *calls, events = [line.removeprefix("$ ") for line in typed.strip().splitlines()]
    assert "`. .venv/bin/activate`" in README and blocks(STEPS["2"], "sh")[0].splitlines()[0].endswith(" && . .venv/bin/activate")
    for command in calls:
        assert newcomer.type(command)
    assert events.startswith("amid events ")
    newcomer.type(f"timeout --preserve-status -s INT 2 {events}")


def test_the_python_example(newcomer: Newcomer, daemon: Daemon) -> None:
    (example,) = blocks(STEPS["4"], "python")
    shown = newcomer.type(f"python - <<'END'\n{example.replace('timeout=60', 'timeout=0.1')}\nEND")
    assert shown.endswith("no Hangup for 60 seconds\n")
    imported = re.findall(r"\w+", example.splitlines()[0].partition("import")[2])
    assert all(example.count(name) > 1 for name in imported), "what it imports, it uses"


@pytest.mark.parametrize("page", ["README.md", "etc/doc/http.md", "etc/doc/installation.md", "etc/doc/freepbx.md"])
def test_nothing_is_pasted_behind_a_question(page: str) -> None:
    """In a terminal without bracketed paste, `read` takes the next line of the block as the secret."""
    for block in blocks((ROOT / page).read_text(), "sh"):
        assert not [line for line in block.splitlines()[:-1] if re.match(r"(read|editor) ", line)], block


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES
