"""Events from a server to a consumer that has each as a map: amid beside a minimal loop, panoramisk, and a raw counter.

The consumers decode with plain msgpack, as most programs do; one row shows what msgspec gains.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

from tests.bench.setting import ROOT, Bar, Section, cpu, daemon, generator, median
from tests.daemon import BOUND_S, Daemon, eventually

COUNT = 100_000
"""Events of a storm; a fifth for panoramisk, three times as many for the loop that counts, a twentieth by one a page."""
HELD = 256 * 1024 * 1024
"""Bytes of events that the reader holds: a whole storm, so that one that pulls misses none."""
QUIET = 500
QUIET_RATE = 100
"""Events on a quiet system, and how many of them a second."""

AMID = {
    "amid, stream": ["stream"],
    "amid, by name": ["events"],
    "amid, nobody": [],
    "amid, 4 of stream": ["stream"] * 4,
    "amid, stream, msgspec": ["stream-msgspec"],
    "amid, pulled": ["pull"],
    "amid, pulled, one a page": ["pull-single"],
}
"""Title -> the consumers behind amid."""
KINDS = {"realistic": "Events", "wide": "Events of 520 bytes with 22 headers"}


class Figure(NamedTuple):
    """Events a second, and microseconds of CPU an event: of all consumers, and of amid's reader."""

    rate: float
    consumer: float
    reader: float


class Consumer:
    """A process of `consumers`, ready to take events."""

    def __init__(self, name: str, where: object, count: int) -> None:
        argv = [sys.executable, "-m", "tests.bench.consumers", name, str(where), str(count)]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def figures(self) -> dict[str, float]:
        figures: dict[str, float] = json.loads(self._line())
        self._process.communicate(timeout=BOUND_S)
        return figures


def sections(rounds: int, count: int = COUNT) -> list[Section]:
    return [*(_section(kind, rounds, count) for kind in KINDS), _quiet(rounds)]


def _section(kind: str, rounds: int, count: int) -> Section:
    taken: dict[str, list[Figure]] = {}
    with generator(kind) as port:
        for _ in range(rounds):
            for name, size in (("raw", count * 3), ("minimal", count), ("panoramisk", count // 5)):
                taken.setdefault(name, []).append(_alone(name, port, size))
            with daemon(port, server={"replay_bytes": HELD}) as made:
                for title, names in AMID.items():
                    size = count // 20 if names == ["pull-single"] else count
                    taken.setdefault(title, []).append(_through_amid(names, made, size))
    figures = {name: Figure(*(median(values) for values in zip(*several, strict=True))) for name, several in taken.items()}
    columns = ("who", "events/s", "CPU of the consumers, µs an event", "CPU of amid's reader, µs an event")
    return Section(KINDS[kind], columns, [(name, *figure) for name, figure in figures.items()], _bars(figures))


def _bars(figures: dict[str, Figure]) -> list[Bar]:
    stream, by_name, nobody, four, _, pulled, _ = (figures[title] for title in AMID)
    minimal, panoramisk = figures["minimal"], figures["panoramisk"]
    return [
        Bar("stream, of panoramisk's events a second", stream.rate / panoramisk.rate, 3.5, at_most=False),
        Bar("stream, of the minimal loop's", stream.rate / minimal.rate, 1, at_most=False),
        Bar("by name, of panoramisk's", by_name.rate / panoramisk.rate, 1.6, at_most=False),
        Bar(f"pulled ({pulled.rate:,.0f} events a second), of stream's", pulled.rate / stream.rate, 0.22, at_most=False),
        Bar("the reader's CPU for an event on stream, µs", stream.reader, 8),
        Bar("the reader's CPU for an event without subscribers, of one on stream", nobody.reader / stream.reader, 0.25),
        Bar("the reader's CPU for 4 consumers of stream, of that for one", four.reader / stream.reader, 1.3),
    ]


def _quiet(rounds: int) -> Section:
    """How old an event is when a consumer has it as a map, where little happens."""
    taken: dict[str, list[dict[str, float]]] = {"amid, stream": [], "amid, pulled": []}
    with generator() as port, daemon(port) as made:
        for _ in range(rounds):
            for figures, name in zip(taken.values(), ("stream-timed", "pull-timed"), strict=True):
                consumer = Consumer(name, _endpoint(made, name), QUIET)
                made.action("Storm", {"Count": QUIET, "Rate": QUIET_RATE}, timeout=60)
                figures.append(consumer.figures())
    rows = {name: [median([one[share] * 1e6 for one in several]) for share in ("p50", "p99")] for name, several in taken.items()}
    (stream, _), (pulled, _) = rows.values()
    columns = ("who", "age of an event, p50, µs", "p99, µs")
    bars = [Bar("the age of an event that is pulled, of one on stream, p50", pulled / stream, 2)]
    return Section(f"Events, {QUIET_RATE} a second", columns, [(name, *figures) for name, figures in rows.items()], bars)


def _endpoint(made: Daemon, name: str) -> str:
    kind = name.partition("-")[0]
    endpoint: str = made.rpc if kind == "pull" else made.server("pbx1")[kind]
    return endpoint


def _alone(name: str, port: int, count: int) -> Figure:
    """A consumer that is connected to the generator itself."""
    consumer = Consumer(name, port, count)
    subprocess.run([sys.executable, "-m", "tests.bench.storm", str(port), str(count)], check=True, cwd=ROOT)
    told = consumer.figures()
    return Figure(told["events"] / told["seconds"], told["cpu"] / told["events"] * 1e6, 0.0)


def _through_amid(names: list[str], made: Daemon, count: int) -> Figure:
    """Consumers behind amid, all at once; none is a storm without subscribers, three times as long because it costs so little."""
    count *= 1 if names else 3
    view, reader = made.server("pbx1"), made.pid("reader pbx1")
    consumers = [Consumer(name, _endpoint(made, name), count) for name in names]
    before = cpu(reader)
    made.action("Storm", {"Count": count}, timeout=60)
    told = [consumer.figures() for consumer in consumers]
    eventually(lambda: made.server("pbx1")["seq"] >= view["seq"] + count, "the reader has them all", 60)
    cost = (cpu(reader) - before) / count * 1e6
    rate = min((one["events"] / one["seconds"] for one in told), default=0.0)
    return Figure(rate, sum(one["cpu"] for one in told) / count * 1e6, cost)


if __name__ == "__main__":
    for one in sections(*map(int, sys.argv[1:] or ["1"])):
        print(one.text())
