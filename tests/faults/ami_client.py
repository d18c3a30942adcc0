"""A judged client of the AMI listener, which runs beside the load while faults occur.

It sends numbered UserEvents, one after the other, and receives them. A program behind the listener
relies on what is judged here: each action is answered once and with its ActionID; events come once
and in order; an event is missing only if a FullyBooted, or the end of the connection, came before
the next ones. Asterisk answers a UserEvent before it sends the event (`action_userevent`,
main/manager.c), and the next action is another session's, so that a few later events may come first.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from tests.daemon import eventually
from tests.listener.setting import Connection, Endpoint

NAME = b"OfTheAmiClient"
OVERTAKING = 50
"""Events that may come before one of an earlier action."""
PACE_S = 0.02
"""Time between two actions."""
AGAIN_S = 0.1
"""Time between two attempts to connect."""

_HEADER = re.compile(rb"^(Response|Event|ActionID|UserEvent|Number): (.*)\r$", re.MULTILINE)


@dataclass
class AmiJudge:
    """Judges what a client receives. received: the number of events."""

    violations: list[str] = field(default_factory=list)
    received: int = 0
    _sent: int = 0
    _answered: bool = True
    _last: int = 0
    _interrupted: int = 0
    _due: set[int] = field(default_factory=set)

    def send(self) -> int:
        """The number of the next action."""
        self._sent, self._answered = self._sent + 1, False
        return self._sent

    @property
    def answered(self) -> bool:
        """Whether the last action was."""
        return self._answered

    def interrupt(self) -> None:
        """The connection ended, or amid has a new session with Asterisk: the events of all actions
        until now may be missing."""
        self._interrupted = self._sent
        self._due.clear()

    def feed_packet(self, packet: bytes) -> None:
        headers = dict(reversed(_HEADER.findall(packet)))
        if b"Response" in headers:
            self._feed_answer(headers)
        elif headers.get(b"Event") == b"FullyBooted":
            self.interrupt()
        elif headers.get(b"UserEvent") == NAME:
            self._feed_event(int(headers[b"Number"]))

    def _feed_answer(self, headers: dict[bytes, bytes]) -> None:
        if self._answered or headers.get(b"ActionID") != b"%d" % self._sent:
            self.violations.append(f"an answer to {headers.get(b'ActionID')!r} after action {self._sent}")
        self._answered = True
        if headers[b"Response"] == b"Success" and self._sent > max(self._last, self._interrupted):
            self._due.add(self._sent)

    def _feed_event(self, number: int) -> None:
        if number <= self._last and number not in self._due:
            self.violations.append(f"event {number} after event {self._last}")
        missing = {due for due in self._due if due < number - OVERTAKING}
        if missing:
            self.violations.append(f"events {sorted(missing)} are missing before event {number}")
        self._last = max(self._last, number)
        self._due -= {number, *missing}
        self.received += 1


class AmiClient:
    """A thread with a session of `endpoint`; after the end of a connection it makes another one.

    ends: the number of connections that ended or failed.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.ends = 0
        self._judge = AmiJudge()
        self._stopped = threading.Event()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="AMI client", daemon=True)
        self._thread.start()

    @property
    def violations(self) -> list[str]:
        return list(self._judge.violations)

    @property
    def received(self) -> int:
        """The number of its events."""
        return self._judge.received

    def well(self, count: int = 20, bound: float = 60.0) -> None:
        """Wait until it has received `count` more of its events."""
        wanted = self._judge.received + count
        eventually(lambda: self._judge.received >= wanted, "the AMI client receives its events", bound)

    def reconnect(self) -> None:
        """Give up an action whose answer was lost on its way to amid; amid waits for it for minutes."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(AGAIN_S):
            try:
                with Connection(self.endpoint) as connection:
                    self._connection = connection
                    if b"accepted" in connection.login(events="user,system"):
                        self._talk(connection)
            except OSError:
                pass
            self.ends += 1
            self._judge.interrupt()

    def _talk(self, connection: Connection) -> None:
        """Until the end of the connection."""
        while not self._stopped.wait(PACE_S):
            number = self._judge.send()
            connection.send(b"Action: UserEvent\r\nActionID: %d\r\nUserEvent: %b\r\nNumber: %d\r\n\r\n" % (number, NAME, number))
            while not self._judge.answered:
                packet = connection.until(b"\r\n\r\n")
                if not packet.endswith(b"\r\n\r\n"):
                    return
                self._judge.feed_packet(packet)
