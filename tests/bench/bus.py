"""The bus: events of a storm until JetStream has acknowledged them, its CPU time at steady rates, and a
Ping over NATS beside its two parts."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from tests.bench.setting import Bar, Section, cpu, daemon, generator, median, percentile
from tests.bus.nats_server import Consumer, NatsServer, binaries
from tests.daemon import Daemon, eventually

COUNT = 100_000
HELD = 256 * 1024 * 1024
STEADY = (10, 200, 1000)
"""Events a second of a steady PBX, which come in bursts of ten."""
STEADY_S = 10
PINGS = 500
PING = b'{"id": 1, "method": "action", "params": {"action": "Ping"}}'


def sections(rounds: int, count: int = COUNT) -> list[Section]:
    rates: list[float] = []
    costs: dict[str, list[float]] = {"bus": [], "reader": [], "nats-server": []}
    steady: dict[int, list[list[float]]] = {rate: [] for rate in STEADY}
    pings: dict[str, list[list[float]]] = {"local REQ": [], "NATS alone": [], "NATS, bus, amid": []}
    newest = list(binaries().values())[-1]
    with tempfile.TemporaryDirectory(prefix="amid-nats-") as directory, generator() as port:
        server = NatsServer(newest, Path(directory)).start()
        try:
            with daemon(port, server={"replay_bytes": HELD}, nats={"servers": server.url, "max_bytes": 0}) as made:
                consumer = Consumer(server.url)
                eventually(lambda: last(consumer) > 0, "the stream is there")
                for _ in range(rounds):
                    _storm(made, server, consumer, count, rates, costs)
                    for rate in STEADY:
                        steady[rate].append(_steady(made, server, consumer, rate))
                    _pings(made, consumer, pings)
                consumer.close()
        finally:
            server.close()
    return [_events(rates, costs), _at_rates(list(costs), steady), _calls(pings)]


def last(consumer: Consumer) -> int:
    return int(consumer.run(consumer.jetstream.stream_info("AMID_pbx1")).state.last_seq)


def _pids(made: Daemon, server: NatsServer) -> dict[str, int]:
    assert server.process is not None
    return {"bus": made.pid("bus"), "reader": made.pid("reader pbx1"), "nats-server": server.process.pid}


def _storm(made: Daemon, server: NatsServer, consumer: Consumer, count: int, rates: list[float], costs: dict[str, Any]) -> None:
    pids = _pids(made, server)
    before, stored = {name: cpu(pid) for name, pid in pids.items()}, last(consumer)
    began = time.monotonic()
    made.action("Storm", {"Count": count}, timeout=60)
    eventually(lambda: last(consumer) >= stored + count, "all are stored", 120)
    rates.append(count / (time.monotonic() - began))
    for name, pid in pids.items():
        costs[name].append((cpu(pid) - before[name]) / count * 1e6)


def _steady(made: Daemon, server: NatsServer, consumer: Consumer, rate: int) -> list[float]:
    """CPU seconds a second of each process."""
    pids, count = _pids(made, server), rate * STEADY_S
    before, stored = [cpu(pid) for pid in pids.values()], last(consumer)
    began = time.monotonic()
    made.action("Storm", {"Count": count, "Rate": rate}, timeout=60)
    eventually(lambda: last(consumer) >= stored + count, "all are stored", 120)
    seconds = time.monotonic() - began
    return [(cpu(pid) - used) / seconds for pid, used in zip(pids.values(), before, strict=True)]


def _pings(made: Daemon, consumer: Consumer, taken: dict[str, list[list[float]]]) -> None:
    async def echo(message: Any) -> None:
        await message.respond(message.data)

    async def begin() -> None:
        await consumer.client.subscribe("echo", cb=echo)

    async def over_nats(subject: str) -> list[float]:
        found = []
        for _ in range(PINGS):
            began = time.perf_counter()
            await consumer.client.request(subject, PING, timeout=5)
            found.append(time.perf_counter() - began)
        return found

    if not taken["local REQ"]:
        consumer.run(begin())
    taken["local REQ"].append(_local(made))
    taken["NATS alone"].append(consumer.run(over_nats("echo"), 60))
    taken["NATS, bus, amid"].append(consumer.run(over_nats("amid.rpc.pbx1.action.Ping"), 60))


def _local(made: Daemon) -> list[float]:
    found = []
    with made.socket(zmq.REQ) as socket:
        socket.connect(made.rpc)
        for _ in range(PINGS):
            began = time.perf_counter()
            socket.send(PING)
            socket.recv()
            found.append(time.perf_counter() - began)
    return found


def _events(rates: list[float], costs: dict[str, list[float]]) -> Section:
    row = [median(rates), *(median(several) for several in costs.values())]
    bars = [
        Bar("events a second into JetStream", row[0], 50_000, at_most=False),
        Bar("the bus's CPU for an event, µs", row[1], 10),
    ]
    columns = ("events/s, acknowledged", *(f"CPU of the {name}, µs an event" for name in costs))
    return Section("Events into JetStream", columns, [row], bars)


def _at_rates(processes: list[str], steady: dict[int, list[list[float]]]) -> Section:
    rows: list[list[str | float]] = []
    for rate, rounds in steady.items():
        rows.append([str(rate), *(median(column) * 1000 for column in zip(*rounds, strict=True))])
    return Section("The bus at steady rates", ("events/s", *(f"CPU of the {name}, ms a second" for name in processes)), rows)


def _calls(taken: dict[str, list[list[float]]]) -> Section:
    at: Callable[[str, float], float] = lambda name, share: median([percentile(one, share) for one in taken[name]]) * 1e6  # noqa: E731
    rows = [(name, at(name, 0.5), at(name, 0.99)) for name in taken]
    parts = at("local REQ", 0.5) + at("NATS alone", 0.5)
    bars = [Bar("a Ping over NATS, of the NATS request and amid's own call, p50", at("NATS, bus, amid", 0.5) / parts, 2)]
    return Section("A Ping over NATS", ("way", "p50, µs", "p99, µs"), rows, bars)


if __name__ == "__main__":
    for one in sections(*map(int, sys.argv[1:] or ["1"])):
        print(one.text())
