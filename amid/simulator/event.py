"""An event, encoded once for all sessions, and the privilege classes that decide which sessions
receive it.

A session receives an event if its mask and its user's read permission contain *all* classes of the
event (main/manager.c, `__manager_event_sessions`). A printed privilege ends with `all`.
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
    """An event: its `name`, its classes, and its packet as `raw` bytes."""

    __slots__ = ("classes", "name", "raw")

    def __init__(self, name: str, classes: Sequence[str], headers: Iterable[Header]) -> None:
        self.name = name
        self.classes = frozenset(classes)
        self.raw = packet([("Event", name), ("Privilege", ",".join((*classes, "all"))), *headers])

    @classmethod
    def of_lines(cls, name: str, classes: Sequence[str], lines: Iterable[str]) -> Event:
        """An event from lines that are sent unchanged, whether or not they are headers."""
        event = cls(name, classes, ())
        body = "".join(f"{line}\r\n" for line in lines).encode(errors="surrogateescape")
        event.raw = event.raw[:-2] + body + b"\r\n"
        return event


def classes_of(mask: str) -> frozenset[str]:
    """The classes in an `EventMask` or in a user's read or write setting. Unknown words are ignored."""
    word = mask.strip().lower()
    if word in ("on", "yes", "true", "all"):
        return ALL
    if word.isdigit():
        return frozenset(name for bit, name in enumerate(CLASSES) if int(word) >> bit & 1)
    words = {part.strip() for part in word.split(",")}
    return ALL if "all" in words else ALL & words
