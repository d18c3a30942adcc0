"""A daemon with a listener in front of a simulated PBX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


@pytest.fixture
def front_for(tmp_path: Path, daemon_for: StartDaemon) -> Iterator[Callable[..., Front]]:
    """`front_for(**keys)` starts a daemon with these keys in `[listener]`."""
    with simulated() as pbx:

        def make(**keys: Any) -> Front:
            own = listener_table(tmp_path, USERS, **keys)
            daemon = daemon_for({"pbx1": table(pbx)}, listener=own)
            return Front(daemon, own, endpoint_of(daemon, own, "crm", SECRET), pbx)

        yield make
