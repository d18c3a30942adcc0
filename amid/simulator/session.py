"""An AMI session as Asterisk serves it. Pure: bytes in, bytes in `outgoing`, time as an argument.

Asterisk has one thread for each session, which reads an action, runs it, writes its answer and then
reads the next. A slow action therefore blocks the whole session, including its events: input
remains unread, and events are sent after the answer.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from amid.simulator.event import ALL, Event, classes_of
from amid.simulator.pbx import Pbx
from amid.simulator.tasks import NEVER
from amid.simulator.wire import Header, Request, Requests, packet


@dataclass(frozen=True)
class User:
    """A manager user; `read` and `write` are lists of classes as in manager.conf."""

    name: str
    secret: str
    read: str = "all"
    write: str = "all"


@dataclass(frozen=True)
class Release:
    """The simulated Asterisk version. Actions that it no longer has are unknown."""

    version: int
    ami: str
    asterisk: str


ASTERISK_22 = Release(22, "11.0.0", "22.10.1")

Act = Callable[["Session", Request], None]
"""Runs one request."""


class Session:
    """A session. act: runs one request, from the table of actions."""

    def __init__(
        self,
        pbx: Pbx,
        users: Iterable[User],
        act: Act,
        release: Release = ASTERISK_22,
        peer: str = "127.0.0.1/0",
    ) -> None:
        self.pbx = pbx
        self.release = release
        self.peer = peer
        self.outgoing = bytearray(f"Asterisk Call Manager/{release.ami}\r\n".encode())
        self.closed = False
        self.user: User | None = None
        self._readable = frozenset[str]()
        self.mask = ALL
        self._users = {user.name.lower(): user for user in users}
        self._act = act
        self._requests = Requests()
        self._challenge = ""
        self._held: list[Event] = []
        self._blocked = False
        self._wake_at = NEVER
        self._resume: Callable[[], None] | None = None
        self._on_event: Callable[[Event], bool] | None = None
        pbx.subscribe(self.receive_event)

    # -- what the server calls ----------------------------------------------------------------------------
    def receive(self, data: bytes, now: float) -> None:
        self._requests.feed(data)
        if self._on_event is not None:
            self.unblock()  # input ends a WaitEvent
        self.tick(now)

    def tick(self, now: float) -> None:
        """Process everything that is due by `now`: the PBX, the end of a wait, and received requests."""
        self.pbx.tasks.run(now)
        while not self.closed:
            if self._blocked and self._wake_at <= now:
                self.unblock()
            if self.closed or self._blocked or (request := self._requests.next()) is None:
                return
            self._serve(request)
            self.pbx.tasks.run(now)

    @property
    def next_due(self) -> float:
        """The latest time for the next `tick`."""
        return self._wake_at if self._blocked else NEVER

    @property
    def reading(self) -> bool:
        """Whether it reads input; a blocked session leaves it in the socket."""
        return not self._blocked or self._requests.waiting < 65536

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.pbx.unsubscribe(self.receive_event)

    # -- what actions call --------------------------------------------------------------------------------
    def write(self, data: bytes) -> None:
        self.outgoing += data

    def send(self, headers: Iterable[Header]) -> None:
        self.write(packet(headers))

    def block(
        self,
        resume: Callable[[], None],
        until: float = NEVER,
        on_event: Callable[[Event], bool] | None = None,
    ) -> None:
        """Block the session until `unblock` or the time `until`, then call `resume`.

        on_event: called with each event meanwhile; returns True for an event that it has handled.
        """
        self._blocked, self._resume, self._wake_at, self._on_event = True, resume, until, on_event

    def unblock(self) -> None:
        """End the block now and send the held events."""
        resume, self._resume = self._resume, None
        self._blocked, self._wake_at, self._on_event = False, NEVER, None
        if resume is not None:
            resume()
        if not self._blocked:
            for event in self._held:
                self.write(event.raw)
            self._held.clear()

    def receive_event(self, event: Event) -> None:
        if self._on_event is not None and self._on_event(event):
            return
        if not self.wants(event):
            return
        if self._blocked:
            self._held.append(event)
        else:
            self.write(event.raw)

    def wants(self, event: Event) -> bool:
        """Whether the user may read all classes of the event and the session has enabled them."""
        return self.user is not None and event.classes <= self.mask & self._readable

    def challenge(self) -> str:
        """About nine digits, the same for the whole session."""
        self._challenge = self._challenge or str(random.randrange(100_000_000, 1_000_000_000))
        return self._challenge

    def admit(self, user: User, mask: str) -> None:
        """Log in a user, with the events of `mask`."""
        self.user, self.mask, self._readable = user, classes_of(mask), classes_of(user.read)

    def knows(self, name: str) -> bool:
        return name.lower() in self._users

    def authenticate(self, request: Request) -> User | None:
        """The user that the request authenticates, by its Secret or by the MD5 of challenge and
        secret; None if it does not."""
        user = self._users.get(request.get("Username").lower())
        if user is None:
            return None
        if request.get("AuthType").lower() == "md5":
            expected = hashlib.md5((self._challenge + user.secret).encode()).hexdigest()
            proved = bool(self._challenge) and expected == request.get("Key")
        else:
            proved = request.get("Secret") == user.secret
        return user if proved else None

    # -- inside -------------------------------------------------------------------------------------------
    def _serve(self, request: Request) -> None:
        """Run one action. Its events follow its answer, as in Asterisk."""
        self._blocked = True
        self._act(self, request)
        if self._resume is None:
            self.unblock()
