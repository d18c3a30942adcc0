"""Many amids on one nats-server, each before a PBX with a steady flow of events: each stream must have
every event, once. `python -m tests.bench.fleet [AMIDS [SECONDS]]`.

One load generator is the PBX of all, since a storm goes to all its sessions. The processes of 50
amids take 9 GB.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from functools import partial
from itertools import pairwise
from pathlib import Path

from tests.bench.setting import Bar, Section, cpu, generator
from tests.bus.nats_server import Consumer, NatsServer, binaries
from tests.daemon import Daemon, eventually

AMIDS, SECONDS, RATE = 50, 300, 200
"""How many amids, for how long, and how many events a second each of them gets."""
LATE_S = 120
"""After the last event, until all must be stored."""
STARTED_AT_ONCE = 5
EXAMINED = 20
"""One in so many streams is read as a whole; of the others, the number of messages is compared."""
PROCESSES = ("broker", "reader", "state", "bus", "supervisor")


def section(rounds: int = 1, amids: int = AMIDS, seconds: int = SECONDS) -> Section:
    """rounds: not used, since one is as long as all others together."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amid-fleet-")))
        port = stack.enter_context(generator())
        server = NatsServer(list(binaries().values())[-1], directory / "nats").start()
        stack.callback(server.close)
        consumer = stack.enter_context(Consumer(server.url))
        fleet = [stack.enter_context(closing(_amid(directory, number, port, server.url))) for number in range(1, amids + 1)]
        _start(fleet, consumer)
        return _flow(fleet, server, consumer, seconds)


def _amid(directory: Path, number: int, port: int, url: str) -> Daemon:
    home = directory / f"amid{number}"
    home.mkdir()
    server = {"host": "127.0.0.1", "port": port, "username": "amid", "secret": "x", "auth": "plain"}
    return Daemon(home, {f"pbx{number}": server}, log_level="warning", nats={"servers": url, "max_bytes": 0})


def _start(fleet: list[Daemon], consumer: Consumer) -> None:
    """A few at a time, because two cores cannot start all before the first ones count as hung."""
    for at in range(0, len(fleet), STARTED_AT_ONCE):
        group = fleet[at : at + STARTED_AT_ONCE]
        for one in group:
            one.start(wait=False)
        for one in group:
            name = next(iter(one.servers))
            eventually(partial(_stored, consumer, name), f"{name} has a stream", LATE_S)


def _flow(fleet: list[Daemon], server: NatsServer, consumer: Consumer, seconds: int) -> Section:
    count = RATE * seconds
    assert server.process is not None
    pids = {kind: [_pid(one, kind) for one in fleet] for kind in PROCESSES} | {"nats-server": [server.process.pid]}
    used = {kind: sum(map(cpu, several)) for kind, several in pids.items()}
    first = {name: one.server(name)["seq"] for one in fleet for name in one.servers}
    began = time.monotonic()
    fleet[0].action("Storm", {"Count": count, "Rate": RATE}, timeout=60)
    for name, seq in first.items():
        eventually(partial(_has, consumer, name, seq + count), f"the events of {name} are stored", seconds + LATE_S)
    took = time.monotonic() - began
    cost = {kind: (sum(map(cpu, several)) - used[kind]) / (count * len(fleet)) * 1e6 for kind, several in pids.items()}
    wrong = sum(_stored(consumer, name)[1] for name in first) + sum(_wrong(consumer, name) for name in list(first)[::EXAMINED])
    columns = ("amids", "events/s of each", "events", "seconds", *(f"CPU of the {kind}, µs an event" for kind in cost))
    row: list[str | float] = [str(len(fleet)), RATE, count * len(fleet), took, *cost.values()]
    return Section("A fleet on one nats-server", columns, [row], [Bar("events missing, twice or out of order", wrong, 0)])


def _pid(one: Daemon, kind: str) -> int:
    name = next(iter(one.servers))
    return one.pid(f"reader {name}" if kind == "reader" else kind)


def _has(consumer: Consumer, name: str, seq: int) -> bool:
    return _stored(consumer, name)[0] >= seq


def _stored(consumer: Consumer, name: str) -> tuple[int, int]:
    """The `seq` of the last event in the stream of a server, and the number of messages that it lacks or has too many."""
    stream = f"AMID_{name}"
    state = consumer.run(consumer.jetstream.stream_info(stream)).state
    if not state.messages:
        return 0, 0
    first, last = (_seq(consumer, stream, number) for number in (state.first_seq, state.last_seq))
    return last, abs(last - first + 1 - state.messages)


def _seq(consumer: Consumer, stream: str, number: int) -> int:
    seq: int = json.loads(consumer.run(consumer.jetstream.get_msg(stream, number)).data or b"")["seq"]
    return seq


def _wrong(consumer: Consumer, name: str) -> int:
    """How many places of the stream have another event than the next one, or a gap."""
    events = consumer.stored(name)
    pairs = pairwise(events)
    return sum(after["seq"] != before["seq"] + 1 or after["event"] == "amid:gap" for before, after in pairs)


if __name__ == "__main__":
    print(section(1, *map(int, sys.argv[1:])).text())
