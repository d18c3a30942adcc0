"""A daemon with a listener in front of a simulated PBX."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon
from tests.listener.setting import Endpoint, endpoint_of, listener_table
from tests.processes.pbx import simulated, table

SECRET = "s3cret-of-a-client"
USERS = f"""
[crm]
secret = {SECRET}
read = all
write = all

[wall]
secret = {SECRET}
read = user
write = call
deny = QueueStatus

[dialer]
secret = {SECRET}
write = call,originate

[closing]
secret = {SECRET}
read = all
write = all
on_reconnect = close
"""


@dataclass
class Front:
    """A daemon with a listener, and its `[listener]` table. endpoint: logs in as the user `crm`."""

    daemon: Daemon
    table: dict[str, Any]
    endpoint: Endpoint
    pbx: SimulatedPbx

    @property
    def users_file(self) -> Path:
        return Path(self.table["users_file"])


@pytest.fixture(scope="module")
def shared_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A daemon with the default limits, shared by the tests of a module, which leave it as it was."""
    folder = tmp_path_factory.mktemp("amid")
    own = listener_table(folder, USERS)
    with simulated() as pbx, closing(Daemon(folder, {"pbx1": table(pbx)}, listener=own)) as daemon:
        daemon.start()
        yield Front(daemon, own, endpoint_of(daemon, own, "crm", SECRET), pbx)


@pytest.fixture
def front(shared_front: Front) -> Front:
    """`shared_front`, with an empty log."""
    shared_front.daemon.wait_up("pbx1")
    assert shared_front.daemon.processes()["listener"]["restarts"] == 0, "no test has harmed it"
    os.truncate(shared_front.daemon.log, 0)
    return shared_front


@pytest.fixture
def front_for(tmp_path: Path, daemon_for: StartDaemon) -> Iterator[Callable[..., Front]]:
    """`front_for(**keys)` starts a daemon with these keys in `[listener]`."""
    with simulated() as pbx:

        def make(**keys: Any) -> Front:
            own = listener_table(tmp_path, USERS, **keys)
            daemon = daemon_for({"pbx1": table(pbx)}, listener=own)
            return Front(daemon, own, endpoint_of(daemon, own, "crm", SECRET), pbx)

        yield make
