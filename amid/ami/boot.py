"""Whether the Asterisk behind a session has booted, that is, loaded its modules.

Asterisk takes logins seconds to minutes before that, and refuses the actions of modules that are not loaded yet as unknown. What
it says of itself (measured on 16 and 22, with classes of all kinds):

* `FullyBooted` comes once it has booted, and right behind the answer to a later Login, on a session whose user reads the class
  `system` and whose mask has it. Others never get it.
* The command `core waitfullybooted` is answered once it has booted, to a user who may write `command`; until then it blocks its
  session. Others get an Error at once.
* CoreStatus does not tell: its startup time is set when the process starts.

So a Ping behind the login shows whether `FullyBooted` came with it. If not, the command is tried. When that is refused too, only a
user of whom it is known that `FullyBooted` comes to it is waited for; of others nothing can be known, and they are taken as booted.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from amid.ami.action import encode_action
from amid.ami.packet import Packet
from amid.ami.session import new_action_id

EVENT = "FullyBooted"

LIMIT_S = 600.0
"""Seconds after which an Asterisk is taken as booted: its user may have lost the right to see it."""


class Boot(enum.Enum):
    ASKED = "asked"  # a Ping or the command is under way
    BOOTING = "booting"  # not yet; the event will come
    BOOTED = "booted"
    UNKNOWN = "unknown"  # this user is not told


class BootCheck:
    """For one session, from its login. sees_event: an earlier session of the same user got the event."""

    def __init__(self, sees_event: bool, now: float) -> None:
        self.state = Boot.ASKED
        self.sees_event = sees_event
        self.at_login = True
        """Whether it was booted when the login was answered."""
        self.deadline = now + LIMIT_S
        self.blocked = False
        """Whether the command may block the session, so that no Ping would be answered."""
        self._awaited = ""
        self._out = b""

    @property
    def over(self) -> bool:
        return self.state in (Boot.BOOTED, Boot.UNKNOWN)

    def feed_events(self, names: Iterable[str]) -> None:
        if not self.over and EVENT in names:
            self.sees_event = True
            self.state = Boot.BOOTED

    def feed_answer(self, packet: Packet) -> bool:
        """Whether the packet answers what was asked here."""
        if not self._awaited or packet.action_id != self._awaited:
            return False
        self._awaited = ""
        if self.blocked:
            self.blocked = False
            self._command_answered(packet.response.lower() == "error")
        elif not self.over:
            self.at_login = False
            self.blocked = True
            self._ask("Command", Command="core waitfullybooted")
        return True

    def check(self, now: float) -> None:
        """Begin to ask, behind what came with the login; give up at the deadline."""
        if self.state is Boot.ASKED and not self._awaited:
            self._ask("Ping")
        if not self.over and now >= self.deadline:
            self.state = Boot.UNKNOWN

    def data_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def _command_answered(self, refused: bool) -> None:
        if self.over:
            return
        if not refused:
            self.state = Boot.BOOTED
        else:
            self.state = Boot.BOOTING if self.sees_event else Boot.UNKNOWN

    def _ask(self, action: str, **fields: str) -> None:
        self._awaited = new_action_id()
        self._out += encode_action(action, self._awaited, fields)
