"""What all sessions of the listener share: users, the Asterisks, and counts of wrong secrets."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from amid.ami.session import new_action_id
from amid.manager.action_ids import ActionIds
from amid.manager.commands import Commands
from amid.manager.user import User
from amid.rpc.guesses import Guesses

FIRST_DELAY_S = 1.0
"""Asterisk's delay of the answer to a wrong secret. Here every further one of a network and user is
delayed longer."""
_FILTER_CRITERIA_SINCE = {20: 11, 21: 6, 22: 1}
"""Releases in which Filter has MatchCriteria: major -> minor; 23 and later have it."""
_STRICT_SINCE = {18: 24, 20: 9, 21: 4}
"""Releases with the longer lists of arguments that require the class `system` (CVE-2024-42365):
major -> minor; 22 and later have them."""


@dataclass
class Upstream:
    """One Asterisk.

    version: of its manager interface, "" until it is known. release: of Asterisk itself.
    is_certified: whether it is a certified release, whose numbers do not tell its fixes. booted_at,
    reloaded_at: in monotonic seconds.
    """

    version: str = ""
    release: tuple[int, int] = (22, 1)
    is_certified: bool = False
    booted: bool = False
    booted_at: float = 0.0
    reloaded_at: float = 0.0
    commands: Commands = field(default_factory=Commands)
    ids: ActionIds = field(default_factory=ActionIds)

    @property
    def is_known(self) -> bool:
        """Whether clients can be served: the greeting needs the version, and rights the actions."""
        return bool(self.version and self.commands)

    def ages(self, now: float) -> tuple[int, int]:
        """Seconds since its boot and since its last reload."""
        return max(0, int(now - self.booted_at)), max(0, int(now - self.reloaded_at))

    @property
    def has_filter_criteria(self) -> bool:
        major, minor = self.release
        return major > 22 or minor >= _FILTER_CRITERIA_SINCE.get(major, minor + 1)

    @property
    def is_strict(self) -> bool:
        """Whether more arguments require the class `system`."""
        major, minor = self.release
        return self.is_certified or major >= 22 or minor >= _STRICT_SINCE.get(major, minor + 1)


@dataclass
class Limits:
    """auth_timeout_s: time to log in. open_actions: of one client. action_timeout_s: for an answer
    of Asterisk.

    hold_s: how long events wait for the answer of an action that may have caused them. hold_own_s:
    the same for events with its ActionID. hold_bytes: limit of such events of one client. order_s:
    how long an action waits for the answer to the one before it.
    """

    auth_timeout_s: float = 30.0
    open_actions: int = 100
    action_timeout_s: float = 300.0
    hold_s: float = 0.1
    hold_own_s: float = 2.0
    hold_bytes: int = 1024 * 1024
    order_s: float = 0.2


def new_challenge() -> bytes:
    """Decimal digits; Asterisk uses at most nine."""
    return str(secrets.randbelow(10**9)).encode()


class Manager:
    """first: the server whose version is in the greeting, which is sent before a login.

    logged_in: the number of sessions of each user, by its key.
    """

    def __init__(self, first: str, servers: Iterable[str], limits: Limits, wire_id: Callable[[], str] = new_action_id) -> None:
        self.first = first
        self.limits = limits
        self.upstreams = {name: Upstream() for name in servers}
        self.guesses = Guesses(FIRST_DELAY_S)
        self.new_wire_id = wire_id
        self.new_challenge = new_challenge
        self.logged_in: Counter[str] = Counter()
        self._users: dict[str, User] = {}

    def set_servers(self, first: str, servers: Iterable[str]) -> None:
        """Change the servers; those that stay keep what is known of them."""
        self.first = first
        self.upstreams = {name: self.upstreams.get(name) or Upstream() for name in servers}

    def set_users(self, users: Iterable[User]) -> None:
        self._users = {user.key: user for user in users}

    def user(self, name: str) -> User | None:
        """The user of this name, without regard to case."""
        return self._users.get(name.lower())

    def upstream_of(self, user: User) -> Upstream:
        return self.upstreams[user.entry.server or self.first]

    @property
    def is_ready(self) -> bool:
        """Whether clients can be greeted."""
        return self.upstreams[self.first].is_known

    @property
    def version(self) -> str:
        return self.upstreams[self.first].version
