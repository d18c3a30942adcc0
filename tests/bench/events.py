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
"""Events of a storm; a fifth for panoramisk, three times as many for who only counts."""

AMID = {
    "amid, stream": ["stream"],
    "amid, by name": ["events"],
    "amid, nobody": [],
    "amid, 4 of stream": ["stream"] * 4,
    "amid, stream, msgspec": ["stream-msgspec"],
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
    return [_section(kind, rounds, count) for kind in KINDS]


def _section(kind: str, rounds: int, count: int) -> Section:
    taken: dict[str, list[Figure]] = {}
    with generator(kind) as port:
        for _ in range(rounds):
            for name, size in (("raw", count * 3), ("minimal", count), ("panoramisk", count // 5)):
                taken.setdefault(name, []).append(_alone(name, port, size))
            with daemon(port) as made:
                for title, names in AMID.items():
                    taken.setdefault(title, []).append(_through_amid(names, made, count))
    figures = {name: Figure(*(median(values) for values in zip(*several, strict=True))) for name, several in taken.items()}
    columns = ("who", "events/s", "CPU of the consumers, µs an event", "CPU of amid's reader, µs an event")
    return Section(KINDS[kind], columns, [(name, *figure) for name, figure in figures.items()], _bars(figures))


def _bars(figures: dict[str, Figure]) -> list[Bar]:
    stream, by_name, nobody, four, _ = (figures[title] for title in AMID)
    minimal, panoramisk = figures["minimal"], figures["panoramisk"]
    return [
        Bar("stream, of panoramisk's events a second", stream.rate / panoramisk.rate, 3.5, at_most=False),
        Bar("stream, of the minimal loop's", stream.rate / minimal.rate, 1, at_most=False),
        Bar("by name, of panoramisk's", by_name.rate / panoramisk.rate, 1.6, at_most=False),
        Bar("the reader's CPU for an event on stream, µs", stream.reader, 8),
        Bar("the reader's CPU for an event that nobody wants, of one on stream", nobody.reader / stream.reader, 0.25),
        Bar("the reader's CPU for 4 consumers of stream, of that for one", four.reader / stream.reader, 1.3),
    ]


def _alone(name: str, port: int, count: int) -> Figure:
    """A consumer that is connected to the generator itself."""
    consumer = Consumer(name, port, count)
    subprocess.run([sys.executable, "-m", "tests.bench.storm", str(port), str(count)], check=True, cwd=ROOT)
    told = consumer.figures()
    return Figure(told["events"] / told["seconds"], told["cpu"] / told["events"] * 1e6, 0.0)


def _through_amid(names: list[str], made: Daemon, count: int) -> Figure:
    """Consumers behind amid, all at once; none is a storm that nobody listens to, thrice as long as its cost is so little."""
    count *= 1 if names else 3
    view, reader = made.server("pbx1"), made.pid("reader pbx1")
    consumers = [Consumer(name, view[name.partition("-")[0]], count) for name in names]
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
