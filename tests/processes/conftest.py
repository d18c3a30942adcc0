"""Real processes in front of a simulated PBX that misbehaves on demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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


@pytest.fixture
def pbx() -> Iterator[SimulatedPbx]:
    with simulated() as pbx:
        yield pbx


@pytest.fixture
def daemon(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Daemon:
    """A daemon with one server, `pbx1`, whose readers have shorter timeouts than the default."""
    return daemon_for({"pbx1": table(pbx)}, supervision={"silence": 1.5})


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
        publisher.start()
        return sockets, publisher

    sockets, publisher = loop.run(start())
    yield publisher
    publisher.close()
    sockets.close()
