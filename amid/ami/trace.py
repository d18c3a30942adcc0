"""The packets of sessions as somebody who traces them sees them: the bytes of each, whose it is, and no secret in it.

By packet and not by read, since only whole packets say whose they are; the parser has cut them already. Nothing is done while
nobody looks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from amid.ami.burst import BLANK, Burst
from amid.ami.packet import Packet, Text
from amid.ami.parser import GREETING, Greeting, Item, Oversized

REMEMBERED = 10_000
"""ActionIDs of callers' own that are kept."""

SHORTEST = 6
"""Bytes; a shorter secret would hide half of the trace, and show itself by what is missing."""

CUT = b" [...]"
"""Stands for the remainder of a packet that was too large to be kept."""

_SECRETS = re.compile(rb"((?:secret|passw(?:or)?d|challenge)[\w-]*[ \t]*[:=])[^\r\n]+", re.I)
"""A header, a line of GetConfig or of a Command's output: what follows the name, to the line's end."""
_LOGIN = re.compile(rb"action:[ \t]*login\r?\n", re.I)
_KEY = re.compile(rb"^(key:)[^\r\n]+", re.I | re.M)


class Sight(NamedTuple):
    """One packet. `direction`: "sent" or "received". `own_id`: the caller's own ActionID, where that is known."""

    session: str
    direction: str
    action_id: str
    own_id: Text | None
    data: bytes


class Trace:
    """The sessions of one server. `show` takes what is seen while `watched` is true. secret: hidden wherever it stands."""

    def __init__(self, secret: str, show: Callable[[Sight], None]) -> None:
        self.watched = False
        self._secret = secret.encode()
        self._show = show
        self._own_ids: dict[str, Text] = {}

    def session(self, name: str) -> Tap:
        return Tap(self, name)

    def name(self, action_id: str, own_id: Text | None) -> None:
        """A caller calls this action by an ActionID of its own."""
        if self.watched and own_id is not None:
            if len(self._own_ids) >= REMEMBERED:
                self._own_ids.clear()
            self._own_ids[action_id] = own_id

    def see(self, session: str, direction: str, action_id: str, data: bytes) -> None:
        self._show(Sight(session, direction, action_id, self._own_ids.get(action_id), hidden(data, self._secret)))


class Tap:
    """One session, which calls this only while `watched` is true."""

    def __init__(self, trace: Trace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._last_sent = ""

    @property
    def watched(self) -> bool:
        return self._trace.watched

    def sent(self, packets: Iterable[bytes]) -> None:
        for data in packets:
            self._last_sent = Packet(data).action_id
            self._trace.see(self._name, "sent", self._last_sent, data)

    def received(self, items: Iterable[Item]) -> None:
        for item in items:
            match item:
                case Greeting():
                    self._trace.see(self._name, "received", "", GREETING + item.version.encode() + b"\r\n")
                case Oversized():
                    self._received(item.head, CUT)
                case Burst():
                    for packet in item.packets():
                        self._received(packet)
                case Packet():
                    self._received(item)

    def _received(self, packet: Packet, cut: bytes = b"") -> None:
        self._trace.see(self._name, "received", self._owner(packet), packet.raw + cut + BLANK)

    def _owner(self, packet: Packet) -> str:
        """A response without ActionID, to a line that Asterisk refuses, is to what was sent last."""
        return packet.action_id or (self._last_sent if packet.response else "")


def hidden(data: bytes, secret: bytes = b"") -> bytes:
    """`data` with `***` for what proves who somebody is: by the names of headers, and wherever `secret` itself stands."""
    data = _SECRETS.sub(rb"\1 ***", data)
    if _LOGIN.match(data):
        data = _KEY.sub(rb"\1 ***", data)
    return data.replace(secret, b"***") if len(secret) >= SHORTEST else data
