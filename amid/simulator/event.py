"""One event, encoded once however many sessions it goes to, and the classes that decide who gets it.

An event goes to a session whose events are on for *all* of its classes and whose user may read all of them
(main/manager.c, `__manager_event_sessions`). What a privilege prints as ends with `all`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from amid.simulator.wire import Header, packet

CLASSES = (
    "system",
    "call",
    "log",
    "verbose",
    "command",
    "agent",
    "user",
    "config",
    "dtmf",
    "reporting",
    "cdr",
    "dialplan",
    "originate",
    "agi",
    "cc",
    "aoc",
    "test",
    "security",
    "message",
)
"""In the order of their bits, lowest first."""

ALL = frozenset(CLASSES)


class Event:
    """`name`, the classes it belongs to, and its packet as `raw` bytes."""

    __slots__ = ("classes", "name", "raw")

    def __init__(self, name: str, classes: Sequence[str], headers: Iterable[Header]) -> None:
        self.name = name
        self.classes = frozenset(classes)
        self.raw = packet([("Event", name), ("Privilege", ",".join((*classes, "all"))), *headers])

    @classmethod
    def of_lines(cls, name: str, classes: Sequence[str], lines: Iterable[str]) -> Event:
        """With lines that are repeated as somebody wrote them, be they headers or not."""
        event = cls(name, classes, ())
        body = "".join(f"{line}\r\n" for line in lines).encode(errors="surrogateescape")
        event.raw = event.raw[:-2] + body + b"\r\n"
        return event


def classes_of(mask: str) -> frozenset[str]:
    """What an `EventMask` or a user's read and write setting names; unknown words count for nothing."""
    word = mask.strip().lower()
    if word in ("on", "yes", "true", "all"):
        return ALL
    if word.isdigit():
        return frozenset(name for bit, name in enumerate(CLASSES) if int(word) >> bit & 1)
    words = {part.strip() for part in word.split(",")}
    return ALL if "all" in words else ALL & words
