"""One connection to Asterisk's manager: greeting, login, keep-alive, and the packets for its owner.

The owner feeds received bytes and the time, and sends what `data_to_send` returns. Two kinds of
session use this: the event session, which only listens, and the lanes (`lane`), which carry actions
without events. Any failure raises, and the owner closes the connection: `ProtocolError` if the peer
does not speak AMI or does not answer, `LoginRejected` if Asterisk refuses the login.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import dataclass

from amid.ami.action import InvalidAction, encode_action
from amid.ami.event_batch import EventBatch
from amid.ami.packet import Packet, ProtocolError
from amid.ami.parser import Greeting, Oversized, Parser
from amid.ami.trace import Tap


@dataclass(frozen=True, slots=True)
class Login:
    """The login's credentials. auth: "md5" or "plain". events: the mask of the Login action."""

    username: str
    secret: str
    auth: str = "md5"
    events: str = "on"


@dataclass(frozen=True, slots=True)
class SessionTimeouts:
    """Until a login is done, of silence before a Ping is sent, and until the Ping is answered."""

    login_s: float = 10.0
    silence_s: float = 10.0
    pong_s: float = 5.0


REJECTED_ADVICE = "check username, secret, permit and deny, and that manager.conf loads the user (`manager show user NAME`)"
"""Asterisk answers "Authentication failed" to all of these."""
IN_USE = "login already in use"
IN_USE_ADVICE = "remove allowmultiplelogin = no from manager.conf"


class LoginRejected(ProtocolError):
    """Asterisk refused the login. The message is Asterisk's, and what to check."""


def new_action_id() -> str:
    """A random ActionID of 37 characters (64 are allowed), so that no
    value in a packet can forge an answer."""
    if not _random:
        drawn = secrets.token_hex(64 * 16)  # in bulk: a system call for each would be a tenth of the work of a call
        _random.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return "amid-" + _random.pop()


_random: list[str] = []


