"""The simulated PBX of these tests, and how its faults are armed."""

from __future__ import annotations

from typing import Any

from amid.simulator import SimulatedPbx, User
from tests.daemon import Daemon
from tests.simulator.faults import faulty_pbx

SECRET = "geheim-im-test"


def simulated(port: int = 0) -> SimulatedPbx:
    return faulty_pbx(port=port, users=[User("amid", SECRET)])


def table(pbx: SimulatedPbx, **keys: Any) -> dict[str, Any]:
    """The server's table in the configuration."""
    return {"host": pbx.host, "port": pbx.port, "username": "amid", "secret": SECRET, "reconnect_max": 0.5, **keys}


def arm(daemon: Daemon, kind: str, target: str, **fields: Any) -> None:
    """Make the PBX misbehave at the next action named `target`."""
    server = {"server": fields.pop("server")} if "server" in fields else {}
    daemon.action("SimFault", {"Kind": kind, "Target": target, **fields}, **server)
