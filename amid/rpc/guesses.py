"""Wrong tokens and secrets, which are counted and delayed by the network that they come from. Pure:
time is an argument."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

FORGET_S = 60.0
"""Seconds after which a network's wrong tokens are forgotten."""
MAX_DELAY_S = 5.0
"""The longest delay in seconds between the answers to two wrong tokens."""
LOCK_OVER_S = 10.0
"""Backlog of delayed answers, in seconds, above which further unknown tokens of the network are
refused unseen."""
REMEMBERED = 10_000
"""The number of networks that are remembered, for wrong and for valid tokens each."""


class Guesses:
    """Wrong tokens or secrets by network. `count` is the total. first_s: delay of the first answer.

    The answers to wrong tokens of one network are sent one after the other with a growing delay,
    however many requests arrive at a time. When the backlog of delayed answers is long, further
    tokens of the network are refused unseen, so that many connections cannot guess faster than one.
    A token that was valid from this network before is exempt, because its user may share the
    network with an attacker.
    """

    def __init__(self, first_s: float = 0.1) -> None:
        self._first_s = first_s
        self.count = 0
        self._recent: dict[str, _Recent] = {}
        self._right: dict[tuple[str, bytes], None] = {}

    def locked_s(self, network: str, token: bytes, now: float) -> float:
        """Seconds for which a token with this digest is refused unseen; 0 when it is compared."""
        recent = self._recent.get(network)
        waiting = recent.answered_at - now if recent is not None else 0.0
        return waiting if waiting > LOCK_OVER_S and (network, token) not in self._right else 0.0

    def failed(self, network: str, now: float) -> float:
        """Count a wrong token. Returns the delay of its answer: at most `LOCK_OVER_S` + `MAX_DELAY_S` seconds."""
        self.count += 1
        last = self._recent.pop(network, _Recent(0, now, now))
        tries = last.tries + 1 if now - last.at < FORGET_S else 1
        answered_at = max(last.answered_at, now) + min(MAX_DELAY_S, self._first_s * 2.0 ** min(tries - 1, 10))
        answered_at = min(answered_at, now + LOCK_OVER_S + MAX_DELAY_S)
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


def plain_address(address: str) -> str:
    """Convert an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), as a dual-stack socket reports it,
    to IPv4."""
    return address.removeprefix("::ffff:")


def network_of(address: str) -> str:
    """The network of an address: the IPv4 address, or the first 64 bits of an IPv6 address (RFC
    4291, 2.5.4), which one machine may own."""
    try:
        found = ipaddress.ip_address(plain_address(address).partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 or found.is_loopback else str(ipaddress.ip_network((found, 64), strict=False))
