"""Two network namespaces as two machines: the PBX and its amid on one, NATS and a consumer on the other.

The cable between them is pulled: packets are lost, without a refusal or a reset.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bus.conftest import check_numbering, nats_table, send_events, stored_from, wait_stored
from tests.bus.nats_server import Consumer, NatsServer
from tests.daemon import Daemon, eventually
from tests.need import need, need_programs
from tests.processes.pbx import SECRET

PULLED_S = 4.0
"""Seconds without the cable: longer than the lease, and than amid waits for an acknowledgement."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Machine:
    """A namespace with loopback and a virtual cable to this one. here: the address of this side."""

    def __init__(self) -> None:
        number = os.getpid() % 250 + 1
        self.name = f"amid-{os.getpid()}"
        self.cable = f"amid{number}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"

    def create(self) -> None:
        peer = f"{self.cable}p"
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", peer, "netns", self.name)
        ip("address", "add", f"{self.here}/24", "dev", self.cable)
        ip("link", "set", self.cable, "up")
        for arguments in (
            ["address", "add", f"{self.there}/24", "dev", peer],
            ["link", "set", peer, "up"],
            ["link", "set", "lo", "up"],
        ):
            ip("-n", self.name, *arguments)

    def pull_cable(self, pulled: bool) -> None:
        ip("link", "set", self.cable, "down" if pulled else "up")

    def remove(self) -> None:
        ip("netns", "del", self.name)

    def inside(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]


class FarDaemon(Daemon):
    """A daemon on the other machine. Both share the files, so its Unix sockets are reachable from
    here."""

    machine: Machine

    def launch(self, arguments: list[str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.machine.inside(sys.executable, *arguments), stdout=log, stderr=log)


@pytest.fixture
def machine() -> Iterator[Machine]:
    need_programs("ip", of="NATS")
    need("" if os.geteuid() == 0 else "network namespaces need root", of="NATS")
    machine = Machine()
    machine.create()
    yield machine
    machine.remove()


@pytest.fixture
def far_pbx(machine: Machine, tmp_path: Path) -> Iterator[int]:
    """The port of a simulated PBX on the other machine's loopback."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    argv = [sys.executable, "-m", "amid.simulator", "--port", "0", "--username", "amid", "--secret-file", str(secret)]
    with subprocess.Popen(machine.inside(*argv), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2])
        process.terminate()


@pytest.mark.newest_nats
def test_a_pulled_cable_loses_no_event(machine: Machine, far_pbx: int, nats_binary: str, tmp_path: Path) -> None:
    need("" if nats_binary else "there is no nats-server; as root, run apt install nats-server", of="NATS")
    server = NatsServer(nats_binary, tmp_path / "nats", address=machine.here).start()
    (tmp_path / "amid").mkdir()
    pbx = {"host": "127.0.0.1", "port": far_pbx, "username": "amid", "secret": SECRET}
    daemon = FarDaemon(tmp_path / "amid", {"pbx1": pbx}, nats=nats_table(server))
    daemon.machine = machine
    try:
        daemon.start()
        with Consumer(server.url) as consumer:
            sent = send_events(daemon, 20)
            wait_stored(consumer, sent)
            machine.pull_cable(True)
            began = time.monotonic()
            during = send_events(daemon, 100)
            eventually(lambda: "lost the connection to NATS" in daemon.log.read_text(), "amid has noticed")
            eventually(lambda: time.monotonic() > began + PULLED_S, "the cable was away for long enough")
            assert stored_from(consumer, sent[0]) == sent
            machine.pull_cable(False)
            wait_stored(consumer, sent + during)
            check_numbering(consumer.stored())
    finally:
        daemon.close()
        server.close()
