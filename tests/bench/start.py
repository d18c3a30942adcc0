"""How long it takes to start, and what is resident with nothing going on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from tests.bench.setting import Bar, Section, generator, median, resident
from tests.daemon import Daemon

RUNS = 10
PROCESSES = ("supervisor", "broker", "reader pbx1")


def section(rounds: int) -> Section:
    times: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    with generator() as port:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="amid-") as directory, closing(_daemon(Path(directory), port)) as made:
                times.setdefault("`amid run`, to the first answered call", []).append(_first_call(made))
                for name, argv in (("`python -c pass`", [sys.executable, "-c", "pass"]), ("`amid action Ping`", _ping(made))):
                    times.setdefault(name, []).extend(_seconds(argv) for _ in range(RUNS // rounds + 1))
                for name in PROCESSES:
                    memory.setdefault(f"{name}, MB resident", []).append(resident(made.pid(name)))
    figures = {name: median(values) for name, values in {**times, **memory}.items()}
    bars = [
        Bar("`amid action Ping`, whole process, s", figures["`amid action Ping`"], 0.3),
        Bar("`amid run`, to the first answered call, s", figures["`amid run`, to the first answered call"], 1.5),
        Bar("a reader with nothing going on, MB", figures["reader pbx1, MB resident"], 40),
    ]
    return Section("Start", ("what", "seconds, or MB"), list(figures.items()), bars)


def _daemon(directory: Path, port: int) -> Daemon:
    table = {"host": "127.0.0.1", "port": port, "username": "amid", "secret": "x", "auth": "plain"}
    return Daemon(directory, {"pbx1": table}, log_level="info")


def _first_call(made: Daemon) -> float:
    """Seconds until the first answer; retried, because the daemon does not answer at first."""
    began = time.monotonic()
    made.start(wait=False)
    while True:
        try:
            if "result" in made.request("action", {"action": "Ping"}, wait=0.2):
                return time.monotonic() - began
        except TimeoutError:
            pass


def _ping(made: Daemon) -> list[str]:
    return [sys.executable, "-m", "amid", "--run-dir", str(made.run_dir), "action", "Ping"]


def _seconds(argv: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    print(section(int(sys.argv[1]) if len(sys.argv) > 1 else 1).text())
