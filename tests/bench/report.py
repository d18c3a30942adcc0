"""`python -m tests.bench.report [--rounds N] [--out DIRECTORY]`: every benchmark, its figures and the bars they are held to.

Text goes to standard output, and with the same figures as JSON and a plot of them into the directory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq

from amid import __version__
from tests.bench import answers, bus, calls, events, fleet, growth, listener, recorder, start, state
from tests.bench.setting import ROUNDS, Section

Curves = dict[str, tuple[float, ...]]
SHOWN = ("raw", "echo", "panoramisk", "amid", "amid, with 5,000 events/s", "Asterisk 22: amid")
"""Whose latency is drawn."""


def machine() -> str:
    """What it was measured on, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "an unknown model")
    libraries = f"Python {platform.python_version()}, libzmq {zmq.zmq_version()}, pyzmq {zmq.__version__}"
    system = f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"
    return f"amid {__version__} on {system}, {libraries}, msgspec {msgspec.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Every benchmark, its figures and the bars they are held to.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured; the medians count [{ROUNDS}]")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where report.txt, report.json and report.png go [bench]")
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    print(machine(), "\n", flush=True)
    done: list[Section] = []
    curves: Curves = {}
    for measure in (
        events.sections,
        calls.section,
        answers.section,
        growth.sections,
        start.section,
        bus.sections,
        state.sections,
        recorder.sections,
        listener.section,
        fleet.section,
    ):
        measured: Any = measure(options.rounds)
        if measure is calls.section:
            measured, curves = measured
        for section in measured if isinstance(measured, list) else [measured]:
            done.append(section)
            print(section.text(), flush=True)
        write(options.out, done, curves)


def write(directory: Path, sections: Sequence[Section], curves: Curves) -> None:
    text = "\n".join([machine(), "", *(section.text() for section in sections)])
    (directory / "report.txt").write_text(text)
    data = {"machine": machine(), "sections": [section.data() for section in sections], "shares": calls.SHARES, "curves": curves}
    (directory / "report.json").write_text(json.dumps(data, indent=1))
    plot(directory / "report.png", sections, curves)


def plot(file: Path, sections: Sequence[Section], curves: Curves) -> None:
    """Throughput of events, percentiles of calls, and growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, ((rates, latency), (cost, slower)) = pyplot.subplots(2, 2, figsize=(12, 8), layout="constrained")
    rows = [row for row in sections[0].rows if row[0] != "raw" and row[1]]
    rates.barh([str(row[0]) for row in rows], [float(row[1]) for row in rows])
    rates.set(title="Events, server to consumer", xlabel="events/s")
    for name in curves.keys() & set(SHOWN):
        latency.plot([f"{share * 100:g}" for share in calls.SHARES], curves[name], label=name)
    latency.set(title="A Ping, one at a time", xlabel="percentile", ylabel="µs", yscale="log")
    for number, section in enumerate(section for section in sections if section.title.startswith("Growth")):
        sizes = [int(str(row[0]).replace(",", "")) for row in section.rows]
        lines = ((cost, 1, "CPU, %", "-"), (cost, 2, "MB", ":"), (slower, 3, "p50", "-"), (slower, 4, "p99", ":"))
        for axes, column, what, line in lines:
            values = [float(row[column]) for row in section.rows]
            axes.plot(sizes, values, line, marker="o", color=f"C{number}", label=f"{section.columns[0]}: {what}")
    cost.set(title="Growth: the whole daemon's CPU and memory", xlabel="how many", xscale="log", yscale="log")
    slower.set(title="Growth: a Ping meanwhile", xlabel="how many", ylabel="µs", xscale="log", yscale="log")
    for axes in (latency, cost, slower):
        if axes.lines:
            axes.legend(fontsize="small")
    figure.savefig(file, dpi=80)


if __name__ == "__main__":
    main()
