"""The environment of the benchmarks: the load generator, a daemon in front of it, the CPU time of a
process, and comparable figures.

Compared figures are measured in turn in the same run, ROUNDS times, and their medians are compared:
on a machine with other work absolute figures vary by half from hour to hour, ratios do not.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.daemon import Daemon

ROOT = Path(__file__).parents[2]
ROUNDS = 5


@dataclass(frozen=True)
class Bar:
    """What must hold: `measured` is at most, or at least, `bound`."""

    what: str
    measured: float
    bound: float
    at_most: bool = True

    @property
    def met(self) -> bool:
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def __str__(self) -> str:
        verdict = "met" if self.met else "NOT MET"
        return f"{verdict:8} {self.what}: {self.measured:.2f}, at {'most' if self.at_most else 'least'} {self.bound:g}"


@dataclass(frozen=True)
class Section:
    """One table of the report, and the bars that its figures are held to."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    bars: Sequence[Bar] = field(default_factory=list)

    def text(self) -> str:
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"- {bar}" for bar in self.bars)]) + "\n"

    def data(self) -> dict[str, Any]:
        return {**asdict(self), "bars": [{**asdict(bar), "met": bar.met} for bar in self.bars]}


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def cpu(pid: int) -> float:
    """CPU seconds of a process, its threads included."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def resident(pid: int) -> float:
    """MB (of a million bytes) that a process has resident now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) * 1024 / 1e6


@contextmanager
def program(*argv: object) -> Iterator[str]:
    """A program of this package, for as long as it is needed; gives the line that it says when it is ready."""
    command = [sys.executable, "-m", *(str(one) for one in argv)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def generator(kind: str = "realistic", channels: int = 0) -> Iterator[int]:
    """Its port."""
    with program("tests.bench.generator", kind, channels) as port:
        yield int(port)


@contextmanager
def daemon(*ports: int, server: dict[str, Any] | None = None, **tables: Any) -> Iterator[Daemon]:
    """amid before a server on each of these ports, pbx1, pbx2 and so on."""
    with tempfile.TemporaryDirectory(prefix="amid-") as directory:
        one = {"host": "127.0.0.1", "username": "amid", "secret": "x", "auth": "plain", **(server or {})}
        servers = {f"pbx{number}": {"port": port, **one} for number, port in enumerate(ports, 1)}
        with closing(Daemon(Path(directory), servers, log_level="info", **tables)) as made:
            yield made.start()
