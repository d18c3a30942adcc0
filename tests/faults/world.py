"""A world for faults: a real Asterisk, a relay in front of it, an amid with default settings, and a
judged load.

Each world has its own ports and processes, so a fault may break anything, provided that Asterisk
and amid run again when it returns.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.asterisk.server import Asterisk
from tests.daemon import Daemon, eventually
from tests.faults.ami_client import AmiClient
from tests.faults.load import Load
from tests.faults.recorded import Recorded
from tests.faults.relay import Relay
from tests.listener.setting import endpoint_of, listener_table
from tests.processes.process import gone

SERVER = "pbx1"
READER = f"reader {SERVER}"
SECRET = "s3cret-of-a-client"
USERS = f"[crm]\nsecret = {SECRET}\nread = all\nwrite = all\n[guessed](crm)\n"
"""Of the AMI listener."""


@dataclass
class World:
    """ami: a client of the AMI listener, None in a world without one."""

    daemon: Daemon
    asterisk: Asterisk
    relay: Relay
    load: Load
    random: random.Random
    ami: AmiClient | None = None

    @property
    def recordings(self) -> Path:
        """Where the recorder writes, if there is one."""
        return recordings_in(self.daemon.directory)

    def replaced(self, name: str, old: int) -> int:
        """Wait until process `name` is another than `old`, and `old` is dead; the new pid."""
        eventually(lambda: gone(old), f"{name}, {old}, is gone")

        def successor() -> int:
            pid = self.daemon.pid(name)
            return pid if pid not in (0, old) else 0

        return eventually(successor, f"{name} was replaced")

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process of amid; its pid."""
        pid = self.daemon.pid(name)
        os.kill(pid, number)
        return pid


def recordings_in(directory: Path) -> Path:
    return directory / "recordings"


@contextmanager
def world(
    version: str, directory: Path, seed: int, pace: float = 250.0, listener: bool = False, recorder: bool = False
) -> Iterator[World]:
    """A world with load on it. version: of Asterisk. pace: calls per second that the load aims at.
    listener: whether there is an AMI listener with a client. recorder: whether there is a recorder, which
    leaves out nothing."""
    print(f"\nAsterisk {version}, seed {seed}")
    with ExitStack() as stack:
        asterisk = Asterisk(version)
        stack.callback(asterisk.stop)
        asterisk.start()
        relay = stack.enter_context(Relay(asterisk.host, asterisk.port, seed=seed))
        table = {"host": relay.host, "port": relay.port, "username": asterisk.username, "secret": asterisk.secret}
        tables = {"listener": listener_table(directory, USERS)} if listener else {}
        if recorder:
            tables["recorder"] = {"directory": str(recordings_in(directory)), "leave_out": []}
        daemon = stack.enter_context(closing(Daemon(directory, {SERVER: table}, log_level="info", **tables)))
        daemon.start()
        recorded = Recorded(recordings_in(directory), SERVER) if recorder else None
        load = stack.enter_context(closing(Load(daemon.run_dir, asterisk, seed, pace, recorded)))
        here = World(daemon, asterisk, relay, load, random.Random(seed))
        if listener:
            here.ami = stack.enter_context(closing(AmiClient(endpoint_of(daemon, tables["listener"], "crm", SECRET))))
        yield here
