"""Finds out whether the Asterisk behind a session has booted, that is, loaded its modules.

Asterisk accepts logins seconds to minutes earlier, and answers the actions of modules that are not
loaded yet with "unknown command". Three signs were measured on 16 and 22, with users of all
classes:

* `FullyBooted` is sent when Asterisk has booted, and after it right behind the answer to a Login.
  Only a session sees it whose user may read the class `system` and whose mask has it.
* The command `core waitfullybooted` is answered when Asterisk has booted. Until then it blocks the
  session. A user without write access to `command` gets an Error at once.
* CoreStatus is no sign: its startup time is set when the process starts.

So a Ping is sent behind the login. If no `FullyBooted` comes before its answer, the command is
sent. If that is refused, amid waits for the event, provided that an earlier session of this user
received it. Otherwise the state stays unknown and counts as booted.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from amid.ami.packet import Packet
from amid.ami.session import Session

EVENT = "FullyBooted"

LIMIT_S = 600.0
"""Seconds after which Asterisk counts as booted: the user may have
lost the right to see the event."""


class Boot(enum.Enum):
    """What is known about one Asterisk."""

    ASKED = "asked"  # waiting for the answer to the Ping or the command
    BOOTING = "booting"  # waiting for the event
    BOOTED = "booted"
    UNKNOWN = "unknown"  # this user cannot see it


class BootCheck:
    """The check of one session, from its login on. Its questions are queued in the session.

    sees_event: an earlier session of this user received the event. now: monotonic seconds.
    """

    def __init__(self, session: Session, sees_event: bool, now: float) -> None:
        self._session = session
        self.state = Boot.ASKED
        self.sees_event = sees_event
        self.at_login = True
        """Whether Asterisk had booted when it answered the login."""
        self.deadline = now + LIMIT_S
        self.blocked = False
        """Whether the command may be blocking the session, so that a Ping would not be answered."""
        self._awaited = ""

    @property
    def over(self) -> bool:
        """Whether the check has a result."""
        return self.state in (Boot.BOOTED, Boot.UNKNOWN)

    def feed_events(self, names: Iterable[str]) -> None:
        """Take the names of received events."""
        if not self.over and EVENT in names:
            self.sees_event = True
            self.state = Boot.BOOTED

    def feed_answer(self, packet: Packet) -> bool:
        """Whether the packet answers a question of this check."""
        if not self._awaited or packet.action_id != self._awaited:
            return False
        self._awaited = ""
        was_blocked, self.blocked = self.blocked, False
        if self.over:
            return True
        if not was_blocked:  # it was the Ping
            self.at_login = False
            self.blocked = True
            self._awaited = self._session.ask("Command", Command="core waitfullybooted")
        elif packet.response.lower() != "error":
            self.state = Boot.BOOTED
        else:
            self.state = Boot.BOOTING if self.sees_event else Boot.UNKNOWN
        return True

    def check(self, now: float) -> None:
        """Send the first question, behind the login; stop waiting at the deadline."""
        if self.state is Boot.ASKED and not self._awaited:
            self._awaited = self._session.ask("Ping")
        if not self.over and now >= self.deadline:
            self.state = Boot.UNKNOWN
