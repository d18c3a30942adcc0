"""The actions of an Asterisk and the classes that each requires, from its ListCommands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from amid.manager.classes import parse_privilege

_COMMAND = re.compile(rb"([^:\r\n]+): .*\(Priv: ([^()\r\n]*)\)")
_HEADERS = (b"Response:", b"ActionID:", b"Message:")


class Commands:
    """packets: the answer of ListCommands. Without packets, no action is known."""

    def __init__(self, packets: Iterable[bytes] = ()) -> None:
        self._required: dict[bytes, int] = {}
        for line in b"".join(packets).split(b"\r\n"):
            if found := _match(line):
                self._required[found[1].lower()] = parse_privilege(found[2])

    def __bool__(self) -> bool:
        return bool(self._required)

    def __contains__(self, action: bytes) -> bool:
        return action.lower() in self._required

    def allows(self, action: bytes, write: int) -> bool:
        """Whether a user with the classes `write` may use it: one of the required classes is enough
        (`process_message`)."""
        required = self._required.get(action.lower(), 0)
        return not required or bool(required & write)


def select_commands(packet: bytes, may_use: Callable[[bytes], bool]) -> bytes:
    """An answer of ListCommands without the actions for which `may_use` is false."""
    kept = []
    for line in packet.split(b"\r\n"):
        found = _match(line)
        if found is None or may_use(found[1]):
            kept.append(line)
    return b"\r\n".join(kept)


def _match(line: bytes) -> re.Match[bytes] | None:
    return None if line.startswith(_HEADERS) else _COMMAND.fullmatch(line)
