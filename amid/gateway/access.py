"""Whose token it is, and what that one may do. Pure: it knows no HTTP and no clock.

Tokens are compared by their digests, all of them each time, so that the time taken tells nothing about a token. Failures are
counted and slowed: who guesses from one address waits longer with each try.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from amid.config import Token
from amid.errors import AmidError
from amid.gateway.sessions import digest
from amid.rpc.policy import check_action, check_admin, matches
from amid.rpc.requests import ActionParams, Params

FORGET_S = 60.0
"""Seconds after an address's last failure until it is forgotten."""
SLOWEST_S = 5.0
"""Seconds that an answer to a wrong token waits at most."""
ADDRESSES = 10_000
"""Addresses remembered."""


@dataclass(frozen=True)
class Holder:
    """Who holds a token: its name in the tokens' file, and its rights."""

    name: str
    rights: Token

    def check(self, method: str, params: Params) -> None:
        """Raise `AmidError` of kind `denied` unless this one may call `method` with these `params`."""
        if method in ("restart", "audit"):
            check_admin(method, self.name, self.rights)
        if isinstance(params, ActionParams):
            check_action(params.action, params.fields, self.name, {self.name: self.rights})
        if method == "actions":
            check_action("ListCommands", {}, self.name, {self.name: self.rights})
        if method == "replay" and (self.rights.events_allow or self.rights.events_deny):
            raise AmidError("denied", f"{self.name!r} may have some events only, and `replay` would give all: use /v1/events")

    def hears(self, event: str) -> bool:
        """Whether this one may have events of this name."""
        rights, name = self.rights, event.lower()
        if any(matches(pattern.lower(), name) for pattern in rights.events_deny):
            return False
        return not rights.events_allow or any(matches(pattern.lower(), name) for pattern in rights.events_allow)


class Access:
    """`tokens`: by name, as the tokens' file has them."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._holders = [(digest(token.token), Holder(name, token)) for name, token in tokens.items()]

    def holder(self, presented: str) -> Holder | None:
        """Whose token that is; None when it is nobody's."""
        mark, found = digest(presented), None
        for known, holder in self._holders:
            if hmac.compare_digest(known, mark):
                found = holder
        return found

    def named(self, name: str, token: bytes) -> Holder | None:
        """The holder of this name, if it still has the token with this digest."""
        return next((holder for known, holder in self._holders if holder.name == name and known == token), None)


@dataclass
class Failures:
    """Wrong tokens by address. `count` is of all."""

    count: int = 0
    _recent: dict[str, tuple[int, float]] = field(default_factory=dict)

    def failed(self, address: str, now: float) -> float:
        """A wrong token came from `address`: the seconds that its answer waits."""
        self.count += 1
        tries, last = self._recent.pop(address, (0, now))
        tries = tries + 1 if now - last < FORGET_S else 1
        self._recent[address] = tries, now
        while len(self._recent) > ADDRESSES:
            del self._recent[next(iter(self._recent))]
        return float(min(SLOWEST_S, 0.1 * 2 ** min(tries - 1, 10)))
