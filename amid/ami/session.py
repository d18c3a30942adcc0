"""One connection to Asterisk's manager, from its greeting to its end: login, keep-alive, and the packets that are not its own.

The owner feeds it bytes and the time, and sends what `data_to_send` returns. Two kinds of session use it: the event session, which
only listens, and the lanes (`lane`), which carry actions with events off. Any failure raises, and the owner closes the connection:
`ProtocolError` when the peer does not speak AMI or does not answer, `LoginRejected` when it does not want us.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from amid.ami.action import InvalidAction, encode_action
from amid.ami.burst import Burst
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Greeting, Oversized, Parser
from amid.ami.trace import Tap


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to log in as. `auth` is "md5" or "plain"; `events` is the mask of the Login action."""

    username: str
    secret: str
    auth: str = "md5"
    events: str = "on"


@dataclass(frozen=True, slots=True)
class SessionTimeouts:
    """How long, in seconds: until a login is done, of silence before a Ping, and for the Ping's answer."""

    login: float = 10.0
    silence: float = 10.0
    pong: float = 5.0


class LoginRejected(ProtocolError):
    """Asterisk refused the login; the message is its own."""


def new_action_id() -> str:
    """Unguessable, so that no value in a packet can be made to look like an answer; 37 of the 64 characters allowed."""
    if not _random:
        drawn = secrets.token_hex(64 * 16)  # many at once: a system call for each would be a tenth of a call's work
        _random.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return "amid-" + _random.pop()


_random: list[str] = []


