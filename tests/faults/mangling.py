"""Asterisk's answers as mangled by an attacker, and the bytes of impostors: pure functions.

An answer is a response and, if that starts a list, everything up to the closing event. Only
complete answers are mangled: a list with one item less cannot be detected, but an answer that is
duplicated, late, or under another's name can.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

END = b"\r\n\r\n"
ACTION_ID = re.compile(rb"(?im)^ActionID: ([^\r\n]+)")
LIST_OPENS = re.compile(rb"(?im)^EventList: start\r$")
LIST_CLOSES = re.compile(rb"(?im)^EventList: (complete|cancelled)\r$")
SHARE = 0.15
"""How many of the answers are held back, delayed or renamed; with all of them no session would ever get through its login."""
LATE_S = 2.5
"""Seconds: later than the deadlines of some callers, and not of others."""
GARBAGE = 300
"""Bytes at a time."""
ENDLESS = b"x" * 16384
REMEMBERED = 50
"""Ids of actions that are over."""


class Piece(NamedTuple):
    """Bytes for amid. answer: whether they are a complete answer. delay: seconds by which they, and
    all bytes after them, are delayed."""

    data: bytes
    answer: bool = False
    delay: float = 0.0


class Answers:
    """Cuts what Asterisk sends into pieces, none of which ends within a packet.

    Whatever stands before the first end of a packet passes as it is and at once: the rest of a packet of which half has gone, or a
    greeting, behind which nothing comes before amid has read it.
    """

    def __init__(self, at_boundary: bool) -> None:
        self._at_boundary = at_boundary
        self._passed = b""
        self._rest = b""
        self._list = b""

    def feed(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        if not self._at_boundary:
            passing, data = self._pass(data)
            pieces.append(Piece(passing))
        self._rest += data
        while (end := self._rest.find(END)) >= 0:
            packet, self._rest = self._rest[: end + len(END)], self._rest[end + len(END) :]
            pieces += self._take(packet)
        return pieces

    def _pass(self, data: bytes) -> tuple[bytes, bytes]:
        """Parts `data` at the first end of a packet; that may have begun in what came before."""
        passed = self._passed + data
        end = passed.find(END)
        if end < 0:
            self._passed = passed[1 - len(END) :]
            return data, b""
        self._at_boundary = True
        cut = end + len(END) - len(self._passed)
        return data[:cut], data[cut:]

    def flush(self) -> bytes:
        """What is not whole yet; nothing will be fed any more."""
        return self._list + self._rest

    def _take(self, packet: bytes) -> list[Piece]:
        if self._list or LIST_OPENS.search(packet):
            self._list += packet
            if not LIST_CLOSES.search(packet):
                return []
            packet, self._list = self._list, b""
        return [Piece(packet, packet.startswith(b"Response:"))]


class Asked:
    """The ActionIDs of all connections: which are open on which, and which are over."""

    def __init__(self) -> None:
        self._open: dict[bytes, Hashable] = {}
        self._over: deque[bytes] = deque(maxlen=REMEMBERED)

    def request(self, connection: Hashable, data: bytes) -> None:
        """amid has sent this."""
        self._open.update(dict.fromkeys(ACTION_ID.findall(data), connection))

    def answered(self, action_id: bytes) -> None:
        self._open.pop(action_id, None)
        self._over.append(action_id)

    def closed(self, connection: Hashable) -> None:
        for action_id in [one for one, whose in self._open.items() if whose == connection]:
            self.answered(action_id)

    def elsewhere(self, connection: Hashable) -> list[bytes]:
        """The ids that are open on other connections."""
        return [one for one, whose in self._open.items() if whose != connection]

    def over(self) -> list[bytes]:
        return list(self._over)


class Mangler(Protocol):
    """Called with each answer of one connection, in order. `flush`: what it still holds."""

    def __call__(self, answer: Piece) -> list[Piece]: ...
    def flush(self) -> bytes: ...


class Twice:
    """The second time right behind the first, or just before the next answer, when another action waits for that."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._again = b""

    def __call__(self, answer: Piece) -> list[Piece]:
        before = [Piece(self._again, True)] if self._again else []
        self._again = answer.data if self._chance.random() < 0.5 else b""
        return [*before, answer] if self._again else [*before, answer, answer]

    def flush(self) -> bytes:
        return self._again


class Swapped:
    """An answer, drawn by chance, comes behind the next one, when yet another action waits for its own."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._held = b""
        self._overtaken = False

    def __call__(self, answer: Piece) -> list[Piece]:
        if self._overtaken:
            held, self._held, self._overtaken = self._held, b"", False
            return [Piece(held, True), answer]
        if self._held:
            self._overtaken = True
            return [answer]
        if self._chance.random() >= SHARE:
            return [answer]
        self._held = answer.data
        return []

    def flush(self) -> bytes:
        return self._held


class Late:
    """An answer, drawn by chance, is held up, and with it all that Asterisk says behind it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def __call__(self, answer: Piece) -> list[Piece]:
        return [answer._replace(delay=LATE_S) if self._chance.random() < SHARE else answer]

    def flush(self) -> bytes:
        return b""


class Renamed:
    """An answer, drawn by chance, has the ActionID of another action: of one that is over, of one that is open on another
    connection, or of one that never was."""

    def __init__(self, chance: random.Random, asked: Asked, connection: Hashable) -> None:
        self._chance = chance
        self._asked = asked
        self._connection = connection

    def __call__(self, answer: Piece) -> list[Piece]:
        own = ACTION_ID.search(answer.data)
        if own is None:
            return [answer]
        if self._chance.random() >= SHARE:
            self._asked.answered(own[1])
            return [answer]
        return [Piece(answer.data.replace(own[1], self._another(own[1])), True)]  # amid still waits for its answer

    def _another(self, own: bytes) -> bytes:
        made_up = b"amid-%032x" % self._chance.getrandbits(128)
        ended = [one for one in self._asked.over() if one != own]
        return self._chance.choice(self._chance.choice([[made_up], self._asked.elsewhere(self._connection), ended]) or [made_up])

    def flush(self) -> bytes:
        return b""


MANGLERS: dict[str, Callable[[random.Random, Asked, Hashable], Mangler]] = {
    "twice": lambda chance, asked, connection: Twice(chance),
    "swapped": lambda chance, asked, connection: Swapped(chance),
    "late": lambda chance, asked, connection: Late(chance),
    "renamed": Renamed,
}


def garbage(chance: random.Random) -> bytes:
    """Random bytes, every other time without line ends."""
    noise = chance.randbytes(GARBAGE)
    return noise if chance.random() < 0.5 else noise.replace(b"\n", b"")


IMPOSTORS: dict[str, Callable[[random.Random], bytes]] = {
    "silent": lambda chance: b"",
    "garbage": garbage,
    "endless_line": lambda chance: ENDLESS,
}
"""What one that has Asterisk's port says next, again and again."""
