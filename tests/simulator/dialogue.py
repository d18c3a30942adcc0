"""Tools for tests of the simulated PBX: a session without a socket, and a packet reader.

The reader is independent on purpose: the simulated PBX is checked neither with its own code nor
with amid's.
"""

from __future__ import annotations

from amid.simulator.actions import act
from amid.simulator.pbx import Pbx
from amid.simulator.session import Session, User
from tests.simulator.faults import Faults
from tests.simulator.releases import RELEASES, act_of

NOW = 1_800_000_000.0
USERS = (User("demo", "secret"), User("poor", "secret", read="call", write="call"))

Packet = list[tuple[str, str]]


def packets(raw: bytes) -> list[Packet]:
    """Each packet as its headers in order; a line without a colon is a name without a value."""
    blocks = raw.decode(errors="surrogateescape").split("\r\n\r\n")
    return [[_header(line) for line in block.split("\r\n")] for block in blocks if block.strip()]


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name, value


class Dialogue:
    """One session at a time: `ask` sends an action and returns all packets that follow."""

    def __init__(
        self,
        pbx: Pbx | None = None,
        user: str = "demo",
        events: str = "off",
        *,
        version: int = 22,
        faults: Faults | None = None,
    ) -> None:
        self.pbx = pbx or Pbx(NOW)
        carry_out = act_of(version, act)
        self.session = Session(self.pbx, USERS, faults.around(carry_out) if faults else carry_out, RELEASES[version])
        self.greeting = self.take()
        if user:
            self.ask("Login", Username=user, Secret="secret", Events=events)

    def take(self) -> bytes:
        raw = bytes(self.session.outgoing)
        self.session.outgoing.clear()
        return raw

    def raw(self, data: bytes) -> bytes:
        self.session.receive(data, self.pbx.now)
        return self.take()

    def ask(self, action: str, **headers: str) -> list[Packet]:
        lines = [f"Action: {action}", *(f"{name}: {value}" for name, value in headers.items())]
        return packets(self.raw(("\r\n".join(lines) + "\r\n\r\n").encode()))

    def later(self, seconds: float) -> list[Packet]:
        """What comes in the next `seconds`."""
        self.session.tick(self.pbx.now + seconds)
        return packets(self.take())


def named(found: list[Packet], event: str) -> list[dict[str, str]]:
    return [dict(packet) for packet in found if packet[0] == ("Event", event)]
