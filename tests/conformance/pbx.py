"""The PBXs of the conformance tests: the simulated one, and each provisioned Asterisk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from amid.simulator import SimulatedPbx, User
from amid.simulator.model import Member
from tests.asterisk.server import VERSIONS, Asterisk, missing_prerequisite
from tests.need import need

SIMULATED = "simulated"
NAMES = (SIMULATED, *(f"asterisk-{version}" for version in VERSIONS))
SERVER = "pbx1"
"""What every daemon here calls its PBX."""

TALK = [("Answer", ""), ("Wait", "600"), ("Hangup", "")]
CALLS = {
    "answer": TALK,
    "noanswer": [("Ringing", ""), ("Wait", "30"), ("Hangup", "19")],
    "queue": [("Answer", ""), ("Queue", "support")],
    "conf": [("Answer", ""), ("ConfBridge", "100")],
    "park": [("Answer", ""), ("Park", "")],
    "member": TALK,
    "member2": TALK,
    "storm": [("Answer", ""), ("Set", "A=1"), ("Set", "B=a longer value: with a colon, a comma and blanks  "), ("Hangup", "")],
}


@dataclass(frozen=True)
class Pbx:
    """A running PBX. `version` is the Asterisk that it is, or that it is like."""

    name: str
    version: str
    host: str
    port: int
    username: str
    secret: str
    sip_port: int = 0

    @property
    def simulated(self) -> bool:
        return self.name == SIMULATED

    @property
    def table(self) -> dict[str, Any]:
        """Its table in amid's configuration."""
        return {"host": self.host, "port": self.port, "username": self.username, "secret": self.secret}


def of(server: Asterisk) -> Pbx:
    name = f"asterisk-{server.version}"
    return Pbx(name, server.version, server.host, server.port, server.username, server.secret, server.sip_port)


@contextmanager
def running(name: str) -> Iterator[Pbx]:
    """Run the PBX of this name; skips, or fails where it is required, when it cannot run here."""
    with _simulated() if name == SIMULATED else _asterisk(name.removeprefix("asterisk-")) as pbx:
        yield pbx


@contextmanager
def _simulated() -> Iterator[Pbx]:
    user = User("amid", f"s{random.getrandbits(64):016x}")
    server = SimulatedPbx(users=(user,))
    server.pbx.dialplan["calls"] = dict(CALLS)
    members = (("Local/member@calls", "First"), ("Local/member2@calls", "Second"))
    server.pbx.queues["support"].members = [Member("support", target, name, server.pbx.now) for target, name in members]
    with server:
        yield Pbx(SIMULATED, "22", server.host, server.port, user.name, user.secret)


@contextmanager
def _asterisk(version: str) -> Iterator[Pbx]:
    need(missing_prerequisite(version), "ASTERISK")
    server = Asterisk(version)
    server.start()
    try:
        yield of(server)
    finally:
        server.stop()
