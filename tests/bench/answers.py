"""Big answers: what a list of 100,000 items and a Command of 200,000 lines cost, and what other callers notice of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgpack
import msgspec
import zmq

from tests.bench.setting import ROOT, Bar, Section, daemon, generator, median, percentile
from tests.daemon import Daemon

LISTS, COMMANDS = (1000, 10_000, 100_000), (2000, 20_000, 200_000)
"""Items, lines."""
CAP = 256 * 1024 * 1024
"""Bytes that an answer may have here."""
BESIDE = 2000
"""Pings of the caller beside."""


class Figure(NamedTuple):
    """Seconds of one answer, MB that each process had more at its peak, milliseconds of Pings beside such answers."""

    seconds: float
    reader: float
    broker: float
    p50: float
    p99: float
    longest: float


def section(rounds: int) -> Section:
    rows: list[tuple[str, float, float, float, float, float, float, float]] = []
    bars: list[Bar] = []
    with generator() as port:
        for what, sizes in (("items of a list", LISTS), ("lines of a Command", COMMANDS)):
            figures = {size: _median([_measured(port, what, size) for _ in range(rounds)]) for size in sizes}
            rows += [(f"{size:,} {what}", one.seconds, one.seconds / size * 1e6, *one[1:]) for size, one in figures.items()]
            bars += _bars(what, [(size, figures[size]) for size in sizes[1:]])
    columns = ("answer", "seconds", "µs each", "reader, MB more", "broker, MB more", "Ping p50, ms", "p99, ms", "longest, ms")
    return Section("Big answers", columns, rows, bars)


def _bars(what: str, figures: list[tuple[int, Figure]]) -> list[Bar]:
    (smaller, before), (larger, after) = figures
    more = larger / smaller
    memory = (after.reader + after.broker) / (before.reader + before.broker)
    return [
        Bar(f"{what}: time of {larger:,} for each, of that of {smaller:,}", after.seconds / before.seconds / more, 1.5),
        Bar(f"{what}: memory of {larger:,} for each, of that of {smaller:,}", memory / more, 1.5),
        Bar(f"{what}: p99 of another caller's Pings meanwhile, ms", after.p99, 50),
    ]


def _measured(port: int, what: str, size: int) -> Figure:
    with daemon(port, server={"max_reply_bytes": CAP}) as made:
        _ask(made, what, 10)
        pids = [made.pid(name) for name in ("reader pbx1", "broker")]
        before = [_peak(pid, reset=True) for pid in pids]
        began = time.monotonic()
        _ask(made, what, size)
        seconds = time.monotonic() - began
        reader, broker = (_peak(pid) - start for pid, start in zip(pids, before, strict=True))
        return Figure(seconds, reader, broker, *_beside(made, what, size))


def _beside(made: Daemon, what: str, size: int) -> tuple[float, float, float]:
    """Another caller's Pings while one such answer comes after the other."""
    argv = [sys.executable, "-m", "tests.bench.callers", "dealer", made.rpc, str(BESIDE), "1"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        while other.poll() is None:
            _ask(made, what, size)
        assert other.stdout is not None
        times = [seconds * 1e3 for seconds in json.loads(other.stdout.read())["times"]]
    return median(times), percentile(times, 0.99), max(times)


def _ask(made: Daemon, what: str, size: int) -> None:
    """The answer must be whole. In JSON, as the daemon's own helper asks, it would be the helper that is measured."""
    lists = what == "items of a list"
    params = {"action": "List" if lists else "Command", "fields": {"Count" if lists else "Command": size}, "timeout": 60}
    with zmq.Context() as context, context.socket(zmq.REQ) as caller:
        caller.connect(made.rpc)
        caller.send(msgpack.packb({"id": 1, "method": "action", "params": params}))
        result = msgspec.msgpack.decode(caller.recv())["result"]
    answered = len(result["events"] if lists else result["output"])
    assert answered == size, f"{answered} of {size} {what}"


def _peak(pid: int, reset: bool = False) -> float:
    """The most MB that a process has had resident since it was reset (proc(5), clear_refs)."""
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e6


def _median(figures: list[Figure]) -> Figure:
    return Figure(*(median(values) for values in zip(*figures, strict=True)))


if __name__ == "__main__":
    print(section(int(sys.argv[1]) if len(sys.argv) > 1 else 1).text())
