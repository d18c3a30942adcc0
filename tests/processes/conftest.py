"""Real processes in front of a simulated PBX that misbehaves on demand.

Starting a daemon costs more than most tests do. Modules whose tests leave a daemon as it was
therefore replace the fixture `daemon` by one that lends the same daemon (`lend`) again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from amid.config.tables import Curve
from amid.reader.event_socket import EventSockets
from amid.reader.publisher import Publisher
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon
from tests.processes.caller import Caller
from tests.processes.on_loop import Loop
from tests.processes.pbx import simulated, table
from tests.processes.process import is_intact, pids

SILENCE_S = 1.5
"""Shorter than the default, so that tests see a process replaced sooner."""

Lend = Callable[[], Daemon]


@pytest.fixture
def pbx() -> Iterator[SimulatedPbx]:
    with simulated() as pbx:
        yield pbx


@pytest.fixture
def own_daemon(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Daemon:
    """A daemon with one server, `pbx1`, for one test, which may break it."""
    return daemon_for({"pbx1": table(pbx)}, supervision={"silence": SILENCE_S})


@pytest.fixture
def daemon(own_daemon: Daemon) -> Daemon:
    """`own_daemon`, or what a module lends (`lend`)."""
    return own_daemon


@pytest.fixture(scope="module")
def lend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lend]:
    """`lend()` is the daemon of the module, with an empty log. If a test has replaced or stopped one
    of its processes, or left a call behind, it is a new one."""
    with ExitStack() as stack:
        lent: list[tuple[Daemon, dict[str, int]]] = []

        def start() -> None:
            stack.close()
            pbx = stack.enter_context(simulated())
            daemon = Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx)}, supervision={"silence": SILENCE_S})
            stack.callback(daemon.close)
            daemon.start()
            lent[:] = [(daemon, pids(daemon))]

        def lend() -> Daemon:
            if not lent or not is_intact(*lent[0]):
                start()
            daemon, _ = lent[0]
            os.truncate(daemon.log, 0)
            return daemon

        yield lend


@pytest.fixture
def caller(daemon: Daemon) -> Iterator[Caller]:
    with Caller(daemon) as caller:
        yield caller


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with two lanes, shared by the tests of a module, which restore its state."""
    with simulated() as pbx:
        daemon = Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx, lanes=2, queue=3)})
        try:
            yield daemon.start()
        finally:
            daemon.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    """The event loop of a process."""
    with Loop() as loop:
        yield loop


@pytest.fixture
def publisher(loop: Loop, tmp_path: Path) -> Iterator[Publisher]:
    """The event sockets of `pbx1` alone, in this process."""

    async def start() -> tuple[EventSockets, Publisher]:
        sockets = EventSockets(str(tmp_path), Counter(), 5, Curve(), {})
        publisher = Publisher(sockets, "pbx1", epoch=1, replay_bytes=16 << 20)
        return sockets, publisher

    sockets, publisher = loop.run(start())
    yield publisher
    publisher.close()
    sockets.close()
