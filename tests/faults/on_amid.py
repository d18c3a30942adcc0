"""Faults of amid's own processes: reader, broker and supervisor."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.daemon import BOUND_S, eventually
from tests.faults.faults import fault
from tests.faults.world import READER, SERVER, World
from tests.processes.process import alive, pids, stop

JUMP_TO_ITSELF = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}
"""The machine's instruction for an endless loop."""
FILLINGS = 300
"""Events of 90 kB: more than the ring keeps."""
SILENCE_S = 2.0
"""Seconds without a beat that cost a child its life, by default."""


@fault("reader", "SIGSTOP")
def reader_stopped(world: World) -> None:
    """The reader is killed after 2 s without a heartbeat and replaced. Open calls get
    `connection_lost`, queued calls are answered by the next reader; a new epoch starts."""
    with actions_under_way(world):
        old = world.daemon.pid(READER)
        stop(old)
    world.replaced(READER, old)


@fault("reader", "SIGKILL")
def reader_killed(world: World) -> None:
    """The same, at once."""
    with actions_under_way(world):
        old = world.signal(READER, signal.SIGKILL)
    world.replaced(READER, old)


@fault("reader", "endless loop in its work loop")
def reader_spins(world: World) -> None:
    """The same as for SIGSTOP: the heartbeat comes from the work loop, so a busy loop does not
    count as alive."""
    old = world.daemon.pid(READER)
    spin(old)
    before = cpu_seconds(old)
    eventually(lambda: cpu_seconds(old) > before + 0.1, "it burns the CPU", bound=SILENCE_S)
    world.replaced(READER, old)


@fault("reader", "out of memory (RLIMIT_AS)")
def reader_out_of_memory(world: World) -> None:
    """The reader continues with the memory that it has, since all its buffers are limited;
    otherwise it ends or hangs, and is replaced as after SIGKILL or SIGSTOP."""
    old = world.daemon.pid(READER)
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):  # the second closes what the allocator holds in reserve
        resource.prlimit(old, limit, (1, resource.RLIM_INFINITY))
    filling = {"UserEvent": "Filling", **{f"Header{number}": "x" * 900 for number in range(100)}}
    for _ in range(FILLINGS):
        world.daemon.request("action", {"action": "UserEvent", "fields": filling})
    world.relay.cut(reset=True)  # new connections take memory as well
    world.load.well()
    with contextlib.suppress(ProcessLookupError):
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            resource.prlimit(old, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@fault("broker", "SIGSTOP")
def broker_stopped(world: World) -> None:
    """The broker is killed after 2 s and replaced. Open calls end by the client's own timeout,
    within a second after theirs; events continue."""
    with events_go_on(world), world.load.broker_away():
        old = world.daemon.pid("broker")
        stop(old)
        world.replaced("broker", old)


@fault("broker", "SIGKILL")
def broker_killed(world: World) -> None:
    """The same, at once; the new broker reconnects to the readers."""
    with events_go_on(world), world.load.broker_away():
        world.replaced("broker", world.signal("broker", signal.SIGKILL))


@fault("supervisor", "SIGSTOP for twice the silence limit, then SIGCONT")
def supervisor_stopped(world: World) -> None:
    """Nothing: calls and events do not pass through it. When it continues, the time while it was
    suspended does not count against its children."""
    before = pids(world.daemon)
    said = world.daemon.log.stat().st_size
    stop(before["supervisor"])
    until = time.monotonic() + 2 * SILENCE_S
    while time.monotonic() < until:
        world.load.well()
    os.kill(before["supervisor"], signal.SIGCONT)
    eventually(lambda: b"supervisor was suspended for" in world.daemon.log.read_bytes()[said:], "it noticed")
    world.load.well()
    assert pids(world.daemon) == before, "it killed no process"


@fault("supervisor", "SIGKILL")
def supervisor_killed(world: World) -> None:
    """All processes of amid end within a second, and the next start is clean; until then calls end
    with `unreachable`."""
    before = pids(world.daemon)
    daemon = world.daemon
    assert daemon.process is not None
    with world.load.broker_away():
        daemon.process.kill()
        daemon.process.wait(BOUND_S)
        eventually(lambda: not any(map(alive, before.values())), "no process is left", bound=1.0)
        daemon.start()
    assert not set(pids(daemon).values()) & set(before.values())


@contextlib.contextmanager
def actions_under_way(world: World) -> Iterator[None]:
    """Every lane has an action in flight, which Asterisk runs whatever happens to amid."""
    with world.relay.behaving("latency"):
        eventually(lambda: world.relay.acted() > 20, "the lanes are slow")
        yield


@contextlib.contextmanager
def events_go_on(world: World) -> Iterator[None]:
    """No subscriber sees an interruption, and the reader is not replaced. The interruptions of the
    fault before it have reached all subscribers."""
    server = world.daemon.server(SERVER)
    eventually(lambda: world.load.have_reached(server["epoch"], server["seq"]), "all subscribers have the events so far")
    reader, runs, events = world.daemon.pid(READER), world.load.runs(), world.load.report().events
    yield
    assert world.load.well() < 2.0, "the new broker finds the reader at once"
    assert world.daemon.pid(READER) == reader
    assert world.load.runs() == runs, "no new epoch because of the broker"
    assert world.load.report().events["stream"] > events["stream"]


def spin(pid: int) -> None:
    """Patch the process as a debugger would: its main thread enters an endless loop when it returns
    from the kernel."""

    def syscall() -> list[str]:
        return Path(f"/proc/{pid}/syscall").read_text().split()

    fields = eventually(lambda: now if len(now := syscall()) == 9 else None, f"{pid} waits in the kernel")
    returns_to = int(fields[-1], 16)
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(returns_to)
        memory.write(JUMP_TO_ITSELF[platform.machine()])


def cpu_seconds(pid: int) -> float:
    """How long it has run, in user mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")
