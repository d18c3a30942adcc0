"""Growth: 1 to 50 servers, 1 to 1,000 subscribers, 1 to 1,000 clients; what the whole daemon takes, and what callers feel.

Events flow at a fixed rate meanwhile. The cost of one more is what lies between two sizes, so what the daemon takes anyway does not
make it look cheap.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.bench.calls import measured
from tests.bench.setting import ROOT, Bar, Section, cpu, daemon, generator, median, resident
from tests.daemon import Daemon

SERVERS, SUBSCRIBERS, CLIENTS = (1, 10, 50), (1, 10, 100, 1000), (1, 100, 1000)
SECONDS = 3.0
RATE = 500
"""Events a second, of each server."""
FLOW = {"Rate": RATE, "Count": RATE * 60}
PINGS = 500


class Figure(NamedTuple):
    """CPU of all processes of the daemon in percent of one core, MB of them all, microseconds of Pings."""

    cpu: float
    memory: float
    p50: float
    p99: float


def sections(rounds: int) -> list[Section]:
    return [
        _section("servers", "with 500 events/s each", SERVERS, _servers, rounds),
        _section("subscribers", "of all events, 500/s", SUBSCRIBERS, _subscribers, rounds),
        _section("clients", "calling in turn", CLIENTS, _clients, rounds),
    ]


def _section(what: str, how: str, sizes: tuple[int, ...], measure: object, rounds: int) -> Section:
    assert callable(measure)
    taken: dict[int, list[Figure]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            taken[size].append(measure(size))
    figures = {size: Figure(*(median(values) for values in zip(*several, strict=True))) for size, several in taken.items()}
    columns = (what, "CPU, % of a core", "MB", "Ping p50, µs", "p99, µs")
    bars = [] if what == "clients" else [_linear(what, "CPU", [(size, one.cpu) for size, one in figures.items()])]
    bars.append(_linear(what, "memory", [(size, one.memory) for size, one in figures.items()]))
    return Section(f"Growth: {what} {how}", columns, [(f"{size:,}", *one) for size, one in figures.items()], bars)


def _linear(what: str, of: str, figures: list[tuple[int, float]]) -> Bar:
    """What one more costs at the largest size, of what one more costs from the smallest to the one before."""
    (least, at_least), (middle, at_middle), (most, at_most) = figures[0], figures[-2], figures[-1]
    before, after = (at_middle - at_least) / (middle - least), (at_most - at_middle) / (most - middle)
    return Bar(f"{of} for one more of {most:,} {what}, of that for one more of {middle:,}", after / max(before, 1e-9), 1.5)


def _servers(count: int) -> Figure:
    with generator() as port, daemon(*[port] * count) as made:
        made.action("Storm", FLOW, server="pbx1")
        return _figure(made)


def _subscribers(count: int) -> Figure:
    environment = {**os.environ, "BENCH_SUBSCRIBERS": str(count)}
    with generator() as port, daemon(port) as made:
        argv = [sys.executable, "-m", "tests.bench.consumers", "many", made.server("pbx1")["stream"], "0"]
        with _running(argv, environment):
            made.action("Storm", FLOW)
            return _figure(made)


def _clients(count: int) -> Figure:
    with generator() as port, daemon(port) as made:
        began, before = time.monotonic(), _cpu(made)
        p50, p99, *_ = measured("many", made.rpc, PINGS, count)
        return Figure((_cpu(made) - before) / (time.monotonic() - began) * 100, _memory(made), p50, p99)


@contextmanager
def _running(argv: list[str], environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def _figure(made: Daemon) -> Figure:
    """What it takes for some seconds, and then Pings beside it."""
    began, before = time.monotonic(), _cpu(made)
    time.sleep(SECONDS)
    share = (_cpu(made) - before) / (time.monotonic() - began) * 100
    p50, p99, *_ = measured("dealer", made.rpc, PINGS, 1, {"BENCH_SERVER": "pbx1"})
    return Figure(share, _memory(made), p50, p99)


def _cpu(made: Daemon) -> float:
    return sum(cpu(process["pid"]) for process in made.processes().values())


def _memory(made: Daemon) -> float:
    return sum(resident(process["pid"]) for process in made.processes().values())


if __name__ == "__main__":
    for one in sections(int(sys.argv[1]) if len(sys.argv) > 1 else 1):
        print(one.text())