class Session:
    """A session from greeting to end. `version` is the interface's, `up` true from login on."""

    def __init__(self, login: Login, timeouts: SessionTimeouts, max_packet: int, tap: Tap | None = None) -> None:
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
        self._login_by = math.inf
        self._pinged = self._last_received = 0.0
        self.version = ""
        self.up = False
        self.ended = False

    def begin(self, now: float) -> None:
        """The connection is open. Asterisk's greeting and the login are due from now on."""
        self._login_by = now + self._timeouts.login_s

    def receive(self, data: bytes, now: float) -> list[Packet | EventBatch | Oversized]:
        """The received items that the session does not handle itself, in order.

        data: b"" at the end of the stream, which raises `ProtocolError`.
        """
        if not data:
            raise ProtocolError(self._end_reason())
        items = self._parser.feed(data)
        if self._tap is not None and self._tap.watched:
            self._tap.received(items)
        if any(map(_is_sign_of_life, items)) or self._parser.growing:
            self._last_received = now
        passed: list[Packet | EventBatch | Oversized] = []
        for item in items:
            if isinstance(item, Greeting):
                self._greeted(item)
            elif not isinstance(item, Packet) or not (self._is_own(item) if self.up else self._login_step(item)):
                passed.append(item)
        return passed

    def data_to_send(self) -> bytes:
        """The bytes to send now."""
        if self._out and self._tap is not None and self._tap.watched:
            self._tap.sent(self._out)
        data = b"".join(self._out)
        self._out.clear()
        return data

    def send(self, packet: bytes) -> None:
        """Queue a packet."""
        self._out.append(packet)

    def ask(self, action: str, **fields: str) -> str:
        """Queue an action, and return its ActionID."""
        action_id = new_action_id()
        try:
            self.send(encode_action(action, action_id, fields))
        except InvalidAction as error:  # the user name or secret cannot be sent in a line
            raise LoginRejected(f"{action} cannot be sent: {error}") from None
        return action_id

    def ping(self, now: float) -> None:
        """Send a Ping.

        Its answer is due within `timeouts.pong_s` seconds of the last sign of life.
        """
        self._ping_id = self.ask("Ping")
        self._pinged = now

    def pinging(self) -> bool:
        """Whether a Ping is in flight."""
        return bool(self._ping_id)

    def log_off(self) -> None:
        """Send a Logoff. Asterisk then closes the connection."""
        self.ended = True
        self._goodbye_id = self.ask("Logoff")

    def check(self, now: float) -> None:
        """Raise `ProtocolError` if the login or the answer to a Ping is overdue."""
        if (not self.up or self._ping_id) and now >= self.next_deadline():
            raise ProtocolError(self._overdue())

    def keep_alive(self, now: float) -> None:
        """Send a Ping if Asterisk has been silent for `timeouts.silence_s` seconds."""
        if self.up and not self._ping_id and now >= self._last_received + self._timeouts.silence_s:
            self.ping(now)

    def next_deadline(self) -> float:
        """When `check` or `keep_alive` is due, in monotonic seconds.

        Every event or response is a sign of life, and so is each piece of an incomplete one. Other
        bytes are not: a peer that sends garbage would stay connected for ever.
        """
        if not self.up:
            return self._login_by
        if self._ping_id:
            return max(self._pinged, self._last_received) + self._timeouts.pong_s
        return self._last_received + self._timeouts.silence_s

    def _greeted(self, greeting: Greeting) -> None:
        self.version = greeting.version
        if self._challenging:
            self._step_id = self.ask("Challenge", AuthType="MD5")
        else:
            self._send_login(Secret=self._login.secret)

    def _send_login(self, **proof: str) -> None:
        self._step_id = self.ask("Login", Username=self._login.username, **proof, Events=self._login.events)

    def _login_step(self, packet: Packet) -> bool:
        """Handle the answer to Challenge or Login. False if `packet` is neither."""
        if packet.response.lower() == "error" and packet.action_id in ("", self._step_id):
            message = packet.get("Message").strip() or "no reason given"
            if "shutting down" in message:  # the answer to every login until the process ends (main/manager.c)
                raise ProtocolError(message)
            raise LoginRejected(f"{message}; {IN_USE_ADVICE if message.lower() == IN_USE else REJECTED_ADVICE}")
        if not packet.response or packet.action_id != self._step_id:
            return False
        if self._challenging:
            self._answer_challenge(packet.get("Challenge"))
        else:
            self.up = True
            if self._login.events.lower() not in ("on", "off"):
                self._mask_id = self.ask("Events", EventMask=self._login.events)
        return True

    def _answer_challenge(self, challenge: str) -> None:
        if not challenge:
            raise ProtocolError("Asterisk's answer to Challenge has no Challenge header")
        self._challenging = False
        key = hashlib.md5((challenge + self._login.secret).encode(), usedforsecurity=False).hexdigest()
        self._send_login(AuthType="MD5", Key=key)

    def _is_own(self, packet: Packet) -> bool:
        """Whether `packet` answers an action of the session's own: a Ping, Events or Logoff.

        Asterisk silently turns events off if it knows no class of the mask.
        """
        action_id = packet.action_id
        if not action_id or action_id not in (self._ping_id, self._mask_id, self._goodbye_id) or packet.event:
            return False
        if action_id == self._ping_id:
            self._ping_id = ""
        elif action_id == self._mask_id and packet.get("Events").lower() == "off":
            raise LoginRejected(f"Asterisk knows no event class in the mask {self._login.events!r} and sends no events")
        return True

    def _end_reason(self) -> str:
        if self.up:
            return "Asterisk closed the session"
        if not self.version:
            return "the connection was closed before the greeting (not a manager port, an ACL, or authlimit in manager.conf)"
        return "the connection was closed during login"

    def _overdue(self) -> str:
        if self.up:
            return f"a Ping was not answered within {self._timeouts.pong_s:g} s"
        if not self.version:
            causes = "not a manager port, a port with TLS (tls = true), or Asterisk hangs"
            return f"no greeting within {self._timeouts.login_s:g} s: {causes}"
        return f"no login within {self._timeouts.login_s:g} s"


def _is_sign_of_life(item: Greeting | Packet | EventBatch | Oversized) -> bool:
    """Whether Asterisk sent an event, a response or a greeting."""
    if isinstance(item, Packet):
        return bool(item.response or item.event)
    return _is_sign_of_life(item.head) if isinstance(item, Oversized) else True
