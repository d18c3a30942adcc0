"""Logging in: Challenge, Login, and their deadline (`authenticate`, main/manager.c)."""

from __future__ import annotations

from msgspec import Struct

from amid.manager import responses
from amid.manager.manager import FIRST_DELAY_S, Manager
from amid.manager.request_parser import Request
from amid.manager.user import User
from amid.rpc.guesses import network_of

UNKNOWN_NAMES = "?"
"""The name under which wrong logins with unknown user names are counted."""


class LoggedIn(Struct, frozen=True):
    """The client has logged in."""

    user: User


class LoginFailed(Struct, frozen=True):
    """A login was refused. name: as the client sent it."""

    name: str
    reason: str


class Login:
    """The login of one session.

    user: None until it has logged in. refusal: an answer that is due at `deadline`, after which the
    session ends. Without one, `deadline` is when a client that has not logged in is disconnected.
    """

    def __init__(self, manager: Manager, address: str, now: float) -> None:
        self._manager = manager
        self._address = address
        self._challenge = b""
        self.user: User | None = None
        self.refusal: bytes | None = None
        self.deadline = now + manager.limits.auth_timeout_s

    def challenge(self, request: Request) -> bytes:
        """The answer to Challenge. A session has one challenge."""
        if request.get(b"authtype").lower() != b"md5":
            return responses.error(request.action_id, b"Must specify AuthType")
        self._challenge = self._challenge or self._manager.new_challenge()
        return responses.challenge(request.action_id, self._challenge)

    def log_in(self, request: Request, now: float) -> LoggedIn | LoginFailed:
        """Check a Login. If it fails, `refusal` is set."""
        name = request.get(b"username").decode("utf-8", "surrogateescape")
        user = self._manager.user(name)
        if user is not None and not user.entry.allowmultiplelogin and self._manager.logged_in[user.key]:
            return self._refuse(request, b"Login Already In Use", now + FIRST_DELAY_S, name, "the user is logged in")
        source = f"{network_of(self._address)} {user.name if user else UNKNOWN_NAMES}"
        guesses = self._manager.guesses
        if locked_s := guesses.locked_s(source, user.digest() if user else b"", now):
            return self._refuse(request, responses.LOGIN_FAILED, now + locked_s, name, "too many wrong secrets from this network")
        reason = self._fault(user, request)
        if user is None or reason:
            return self._refuse(request, responses.LOGIN_FAILED, now + guesses.failed(source, now), name, reason)
        guesses.succeeded(source, user.digest())
        self.user = user
        return LoggedIn(user)

    def _fault(self, user: User | None, request: Request) -> str:
        if user is None:
            return "there is no such user"
        if not user.may_connect_from(self._address):
            return "permit and deny do not allow the address"
        if request.get(b"authtype").lower() == b"md5":
            return "" if user.check_key(self._challenge, request.get(b"key")) else "wrong key"
        return "" if user.check_secret(request.get(b"secret")) else "wrong secret"

    def _refuse(self, request: Request, message: bytes, at: float, name: str, reason: str) -> LoginFailed:
        self.refusal, self.deadline = responses.error(request.action_id, message), at
        return LoginFailed(name, reason)
