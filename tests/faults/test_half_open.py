"""Half-open TCP: every packet between amid and Asterisk is lost, without an error in either kernel.

amid runs in a network namespace and reaches Asterisk through the relay over a pair of virtual
interfaces. Packets are lost because wrong hardware addresses are set for both neighbours: each end
sends, and the other drops foreign packets. No interface goes down, no route is missing, and no RST,
ICMP or FIN is sent.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.asterisk.server import Asterisk
from tests.daemon import Daemon, eventually
from tests.faults.faults import row
from tests.faults.load import Load
from tests.faults.on_network import DETECTED_S, ENOUGH, failing, view
from tests.faults.relay import Relay
from tests.faults.test_campaign import SEED
from tests.faults.world import READER, SERVER, World

NOBODY = "02:00:00:00:00:01"
"""A hardware address that no interface has."""
PACE = 250.0


class Wire:
    """Two interfaces, one here and one in a namespace, both of this test's own."""

    def __init__(self) -> None:
        tag = f"{os.getpid() % 100_000}"
        self.namespace, self._here, self._there = f"amid-{tag}", f"amidh{tag}", f"amidt{tag}"
        subnet = f"10.{random.randrange(100, 200)}.{random.randrange(256)}"
        self.here, self.there = f"{subnet}.1", f"{subnet}.2"

    def __enter__(self) -> Self:
        try:
            self._lay()
        except BaseException:
            self._take_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._take_up()

    def _lay(self) -> None:
        ip("netns", "add", self.namespace)
        ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.namespace)
        ip("address", "add", f"{self.here}/24", "dev", self._here)
        ip("-n", self.namespace, "address", "add", f"{self.there}/24", "dev", self._there)
        ip("link", "set", self._here, "up")
        ip("-n", self.namespace, "link", "set", self._there, "up")

    def _take_up(self) -> None:
        """Remove what exists; the interface separately, because a namespace ends some time after its name."""
        for what in (["link", "delete", self._here], ["netns", "delete", self.namespace]):
            subprocess.run(["ip", *what], check=False, timeout=20.0)

    @contextmanager
    def losing_everything(self) -> Iterator[None]:
        inside = ["-n", self.namespace]
        ends: list[tuple[list[str], str, str]] = [([], self._here, self.there), (inside, self._there, self.here)]
        for where, device, neighbour in ends:
            ip(*where, "neighbour", "replace", neighbour, "lladdr", NOBODY, "nud", "permanent", "dev", device)
        try:
            yield
        finally:
            for where, device, neighbour in ends:
                ip(*where, "neighbour", "delete", neighbour, "dev", device)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20.0)


class Inside(Daemon):
    """An amid in a namespace; its sockets in run_dir are the same from everywhere."""

    namespace = ""

    def launch(self, arguments: list[str]) -> None:
        with self.log.open("ab") as log:
            argv = ["ip", "netns", "exec", self.namespace, sys.executable, *arguments]  # execs: the pid is amid's
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)


@contextmanager
def world_behind(wire: Wire, version: str, directory: Path) -> Iterator[World]:
    print(f"\nAsterisk {version}, seed {SEED}")
    with ExitStack() as stack:
        asterisk = Asterisk(version)
        stack.callback(asterisk.stop)
        asterisk.start()
        relay = stack.enter_context(Relay(asterisk.host, asterisk.port, address=wire.here))
        table = {"host": relay.host, "port": relay.port, "username": asterisk.username, "secret": asterisk.secret}
        daemon = stack.enter_context(closing(Inside(directory, {SERVER: table}, log_level="info")))
        daemon.namespace = wire.namespace
        daemon.start()
        load = stack.enter_context(closing(Load(daemon.run_dir, asterisk, SEED, PACE)))
        yield World(daemon, asterisk, relay, load, random.Random(SEED))


@row(
    "network",
    "half-open TCP: all packets lost silently",
    "Open calls end at their deadline, `sent: true`. After 10 s of silence a session is pinged, 5 s later closed; from then "
    "on `not_connected`, with the reason, until packets pass again; a new epoch starts.",
)
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_half_open_connections_are_noticed(asterisk_version: str, tmp_path: Path) -> None:
    with Wire() as wire, world_behind(wire, asterisk_version, tmp_path) as world:
        world.load.well()
        reader, epoch = world.daemon.pid(READER), view(world)["epoch"]
        with wire.losing_everything():
            mark = world.load.mark()
            eventually(lambda: failing(view(world), "a Ping was not answered within 5 s"), "silence was noticed", DETECTED_S)
            assert world.load.kinds(since=mark)["ok"] == 0
            eventually(lambda: world.load.kinds(since=mark)["not_connected"] >= ENOUGH, "calls are refused")
            eventually(lambda: failing(view(world), "no connection within 5 s"), "it dials in vain")
        world.load.well()
        assert view(world)["epoch"] > epoch and world.daemon.pid(READER) == reader
        world.load.stop()
