"""Whose token it is, and what that one may do. Pure: it knows no HTTP and no clock.

Tokens are compared by their digests, all of them each time, so that the time taken tells nothing about a token. Guesses are
counted and slowed.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from amid.config import Token
from amid.errors import AmidError
from amid.gateway.sessions import digest
from amid.rpc.policy import check_action, check_admin, matches
from amid.rpc.requests import ActionParams, Params

FORGET_S = 60.0
"""Seconds after a network's last wrong token until it is forgotten."""
SLOWEST_S = 5.0
"""Seconds that an answer to a wrong token waits at most behind the one before it."""
LONGEST_S = 10.0
"""Seconds that the last wrong token may have to wait before no further one is compared."""
REMEMBERED = 10_000
"""Networks of wrong tokens, and of right ones, that are remembered."""


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


class Guesses:
    """Wrong tokens by network. `count` is of all.

    Wrong tokens of one network are answered one after the other, each later than the last one, however many come at a time. When
    the last one has long to wait, no further token from there is compared, so that many connections try no more than one. A token
    that was right from there before is exempt: its holder may share the network with whoever guesses.
    """

    def __init__(self) -> None:
        self.count = 0
        self._recent: dict[str, _Recent] = {}
        self._right: dict[tuple[str, bytes], None] = {}

    def locked_s(self, network: str, token: bytes, now: float) -> float:
        """The seconds for which a token of this digest is not compared; 0 when it may be."""
        recent = self._recent.get(network)
        waiting = recent.answered_at - now if recent is not None else 0.0
        return waiting if waiting > LONGEST_S and (network, token) not in self._right else 0.0

    def failed(self, network: str, now: float) -> float:
        """A wrong token came: the seconds that its answer waits."""
        self.count += 1
        last = self._recent.pop(network, _Recent(0, now, now))
        tries = last.tries + 1 if now - last.at < FORGET_S else 1
        answered_at = max(last.answered_at, now) + min(SLOWEST_S, 0.1 * 2.0 ** min(tries - 1, 10))
        self._recent[network] = _Recent(tries, now, answered_at)
        _forget_oldest(self._recent)
        return answered_at - now

    def succeeded(self, network: str, token: bytes) -> None:
        """A right token came."""
        self._right.pop((network, token), None)
        self._right[network, token] = None
        _forget_oldest(self._right)


class _Recent(NamedTuple):
    """`at`: when the last wrong token came; `answered_at`: when it is answered."""

    tries: int
    at: float
    answered_at: float


def _forget_oldest(known: dict[Any, Any]) -> None:
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
