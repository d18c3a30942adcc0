"""A client's harness as the suite uses it: a process with line-based input and output
(clients/CONFORMANCE.md)."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.client.standin import StandIn
from tests.daemon import eventually
from tests.languages.notation import meant, shown

ROOT = Path(__file__).parents[2]
BOUND_S = 60.0
"""Seconds for a line that must come: ten processes share two cores here."""

COMMANDS: dict[str, list[str]] = {
    "C": ["clients/c/build/harness"],
    "Go": ["clients/go/build/harness"],
    "Java": ["java", "-jar", "clients/java/build/harness.jar"],
    "Node.js": ["node", "clients/node/harness.js"],
    "Perl": ["perl", "-I", "clients/perl/blib/lib", "clients/perl/harness.pl"],
    "PHP": ["php", "clients/php/harness.php"],
    "Python": [sys.executable, "-m", "tests.languages.python"],
    "Ruby": ["ruby", "clients/ruby/harness.rb"],
    "Rust": ["clients/rust/target/release/examples/harness"],
}


@cache
def missing_prerequisite(language: str) -> str:
    """Why this language's client cannot run here, or "". It is tried with a daemon, because a
    missing library may only show then."""
    with StandIn() as daemon:
        why = call_once([*COMMANDS[language], daemon.run_dir])
    name = language.lower().removesuffix(".js")
    return why and f"the client for {language} does not run ({why}); as root, run tests/languages/provision.sh {name}"


def call_once(argv: list[str]) -> str:
    """What is wrong with this harness in front of a daemon, in one line, or ""."""
    ping = json.dumps({"do": "call", "method": "ping", "params": {}}) + "\n"
    try:
        done = subprocess.run(argv, cwd=ROOT, input=ping, capture_output=True, text=True, timeout=BOUND_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and '"result"' in done.stdout:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line] or lines or [f"exit status {done.returncode}"]
    return telling[0][:120]


class Harness:
    """A thread reads the answers as they arrive, so a harness is never blocked by its reader."""

    def __init__(self, language: str, run_dir: Path | None, environment: Mapping[str, str] | None = None) -> None:
        """Without a run_dir the client looks for its daemon."""
        self.language = language
        argv = [*COMMANDS[language], *([str(run_dir)] if run_dir else [])]
        self.process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        why = self.close()
        assert error is not None or not why, why

    def close(self) -> str:
        """The error of its exit, or ""."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait(BOUND_S)
        self._reading.join(BOUND_S)
        self.process.stdout.close()
        return f"the harness of {self.language} ended with {status}" if status else ""

    def say(self, do: str, **rest: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(shown({"do": do, **rest})).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, bound: float = BOUND_S) -> dict[str, Any]:
        """The next line."""
        try:
            line = self._lines.get(timeout=bound)
        except queue.Empty:
            raise AssertionError(f"the harness of {self.language} said nothing for {bound:g} s") from None
        assert line, f"the harness of {self.language} has ended"
        answer: dict[str, Any] = meant(json.loads(line))
        return answer

    def ask(self, do: str, **rest: Any) -> dict[str, Any]:
        """Send a line and return the one-line answer."""
        self.say(do, **rest)
        return self.hear()

    def result(self, method: str, **params: Any) -> Any:
        answer = self.ask("call", method=method, params=params)
        assert "result" in answer, f"{method} {str(params)[:200]}: {answer}"
        return answer["result"]

    def error(self, method: str, **params: Any) -> dict[str, Any]:
        answer = self.ask("call", method=method, params=params)
        assert "error" in answer, f"{method} {str(params)[:200]}: {str(answer)[:500]}"
        error: dict[str, Any] = answer["error"]
        return error

    def listen(self, names: list[str] | None, count: int, timeout: float, server: str = "pbx1") -> None:
        """Start to receive events; the subscription is in effect when this returns."""
        self.say("events", names=names, server=server, count=count, timeout=timeout)
        assert self.hear() == {"listening": True}

    def items(self) -> Iterator[dict[str, Any]]:
        """Each event or gap as its line has it, and the last line, which has `end`."""
        while True:
            item = self.hear()
            yield item
            if "end" in item:
                return

    def stop(self) -> None:
        """It reads nothing until `go`."""
        os.kill(self.process.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        eventually(lambda: stat.read_text().rpartition(") ")[2][0] in "TZ", f"the harness of {self.language} has stopped")
        assert self.process.poll() is None, f"the harness of {self.language} has ended"

    def go(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")
