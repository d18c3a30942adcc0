"""Calls, Pings through and back: amid beside a bare echo over ZeroMQ, panoramisk, and a raw socket, one at a time and 64 at once.

A call through amid is a request to the broker, an action of the reader's to Asterisk, and the way back. So it is two hops over
ZeroMQ and one over AMI; the echo is one hop, the raw socket is the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.asterisk.server import Asterisk
from tests.bench.events import Consumer
from tests.bench.setting import ROOT, Bar, Section, cpu, daemon, generator, median, percentile, program
from tests.daemon import Daemon, eventually
from tests.gateway.conftest import TOKENS, listening, with_gateway
from tests.processes.caller import Caller

SEQUENTIAL, AT_ONCE, BESIDE = 3000, 15_000, 500
"""Calls of one measurement: one at a time, 64 at once, beside a slow action."""
WARM = 50
"""Calls at the beginning that do not count."""
FLOW = 5000
"""Events a second beside calls."""
SHARES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


class Figure(NamedTuple):
    """Microseconds, calls a second, the curve (microseconds by `SHARES`), and microseconds of amid's CPU a call."""

    p50: float
    p99: float
    rate: float
    curve: tuple[float, ...]
    broker: float = 0.0
    reader: float = 0.0


Measure = Callable[[], Figure]


def section(rounds: int) -> tuple[Section, dict[str, tuple[float, ...]]]:
    """The table, and the curve of each row."""
    taken: dict[str, list[Figure]] = {}
    with ExitStack() as stack:
        measures = dict(_measures(stack))
        for _ in range(rounds):
            for name, measure in measures.items():
                taken.setdefault(name, []).append(measure())
    figures = {name: _median(several) for name, several in taken.items()}
    columns = ("who", "p50, µs", "p99, µs", "calls/s", "CPU of the broker, µs a call", "of the reader")
    rows = [(name, one.p50, one.p99, one.rate, one.broker, one.reader) for name, one in figures.items()]
    curves = {name: figure.curve for name, figure in figures.items()}
    return Section("Calls", columns, rows, _bars(figures)), curves


def _measures(stack: ExitStack) -> Iterator[tuple[str, Measure]]:
    port = stack.enter_context(generator())
    made = stack.enter_context(daemon(port))
    wide = stack.enter_context(daemon(port, server={"lanes": 64}))
    echo = f"ipc://{made.run_dir}/echo"
    stack.enter_context(program("tests.bench.callers", "echo", echo, 1, 1))
    for caller, name, where in (("raw", "raw", port), ("dealer", "echo", echo), ("panoramisk", "panoramisk", port)):
        yield name, _measure(caller, where, SEQUENTIAL)
        yield f"{name}, 64 at once", _measure(caller, where, AT_ONCE, 64)
    yield "amid", lambda: _with_cpu(made, SEQUENTIAL, 1)
    yield "amid, 64 at once", lambda: _with_cpu(made, AT_ONCE, 64)
    yield "amid over HTTP", _over_http(stack, port)
    yield "amid with 64 lanes, 64 at once", _measure("dealer", wide.rpc, AT_ONCE, 64)
    yield "amid, with 5,000 events/s", lambda: _with_events(made)
    yield "amid, beside a slow Originate", lambda: _beside_originate(made)
    yield "panoramisk, beside one of 3 s", _measure("panoramisk-beside", port, 1)
    yield from _on_asterisk(stack)


def _over_http(stack: ExitStack, port: int) -> Measure:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amid-")))
    keys = with_gateway(directory)
    listening(stack.enter_context(daemon(port, gateway=keys)), keys)
    return _measure("http", keys["listen"], SEQUENTIAL, environment={"BENCH_TOKEN": TOKENS["operator"]})


def _on_asterisk(stack: ExitStack) -> Iterator[tuple[str, Measure]]:
    asterisk = Asterisk("22")
    asterisk.start()
    stack.callback(asterisk.stop)
    user = {"username": asterisk.username, "secret": asterisk.secret}
    made = stack.enter_context(daemon(asterisk.port, server=user))
    environment = {"BENCH_USER": f"{asterisk.username}:{asterisk.secret}"}
    for name, where in (("raw", asterisk.port), ("panoramisk", asterisk.port), ("amid", made.rpc)):
        caller = "dealer" if name == "amid" else name
        yield f"Asterisk 22: {name}", _measure(caller, where, SEQUENTIAL, environment=environment)
    yield "Asterisk 22: amid, in a storm of Local calls", lambda: _in_a_storm(made)


