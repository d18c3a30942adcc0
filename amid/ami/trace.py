"""The packets of sessions as `amid trace` shows them: bytes, owner, and no secrets.

Records are made from packets and not from reads, because only a complete packet names its owner,
and the parser has split them anyway. Without a subscriber nothing is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.packet import Packet, Text
from amid.ami.parser import GREETING, Greeting, Item, Oversized

MAX_OWN_IDS = 10_000
"""Limit of remembered ActionIDs of callers."""

MIN_SECRET_BYTES = 6
"""A shorter secret is not searched for: it would hide half of the
trace and reveal itself by the gaps."""

CUT = b" [...]"
"""Replaces the remainder of an oversized packet."""

_SECRET = re.compile(rb"secret|passw(?:or)?d|challenge", re.I)
"""Names of headers, keys and members whose values are secrets contain one of these."""
_SEPARATOR = re.compile(rb"[:=]")
_WORD = re.compile(rb"[\w-]+")
_NAMES_ANOTHER = re.compile(rb"var|key", re.I)
_NAMED_BY_ANOTHER = re.compile(rb"val|match", re.I)
"""Headers whose value is what another header names: `Var-000000: secret`
and `Value-000000: …` of UpdateConfig."""
_LOGIN = re.compile(rb"action:[ \t]*login\r?\n", re.I)
_KEY = re.compile(rb"^(key:)[^\r\n]+", re.I | re.M)


class TraceRecord(NamedTuple):
    """One packet. direction: "sent" or "received". own_id: the caller's own ActionID, if known."""

    session: str
    direction: str
    action_id: str
    own_id: Text | None
    data: bytes


class Trace:
    """The sessions of one server. `publish` receives each record while `watched` is true.

    secret: hidden wherever it occurs.
    """

    def __init__(self, secret: str, publish: Callable[[TraceRecord], None]) -> None:
        self.watched = False
        self._secret = secret.encode()
        self._publish = publish
        self._own_ids: dict[str, Text] = {}

    def set_own_id(self, action_id: str, own_id: Text | None) -> None:
        """Remember the ActionID that the caller uses for this action."""
        if self.watched and own_id is not None:
            if len(self._own_ids) >= MAX_OWN_IDS:
                self._own_ids.clear()
            self._own_ids[action_id] = own_id

    def record(self, session: str, direction: str, action_id: str, data: bytes) -> None:
        """Publish one packet, without secrets."""
        self._publish(TraceRecord(session, direction, action_id, self._own_ids.get(action_id), hidden(data, self._secret)))


class Tap:
    """One session of the server. Its methods are called only while `watched` is true."""

    def __init__(self, trace: Trace, name: str) -> None:
        self._trace = trace
        self._name = name
        self._last_sent = ""

    @property
    def watched(self) -> bool:
        return self._trace.watched

    def sent(self, packets: Iterable[bytes]) -> None:
        """Record packets as they are sent."""
        for data in packets:
            self._last_sent = Packet(data).action_id
            self._trace.record(self._name, "sent", self._last_sent, data)

    def received(self, items: Iterable[Item]) -> None:
        """Record received items."""
        for item in items:
            match item:
                case Greeting():
                    self._trace.record(self._name, "received", "", GREETING + item.version.encode() + b"\r\n")
                case Oversized():
                    self._received(item.head, CUT)
                case EventBatch():
                    for packet in item.packets():
                        self._received(packet)
                case Packet():
                    self._received(item)

    def _received(self, packet: Packet, cut: bytes = b"") -> None:
        self._trace.record(self._name, "received", self._owner(packet), packet.raw + cut + BLANK)

    def _owner(self, packet: Packet) -> str:
        """The ActionID that the packet belongs to.

        Asterisk refuses some lines without one; that answers the last action.
        """
        return packet.action_id or (self._last_sent if packet.response else "")


def hidden(data: bytes, secret: bytes = b"") -> bytes:
    """`data` with `***` in place of secrets: the values of headers with such names, and `secret`
    anywhere.

    Each byte is examined a fixed number of times, because callers choose what packets hold.
    """
    if _SECRET.search(data):
        lines = data.split(b"\n")
        named = any(_NAMES_ANOTHER.match(line) and _SECRET.search(line.partition(b":")[2]) for line in lines)
        data = b"\n".join(_hidden_line(line, named) for line in lines)
    if _LOGIN.match(data):
        data = _KEY.sub(rb"\1 ***", data)
    return data.replace(secret, b"***") if len(secret) >= MIN_SECRET_BYTES else data


def _hidden_line(line: bytes, named: bool) -> bytes:
    """The line without the value that follows a secret's name: of a header, of a key in a file, or
    of a JSON member.

    named: another header of the packet names a secret, and this line may hold its value.
    """
    body = line.removesuffix(b"\r")
    start = 0
    for separator in _SEPARATOR.finditer(body):
        words = _WORD.findall(body, start, separator.start())
        start = separator.end()
        if (named and _NAMED_BY_ANOTHER.match(body)) or (words and _SECRET.search(words[-1])):
            return body[:start] + b" ***" + line[len(body) :] if body[start:] else line
    return line
