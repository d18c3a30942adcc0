"""A user of the listener: a section as in manager.conf, with amid's additions."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

from amid.manager.classes import parse_classes
from amid.manager.event_filter import EventFilter
from amid.manager.user_entry import UserEntry

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class User:
    """A user that can log in. key: the name without case. read, write: bits of
    classes. entry: has the lists of rules."""

    def __init__(self, name: str, entry: UserEntry) -> None:
        self.name = name
        self.key = name.lower()
        self.entry = entry
        self.read = parse_classes(entry.read.encode())
        self.write = parse_classes(entry.write.encode())
        self._secret = entry.secret.encode()
        self._access = [(permitted, ipaddress.ip_network(network)) for permitted, network in entry.access]

    def new_filters(self) -> list[EventFilter]:
        """The compiled filters with which a session begins."""
        return [make_filter(*each) for each in self.entry.eventfilters]

    def may_connect_from(self, address: str) -> bool:
        """The last matching line decides; without one the address is allowed (`ast_apply_ha`,
        main/acl.c)."""
        allowed = True
        found = ipaddress.ip_address(address.partition("%")[0])
        for permitted, network in self._access:
            if found.version == network.version and found in network:
                allowed = permitted
        return allowed

    def check_secret(self, secret: bytes) -> bool:
        return bool(self._secret) and hmac.compare_digest(secret, self._secret)

    def check_key(self, challenge: bytes, key: bytes) -> bool:
        """Whether `key` is the MD5 of the challenge and the secret, in lower-case hexadecimal."""
        expected = hashlib.md5(challenge + self._secret, usedforsecurity=False).hexdigest().encode()
        return bool(self._secret and challenge and key) and hmac.compare_digest(key, expected)

    def digest(self) -> bytes:
        """A digest of the name and the secret."""
        return hashlib.sha256(self.name.encode() + b"\0" + self._secret).digest()


def make_filter(pattern: str, criteria: str | None) -> EventFilter:
    """Raises `FilterError`."""
    return EventFilter(pattern.encode(), None if criteria is None else criteria.encode())