def _measure(caller: str, where: object, count: int, in_flight: int = 1, environment: dict[str, str] | None = None) -> Measure:
    return lambda: measured(caller, where, count, in_flight, environment)


def measured(caller: str, where: object, count: int, in_flight: int = 1, environment: dict[str, str] | None = None) -> Figure:
    """The calls of a process of `callers`."""
    argv = [sys.executable, "-m", "tests.bench.callers", caller, str(where), str(count), str(in_flight)]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(argv, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=120)
    told = json.loads(done.stdout.splitlines()[-1])
    times = [seconds * 1e6 for seconds in told["times"]][WARM if count > WARM else 0 :]
    return Figure(median(times), percentile(times, 0.99), count / told["seconds"], tuple(percentile(times, s) for s in SHARES))


def _with_cpu(made: Daemon, count: int, in_flight: int) -> Figure:
    pids = [made.pid("broker"), made.pid("reader pbx1")]
    before = [cpu(pid) for pid in pids]
    figure = measured("dealer", made.rpc, count, in_flight)
    broker, reader = ((cpu(pid) - was) / count * 1e6 for pid, was in zip(pids, before, strict=True))
    return figure._replace(broker=broker, reader=reader)


def _with_events(made: Daemon) -> Figure:
    """One at a time while events flow to a subscriber of all."""
    seconds = 4
    consumer = Consumer("stream", made.server("pbx1")["stream"], FLOW * seconds)
    made.action("Storm", {"Count": FLOW * seconds, "Rate": FLOW})
    figure = measured("dealer", made.rpc, SEQUENTIAL)
    consumer.figures()
    return figure


def _beside_originate(made: Daemon) -> Figure:
    """One at a time while a synchronous Originate waits for an answer."""
    with Caller(made) as caller:
        slow = caller.action("Originate", {"Channel": "Local/1@x", "Timeout": 3000}, timeout=10)
        figure = measured("dealer", made.rpc, BESIDE)
        assert "result" in caller.reply(slow)
    return figure


def _in_a_storm(made: Daemon) -> Figure:
    """One at a time while calls through Local channels come as fast as Asterisk makes them."""
    with storm(made):
        return measured("dealer", made.rpc, SEQUENTIAL)


@contextmanager
def storm(made: Daemon) -> Iterator[None]:
    argv = [sys.executable, "-m", "tests.bench.callers", "storm", made.rpc, "1000000", "8"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as calls:
        try:
            yield
        finally:
            calls.kill()
    eventually(lambda: not made.action("CoreShowChannels")["events"], "all calls have ended", 60)


def _median(figures: list[Figure]) -> Figure:
    curves = zip(*(figure.curve for figure in figures), strict=True)
    curve = tuple(median(values) for values in curves)
    numbers = zip(*((*figure[:3], *figure[4:]) for figure in figures), strict=True)
    p50, p99, rate, broker, reader = (median(values) for values in numbers)
    return Figure(p50, p99, rate, curve, broker, reader)


def _bars(figures: dict[str, Figure]) -> list[Bar]:
    alone, at_once, peer = figures["amid"], figures["amid, 64 at once"], figures["panoramisk, 64 at once"]
    return [
        Bar("one at a time, p50, of the echo's", alone.p50 / figures["echo"].p50, 3.8),
        Bar("one at a time, p99, of its own p50", alone.p99 / alone.p50, 5),
        Bar("64 at once, of panoramisk's calls a second", at_once.rate / peer.rate, 0.5, at_most=False),
        Bar("64 at once, p99, of the p50 one at a time", at_once.p99 / alone.p50, 20),
        Bar("p50 with 5,000 events/s, of the quiet one", figures["amid, with 5,000 events/s"].p50 / alone.p50, 1.5),
        Bar("p50 beside a slow Originate, of that alone", figures["amid, beside a slow Originate"].p50 / alone.p50, 2),
    ]


if __name__ == "__main__":
    print(section(int(sys.argv[1]) if len(sys.argv) > 1 else 1)[0].text())
