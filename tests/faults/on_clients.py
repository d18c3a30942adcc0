"""Faults of clients: killed, short-lived, not reading, or flooding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.daemon import BOUND_S, Daemon, eventually
from tests.faults import bad_clients
from tests.faults.faults import fault
from tests.faults.world import SERVER, World
from tests.processes.process import gone

ROOT = Path(__file__).parents[2]
KILLS = 20
SPARE = 12
"""Descriptors more than before that are no leak: pyzmq opens seven when an answer is first sent with a tracker."""
INVALID_PARAMS = -32602
DEAF_COST = 400e6
"""Bytes that a caller which does not read may cost the broker: its answers beyond `max_calls` are dropped."""


class Bad:
    """A program of `bad_clients`, and the line that it says."""

    def __init__(self, name: str, endpoint: str) -> None:
        argv = [sys.executable, "-m", "tests.faults.bad_clients", name, endpoint]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT)
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        os.set_blocking(self._stdout.fileno(), False)

    def said(self, bound: float = 20.0) -> Any:
        """The line, once it is there."""
        return eventually(self.line, "the bad client came to its point", bound)

    def line(self) -> Any:
        """What it says, in a list; None while it has said nothing."""
        line = self._stdout.readline()
        return json.loads(line) if line else None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(BOUND_S)
        self._stdout.close()


@contextmanager
def bad(world: World, name: str) -> Iterator[Bad]:
    client = Bad(name, world.daemon.rpc)
    try:
        yield client
    finally:
        client.kill()


@fault("clients", "killed with calls in flight")
def killed_in_flight(world: World) -> None:
    """No other client is affected. Its actions run; their answers are dropped and counted as
    `abandoned_calls`."""
    before = counters(world.daemon).get("abandoned_calls", 0)
    with bad(world, "in_flight") as client:
        slow = bad_clients.IN_FLIGHT
        assert client.said() == [slow]
        eventually(lambda: world.daemon.server(SERVER)["lanes"]["busy"] >= slow, "its actions are in flight")
    world.load.well()
    eventually(lambda: counters(world.daemon).get("abandoned_calls", 0) >= before + slow, "its answers were dropped and counted")


@fault("clients", "killed in the middle of a message")
def killed_sending(world: World) -> None:
    """No client is affected: a partial message is not a request, and its connection is closed."""
    broker = world.daemon.pid("broker")
    before = descriptors(broker)
    for _ in range(KILLS):
        with bad(world, "sending") as client:
            assert client.said() == [INVALID_PARAMS]
            world.load.well()
    eventually(lambda: descriptors(broker) <= before + SPARE, "the broker has closed the connections")
    assert world.daemon.pid("broker") == broker


@fault("clients", "1,000 connect, call once and leave")
def visitors(world: World) -> None:
    """Nothing: each client that waits is answered, and no descriptor or memory is left behind."""
    broker = world.daemon.pid("broker")
    before, open_before = memory(broker), descriptors(broker)
    with bad(world, "visitors") as client:
        assert client.said(60.0) == [bad_clients.VISITS // 2]
    eventually(lambda: descriptors(broker) <= open_before + SPARE, "the broker has closed the connections")
    print(f"broker: {before / 1e6:.0f} MB before, {memory(broker) / 1e6:.0f} MB after 1,000 visitors")
    assert memory(broker) < before + 30e6


@fault("clients", "one never reads its answers")
def deaf(world: World) -> None:
    """Its own replies beyond 10,000 (`max_calls`) are dropped and counted; no other client is
    affected."""
    broker = world.daemon.pid("broker")
    before, lost = memory(broker), undeliverable(world.daemon)
    peak = before
    with bad(world, "deaf") as client:

        def dropping() -> bool:
            nonlocal peak
            peak = max(peak, memory(broker))
            return undeliverable(world.daemon) > lost + bad_clients.DEAF_VIEWS / 4

        eventually(dropping, "its answers are dropped", 60.0)
        client.said()
        world.load.well()
        assert undeliverable(world.daemon) > lost
        peak = max(peak, memory(broker))
    eventually(lambda: gone(client.process.pid), "it has left")
    world.load.well()
    print(f"broker: {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at the peak, {memory(broker) / 1e6:.0f} MB after")
    assert world.daemon.pid("broker") == broker
    assert peak < before + DEAF_COST


@fault("clients", "one sends 100,000 requests at once")
def flood(world: World) -> None:
    """All its requests are answered, many actions with `busy`. Other clients' calls end within
    their timeouts, some with `busy`."""
    broker = world.daemon.pid("broker")
    before = memory(broker)
    with bad(world, "flood") as client:
        kinds, answered = client.said(120.0)
    print(f"100,000 at once: {kinds}; broker: {before / 1e6:.0f} MB before, {memory(broker) / 1e6:.0f} MB after")
    assert set(kinds) <= {"ok", "busy"} and sum(kinds.values()) == answered == bad_clients.FLOOD
    assert kinds["ok"] >= bad_clients.FLOOD / 2, "no ping is refused"
    assert world.daemon.pid("broker") == broker


def counters(daemon: Daemon) -> dict[str, int]:
    """What the broker has counted."""
    found: dict[str, int] = daemon.result("status")["counters"]
    return found


def undeliverable(daemon: Daemon) -> int:
    return counters(daemon).get("undeliverable_answers", 0)


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


TRACKING = 7
"""Descriptors that pyzmq opens once, when an answer is first sent with a tracker."""
