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

_SECRET = re.compile(rb"secret|passw(?:or)?d|challenge", re.I)
"""What the name of a secret holds."""
_SEPARATOR = re.compile(rb"[:=]")
_WORD = re.compile(rb"[\w-]+")
_NAMES_ANOTHER = re.compile(rb"var|key", re.I)
_NAMED_BY_ANOTHER = re.compile(rb"val|match", re.I)
"""Headers whose value is what another header names: `Var-000000: secret` and `Value-000000: …` of UpdateConfig."""
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
    """`data` with `***` for what proves who somebody is: by the names of headers, and wherever `secret` itself stands.

    Each byte is looked at a fixed number of times, because packets hold what strangers wrote.
    """
    if _SECRET.search(data):
        lines = data.split(b"\n")
        named = any(_NAMES_ANOTHER.match(line) and _SECRET.search(line.partition(b":")[2]) for line in lines)
        data = b"\n".join(_hidden_line(line, named) for line in lines)
    if _LOGIN.match(data):
        data = _KEY.sub(rb"\1 ***", data)
    return data.replace(secret, b"***") if len(secret) >= SHORTEST else data


def _hidden_line(line: bytes, named: bool) -> bytes:
    """The line without what follows the name of a secret, be it a header's, a key's of a file, or a member's of JSON.

    named: another header of the packet names a secret, whose value this line may hold.
    """
    body = line.removesuffix(b"\r")
    start = 0
    for separator in _SEPARATOR.finditer(body):
        words = _WORD.findall(body, start, separator.start())
        start = separator.end()
        if (named and _NAMED_BY_ANOTHER.match(body)) or (words and _SECRET.search(words[-1])):
            return body[:start] + b" ***" + line[len(body) :] if body[start:] else line
    return line