class Session:
    """Greeting, then login, then up. `version` is the interface's once greeted."""

    def __init__(self, login: Login, timeouts: SessionTimeouts, now: float, max_packet: int, tap: Tap | None = None) -> None:
        self._login = login
        self._timeouts = timeouts
        self._parser = Parser(max_packet)
        self._tap = tap
        self._out: list[bytes] = []
        self._step_id = ""
        self._challenging = login.auth == "md5"
        self._ping_id = ""
        self._mask_id = ""
        self._goodbye_id = ""
        self._login_by = now + timeouts.login
        self._pinged = 0.0
        self._heard = now
        self.version = ""
        self.up = False
        self.ended = False

    def receive(self, data: bytes, now: float) -> list[Packet | Burst | Oversized]:
        """What came that is not the session's own business, in order. Empty `data` is the end of the stream."""
        if not data:
            raise ProtocolError(self._end_reason())
        items = self._parser.feed(data)
        if self._tap is not None and self._tap.watched:
            self._tap.received(items)
        if self._parser.growing or any(map(_is_life, items)):
            self._heard = now
        passed: list[Packet | Burst | Oversized] = []
        for item in items:
            if isinstance(item, Greeting):
                self._greeted(item)
            elif isinstance(item, Burst):
                passed.append(item)
            elif self.up:
                if isinstance(item, Oversized) or not self._is_own(item):
                    passed.append(item)
            elif isinstance(item, Oversized) or not self._login_step(item):
                passed.append(item)
        return passed

    def data_to_send(self) -> bytes:
        if self._out and self._tap is not None and self._tap.watched:
            self._tap.sent(self._out)
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send(self, packet: bytes) -> None:
        self._out.append(packet)

    def ping(self, now: float) -> None:
        """Send a Ping; its answer is due within `timeouts.pong` seconds of the last thing heard."""
        self._ping_id = self._send("Ping")
        self._pinged = now

    def pinging(self) -> bool:
        return bool(self._ping_id)

    def log_off(self) -> None:
        """Say goodbye; the peer closes."""
        self.ended = True
        self._goodbye_id = self._send("Logoff")

    def check(self, now: float) -> None:
        """Judge silence. Raises `ProtocolError` when a login or a Ping has waited too long."""
        if (not self.up or self._ping_id) and now >= self.next_deadline():
            raise ProtocolError(self._overdue())

    def keep_alive(self, now: float) -> None:
        """Ping a session that has been silent for too long."""
        if self.up and not self._ping_id and now >= self._heard + self._timeouts.silence:
            self.ping(now)

    def next_deadline(self) -> float:
        """When `check` or `keep_alive` must be called next. Every event or response is a sign of life, and so is each piece of one
        that is not whole yet; other bytes are not, or a session that brings garbage would be believed for ever."""
        if not self.up:
            return self._login_by
        if self._ping_id:
            return max(self._pinged, self._heard) + self._timeouts.pong
        return self._heard + self._timeouts.silence

    def _send(self, action: str, **fields: str) -> str:
        action_id = new_action_id()
        try:
            self._out.append(encode_action(action, action_id, fields))
        except InvalidAction as error:  # a user name or secret that no line can carry
            raise LoginRejected(f"{action} cannot be sent: {error}") from None
        return action_id

    def _greeted(self, greeting: Greeting) -> None:
        self.version = greeting.version
        if self._challenging:
            self._step_id = self._send("Challenge", AuthType="MD5")
        else:
            self._send_login(Secret=self._login.secret)

    def _send_login(self, **proof: str) -> None:
        self._step_id = self._send("Login", Username=self._login.username, **proof, Events=self._login.events)

    def _login_step(self, packet: Packet) -> bool:
        """Whether `packet` answers the Challenge or the Login."""
        if packet.response.lower() == "error" and packet.action_id in ("", self._step_id):
            message = packet.get("Message").strip() or "no reason given"
            if "shutting down" in message:  # whoever logs in is answered so until the process ends (main/manager.c)
                raise ProtocolError(message)
            raise LoginRejected(message)
        if not packet.response or packet.action_id != self._step_id:
            return False
        if self._challenging:
            self._answer_challenge(packet.get("Challenge"))
        else:
            self.up = True
            if self._login.events.lower() not in ("on", "off"):
                self._mask_id = self._send("Events", EventMask=self._login.events)
        return True

    def _answer_challenge(self, challenge: str) -> None:
        if not challenge:
            raise ProtocolError("the answer to Challenge holds no challenge")
        self._challenging = False
        key = hashlib.md5((challenge + self._login.secret).encode(), usedforsecurity=False).hexdigest()
        self._send_login(AuthType="MD5", Key=key)

    def _is_own(self, packet: Packet) -> bool:
        """Whether this answers what the session itself has asked since it is up."""
        return self._is_pong(packet) or self._is_mask(packet) or self._is_goodbye(packet)

    def _is_goodbye(self, packet: Packet) -> bool:
        return bool(self._goodbye_id) and not packet.event and packet.action_id == self._goodbye_id

    def _is_pong(self, packet: Packet) -> bool:
        """Whether this answers the Ping, and so ends the wait for it."""
        if not self._ping_id or packet.event or packet.action_id != self._ping_id:
            return False
        self._ping_id = ""
        return True

    def _is_mask(self, packet: Packet) -> bool:
        """Whether this says what Asterisk made of the Events mask: one that it does not know switches events off in silence."""
        if not self._mask_id or packet.event or packet.action_id != self._mask_id:
            return False
        self._mask_id = ""
        if packet.get("Events").lower() == "off":
            raise LoginRejected(f"Asterisk knows no class of events in the mask {self._login.events!r} and sends none")
        return True

    def _end_reason(self) -> str:
        if self.up:
            return "Asterisk closed the session"
        if not self.version:
            return "the connection was closed before a greeting (too many sessions that have not logged in, or an ACL)"
        return "the connection was closed during login"

    def _overdue(self) -> str:
        if self.up:
            return f"a Ping was not answered within {self._timeouts.pong:g} s"
        if not self.version:
            return f"no greeting within {self._timeouts.login:g} s: it is no manager's port, or one that speaks TLS (tls = true)"
        return f"no login within {self._timeouts.login:g} s"


def _is_life(item: Greeting | Packet | Burst | Oversized) -> bool:
    """Whether it is something that Asterisk says."""
    if isinstance(item, Greeting | Burst):
        return True
    packet = item.head if isinstance(item, Oversized) else item
    return bool(packet.event or packet.response)
