"""A client's harness as the suite drives it: a process, lines to it and lines from it (clients/CONFORMANCE.md)."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
def why_not(language: str) -> str:
    """Why this language's client cannot be run here, or "". One that can ends well when it is told nothing."""
    try:
        argv, nothing = [*COMMANDS[language], "/nowhere"], subprocess.DEVNULL
        done = subprocess.run(argv, cwd=ROOT, stdin=nothing, capture_output=True, text=True, timeout=BOUND_S, check=False)
    except OSError as error:
        why = str(error)
    else:
        why = "" if done.returncode == 0 else done.stderr.strip()[-300:]
    return why and f"{language} is not provisioned; tests/languages/provision.sh does it ({why})"


class Harness:
    """Answers are read as they come by a thread of its own, so a harness is never held up by its reader."""

    def __init__(self, language: str, run_dir: Path) -> None:
        self.language = language
        argv = [*COMMANDS[language], str(run_dir)]
        self.process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reading.join()
        self.process.stdout.close()
        assert error is not None or status == 0, f"the harness of {self.language} ended with {status}"

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
        """Say, and the answer of one line."""
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
        """Begin to take events; the subscription is in effect when this returns."""
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
        while stat.read_text().rpartition(") ")[2][0] != "T":
            time.sleep(0.001)

    def go(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")
