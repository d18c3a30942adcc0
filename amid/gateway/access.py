"""Tokens and their rights. Pure: no HTTP and no clock.

A token is compared by its digest with every known token, so that the time taken reveals nothing
about a token. Guesses are counted and delayed.
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
from amid.rpc.requests import ActionParams, EventsParams, Params

FORGET_S = 60.0
"""Seconds after which a network's wrong tokens are forgotten."""
MAX_DELAY_S = 5.0
"""The longest delay in seconds between the answers to two wrong tokens."""
LOCK_OVER_S = 10.0
"""Backlog of delayed answers, in seconds, above which further unknown tokens of the network are
refused unseen."""
REMEMBERED = 10_000
"""The number of networks that are remembered, for wrong and for valid tokens each."""


@dataclass(frozen=True)
class Principal:
    """The identity that a token proves: its name in the tokens file, and its rights."""

    name: str
    rights: Token

    def check(self, method: str, params: Params) -> None:
        """Raise `AmidError` of kind `denied` unless this principal may call `method` with `params`."""
        if method in ("restart", "audit"):
            check_admin(method, self.name, self.rights)
        if isinstance(params, ActionParams):
            check_action(params.action, params.fields, self.name, {self.name: self.rights})
        if method == "actions":
            check_action("ListCommands", {}, self.name, {self.name: self.rights})
        if isinstance(params, EventsParams) and not self._may_pull(params.names):
            raise AmidError("denied", f"{self.name!r} may receive some events only: list them in `names`, or use /v1/events")

    def _may_pull(self, names: list[str] | None) -> bool:
        if not (self.rights.events_allow or self.rights.events_deny):
            return True
        return names is not None and all(map(self.may_receive, names))

    def may_receive(self, event: str) -> bool:
        """Whether this principal may receive events of this name. Names are case-folded, as in the
        daemon (`replay_buffer.NamesFolder`)."""
        rights, name = self.rights, event.casefold()
        if any(matches(pattern.casefold(), name) for pattern in rights.events_deny):
            return False
        return not rights.events_allow or any(matches(pattern.casefold(), name) for pattern in rights.events_allow)


class Access:
    """The known tokens. tokens: by name, as in the tokens file."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._principals = [(digest(token.token), Principal(name, token)) for name, token in tokens.items()]

    def principal(self, presented: str) -> Principal | None:
        """The principal of a token; None for an unknown token."""
        presented_digest, found = digest(presented), None
        for known, principal in self._principals:
            if hmac.compare_digest(known, presented_digest):
                found = principal
        return found

    def named(self, name: str, token: bytes) -> Principal | None:
        """The principal of this name, if its token still has this digest."""
        return next((principal for known, principal in self._principals if principal.name == name and known == token), None)


class Guesses:
    """Wrong tokens by network. `count` is the total.

    The answers to wrong tokens of one network are sent one after the other with a growing delay,
    however many requests arrive at a time. When the backlog of delayed answers is long, further
    tokens of the network are refused unseen, so that many connections cannot guess faster than one.
    A token that was valid from this network before is exempt, because its user may share the
    network with an attacker.
    """

    def __init__(self) -> None:
        self.count = 0
        self._recent: dict[str, _Recent] = {}
        self._right: dict[tuple[str, bytes], None] = {}

    def locked_s(self, network: str, token: bytes, now: float) -> float:
        """Seconds for which a token with this digest is refused unseen; 0 when it is compared."""
        recent = self._recent.get(network)
        waiting = recent.answered_at - now if recent is not None else 0.0
        return waiting if waiting > LOCK_OVER_S and (network, token) not in self._right else 0.0

    def failed(self, network: str, now: float) -> float:
        """Count a wrong token. Returns the delay of its answer in seconds."""
        self.count += 1
        last = self._recent.pop(network, _Recent(0, now, now))
        tries = last.tries + 1 if now - last.at < FORGET_S else 1
        answered_at = max(last.answered_at, now) + min(MAX_DELAY_S, 0.1 * 2.0 ** min(tries - 1, 10))
        self._recent[network] = _Recent(tries, now, answered_at)
        _forget_oldest(self._recent)
        return answered_at - now

    def succeeded(self, network: str, token: bytes) -> None:
        """Remember a valid token."""
        self._right.pop((network, token), None)
        self._right[network, token] = None
        _forget_oldest(self._right)


class _Recent(NamedTuple):
    """`at`: time of the last wrong token. `answered_at`: time of its answer. In seconds."""

    tries: int
    at: float
    answered_at: float


def _forget_oldest(known: dict[Any, Any]) -> None:
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
