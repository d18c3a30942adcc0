"""How much memory each process takes: with nothing going on, at full load, and beside each peer that does not do its part.

`python -m tests.bench.memory` prints the table of etc/doc/performance.md. Each row is a daemon of its own; the figure is the
most that a process has had resident (VmHWM, proc(5)), in MB of a million bytes. The PBX is the simulated one, in a process of its
own: it makes more events in a second than a real one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import zmq

from amid import wire
from tests.asterisk.server import free_port
from tests.conformance.callers import Action, Dealer
from tests.daemon import Daemon, eventually
from tests.processes.pbx import SECRET

NAMES = ("supervisor", "broker", "reader pbx1")
EVENTS = 200_000
READER_IDLE_MB = 40
"""What a reader with nothing going on may take."""
ROOT = Path(__file__).parents[2]

PING = Action("Ping", {}, {"timeout": 30})
LONG = Action("ListCommands", {}, {"timeout": 30})
"""Its answer has 3 kB."""


class Row(NamedTuple):
    situation: str
    peak: dict[str, float]


class Bench:
    """A daemon and a PBX, both fresh."""

    def __init__(self, daemon: Daemon, pbx: int) -> None:
        self.daemon = daemon
        self.pbx = pbx

    def peak(self) -> dict[str, float]:
        """The most that each process has had resident, in MB."""
        return {name: _peak(pid) for name, pid in self.pids.items()}

    @property
    def pids(self) -> dict[str, int]:
        """A request that a stopped broker took is lost, so it does not wait long."""
        found = {process["name"]: process["pid"] for process in self.daemon.request("status", wait=2)["result"]["processes"]}
        return {name: found[name] for name in NAMES}

    def burst(self, events: int = EVENTS) -> None:
        """The PBX emits so many, and the reader has them all."""
        before = self.daemon.server("pbx1")["seq"]
        self.daemon.action("SimFault", {"Kind": "burst", "Count": events}, timeout=60)
        eventually(lambda: self.daemon.server("pbx1")["seq"] >= before + events, "the reader has them", 60)

    @contextmanager
    def stopped(self, pid: int) -> Iterator[None]:
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def asked(self, count: int, action: Action) -> Dealer:
        """A caller with so many requests under way, which has read no answer yet."""
        caller = Dealer(self.daemon)
        for number in range(count):
            caller.send(number, action)
        return caller


def idle(bench: Bench) -> dict[str, float]:
    return bench.peak()


def full_load(bench: Bench) -> dict[str, float]:
    """A subscriber to everything that keeps up, and calls in flight all the time."""
    with _subscriber(bench, "stream") as stream, Dealer(bench.daemon) as caller:
        caller.send("burst", Action("SimFault", {"Kind": "burst", "Count": EVENTS}, {"timeout": 60}))
        last = time.monotonic()
        while time.monotonic() < last + 1:
            for _ in range(64 - caller.open):
                caller.send(time.monotonic_ns(), PING)
            caller.take(0.01)
            while stream.poll(0):
                stream.recv_multipart()
                last = time.monotonic() if stream.poll(0) else last
        caller.all(60)
    return bench.peak()


def stalled_subscribers(bench: Bench) -> dict[str, float]:
    """One on each socket that never reads, while 200,000 events come."""
    with _subscriber(bench, "stream"), _subscriber(bench, "events"):
        bench.burst()
        return bench.peak()


def stalled_caller(bench: Bench) -> dict[str, float]:
    """It sends 10,000 requests and reads no answer."""
    with bench.daemon.socket(zmq.DEALER) as caller:
        caller.set(zmq.RCVHWM, 1)
        caller.connect(bench.daemon.rpc)
        request = wire.pack({"id": 1, "method": "action", "params": LONG.params})
        for portion in range(1, 21):
            for _ in range(500):  # the queue holds 1,000
                caller.send_multipart([b"", request])
            eventually(lambda count=portion * 500: _answered(bench) >= count, "the requests were answered", 60)  # type: ignore[misc]
        return bench.peak()


def stalled_pbx(bench: Bench) -> dict[str, float]:
    with bench.stopped(bench.pbx), bench.asked(1_500, PING):
        eventually(lambda: bench.daemon.server("pbx1")["queued"] >= 1000, "the queue is full")
        return bench.peak()


def stalled_reader(bench: Bench) -> dict[str, float]:
    """Until it is replaced; the broker keeps the calls."""
    pids = bench.pids
    with bench.asked(1_500, PING):
        os.kill(pids["reader pbx1"], signal.SIGSTOP)
        with bench.asked(1_500, PING) as waiting:
            eventually(lambda: bench.pids["reader pbx1"] not in (0, pids["reader pbx1"]), "the reader was replaced")
            waiting.all(60)
            return bench.peak()


def stalled_broker(bench: Bench) -> dict[str, float]:
    """While 200,000 events come; until it is replaced."""
    broker = bench.pids["broker"]
    with Dealer(bench.daemon) as caller:
        caller.send("burst", Action("SimFault", {"Kind": "burst", "Count": EVENTS}, {"timeout": 60}))
        eventually(lambda: bench.daemon.server("pbx1")["seq"] > 1000, "the events come")
        os.kill(broker, signal.SIGSTOP)
        eventually(lambda: bench.pids["broker"] not in (0, broker), "the broker was replaced")
        eventually(lambda: bench.daemon.server("pbx1")["seq"] >= EVENTS, "the reader has them", 60)
        return bench.peak()


SITUATIONS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "nothing going on": idle,
    "full load: 200,000 events at once to a subscriber, 64 calls in flight": full_load,
    "two subscribers that never read, 200,000 events": stalled_subscribers,
    "a caller that sends 10,000 requests and never reads, 3 kB an answer": stalled_caller,
    "a PBX that stopped, its queue full": stalled_pbx,
    "a reader that stopped, 3,000 calls waiting": stalled_reader,
    "a broker that stopped, 200,000 events": stalled_broker,
}


def measured(situation: str) -> Row:
    """One row, on a daemon of its own."""
    with tempfile.TemporaryDirectory(prefix="amid-") as directory, ExitStack() as stack:
        port, pid = stack.enter_context(_pbx())
        table = {"host": "127.0.0.1", "port": port, "username": "amid", "secret": SECRET}
        daemon = stack.enter_context(closing(Daemon(Path(directory), {"pbx1": table}, log_level="info")))
        daemon.start()
        return Row(situation, SITUATIONS[situation](Bench(daemon, pid)))


@contextmanager
def _pbx() -> Iterator[tuple[int, int]]:
    """(the port, the pid) of a simulated PBX."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.simulator.faults", str(port), "amid", SECRET]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port, process.pid
        finally:
            process.kill()


@contextmanager
def _subscriber(bench: Bench, kind: str) -> Iterator[zmq.Socket[bytes]]:
    """To everything on one of the two sockets, in effect."""
    with bench.daemon.socket(zmq.SUB) as socket:
        socket.subscribe(b"")
        socket.connect(bench.daemon.server("pbx1")[kind])
        assert socket.poll(5000), "a tick"
        yield socket


def _answered(bench: Bench) -> int:
    count: int = bench.daemon.result("status")["counters"]["answers_ok"]
    return count


def _peak(pid: int) -> float:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 / 1e6


def table(rows: list[Row]) -> str:
    lines = ["| resident, MB | " + " | ".join(NAMES) + " |", "|---|" + "---|" * len(NAMES)]
    lines += [f"| {row.situation} | " + " | ".join(f"{row.peak[name]:.0f}" for name in NAMES) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([measured(situation) for situation in SITUATIONS]))
