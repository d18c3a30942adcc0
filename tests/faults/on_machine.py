"""Faults of the machine while amid runs: no descriptors, and a read-only run_dir."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.daemon import eventually
from tests.faults.faults import fault
from tests.faults.on_clients import descriptors
from tests.faults.world import READER, SERVER, World
from tests.processes.process import gone

IDLE = 2000
"""Connections that say nothing."""
ENOUGH = 20
"""Connections that certainly meet a process which can open nothing."""


@fault("machine", "no descriptors are left: broker")
def broker_out_of_descriptors(world: World) -> None:
    """Connected callers are served; new ones wait until descriptors are available."""
    broker = world.daemon.pid("broker")
    with held_short(broker), idlers(world, "rpc", ENOUGH):
        world.load.well()
    world.load.well()
    assert world.daemon.pid("broker") == broker


@fault("machine", "no descriptors are left: reader, by its subscribers")
def reader_out_of_descriptors(world: World) -> None:
    """libzmq ends a process that cannot accept a connection: the reader is replaced as after
    SIGKILL; a new epoch starts."""
    old = world.daemon.pid(READER)
    with held_short(old), idlers(world, f"stream-{SERVER}", ENOUGH):
        eventually(lambda: gone(old), "the reader ended")
    world.replaced(READER, old)


@fault("machine", "no descriptors are left: reader, for a session with Asterisk")
def reader_cannot_dial(world: World) -> None:
    """The reader reports why it has no session and retries: once descriptors are available it
    recovers, with a new epoch."""
    old = world.daemon.pid(READER)
    epoch = world.daemon.server(SERVER)["epoch"]
    world.asterisk.kill(signal.SIGKILL)
    world.asterisk.stop()
    eventually(lambda: world.daemon.server(SERVER)["state"] == "connecting", "its sessions are gone")
    with held_short(old):
        world.asterisk.start()
        eventually(lambda: "Too many open files" in world.daemon.server(SERVER)["detail"], "it says so", 40.0)
    eventually(lambda: world.daemon.server(SERVER)["epoch"] > epoch, "a new session")
    assert world.daemon.pid(READER) == old


@fault("machine", "no descriptors are left: supervisor, when a reader has to be replaced")
def supervisor_out_of_descriptors(world: World) -> None:
    """The next reader starts when descriptors are available, after at most 30 s; until then calls
    get `not_connected`."""
    supervisor = world.daemon.pid("supervisor")
    old = world.daemon.pid(READER)
    said = world.daemon.log.stat().st_size
    with held_short(supervisor):
        world.daemon.kill(READER)
        eventually(lambda: f"{READER} could not be started".encode() in world.daemon.log.read_bytes()[said:], "it is said")
        assert world.daemon.failure("Ping", timeout=4)["data"]["kind"] == "not_connected"
    world.replaced(READER, old)


@fault("machine", f"{IDLE:,} connections that do nothing")
def idle_connections(world: World) -> None:
    """Nothing: each uses a descriptor of the broker, of which there are as many as the hard limit,
    and no processor time."""
    broker = world.daemon.pid("broker")
    before = descriptors(broker)
    with idlers(world, "rpc", IDLE):
        eventually(lambda: descriptors(broker) >= IDLE, "all are connected")
        world.load.well()
    eventually(lambda: descriptors(broker) <= before + 5, "all are closed")
    assert world.daemon.pid("broker") == broker


@fault("machine", "run_dir becomes read-only", soak=False)
def read_only(world: World) -> None:
    """Calls and events continue. A process that dies is replaced when the directory is writable
    again. The log has the reason, and once that `amid status` is outdated."""
    daemon, load = world.daemon, world.load
    old = daemon.pid(READER)
    with mounted_read_only(daemon.run_dir):
        load.well()
        daemon.kill(READER)
        eventually(lambda: "the directory is not writable; is its file system read-only?" in daemon.log.read_text(), "it is said")
        assert daemon.failure("Ping", timeout=4)["data"]["kind"] == "not_connected"
    world.replaced(READER, old)
    eventually(lambda: daemon.log.read_text().count("can be written again") == 1, "that it is over is said")
    assert daemon.log.read_text().count("the status file in") == 2, "and so was the fault, once"


@contextmanager
def held_short(pid: int) -> Iterator[None]:
    """The process can open nothing: the limit is the first number that it has free."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in itertools.count() if number not in taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended of it
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def idlers(world: World, name: str, count: int) -> Iterator[None]:
    """So many connections to a socket of amid's that say nothing."""
    with ExitStack() as stack:
        for _ in range(count):
            peer = stack.enter_context(closing(socket.socket(socket.AF_UNIX)))
            try:
                peer.connect(str(world.daemon.run_dir / name))
            except (ConnectionError, FileNotFoundError):  # the listening process has ended
                break
        yield


@contextmanager
def mounted_read_only(directory: Path) -> Iterator[None]:
    """Nothing can be written through that path. Open files stay open, as after a disk error."""
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        eventually(lambda: _remounted_read_only(directory), f"{directory} is read-only")
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def _remounted_read_only(directory: Path) -> bool:
    """False while a process writes there: the kernel refuses (mount(2): EBUSY)."""
    return subprocess.run(["mount", "-o", "remount,bind,ro", directory]).returncode == 0
