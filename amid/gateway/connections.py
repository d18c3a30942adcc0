"""Open connections, and whose they are. Pure: a transport is whatever can be asked about itself and closed.

A connection is a stranger's until a request on it bears a token or a session. Strangers have a pool of their own, so that they
cannot take the room of those who have a token; when it is full, the oldest connection of the network that has the most gives way
to the new one. That one gets its first request in, and with a token it is a stranger's no longer.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from amid.errors import AmidError

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Bytes of answers that one token may leave unread, on all its connections."""
MAX_PIPELINED_BYTES = 64 * 1024
"""Bytes of answers that may be unread on a connection when its next request begins."""


class Transport(Protocol):
    """What is needed of `asyncio.Transport`."""

    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Connections:
    """`evicted` counts strangers' connections that gave way. Closed ones are forgotten when there is need for their room."""

    def __init__(self, max_strangers: int, max_per_token: int) -> None:
        self._max_strangers = max_strangers
        self._max_per_token = max_per_token
        self._strangers: dict[Transport, str] = {}  # the oldest first
        self._owned: dict[str, dict[Transport, bytes | None]] = {}
        self.evicted = 0

    def opened(self, transport: Transport, network: str) -> None:
        """A connection has come from `network`."""
        if len(self._strangers) >= self._max_strangers:
            self._strangers = {one: where for one, where in self._strangers.items() if not one.is_closing()}
        if len(self._strangers) >= self._max_strangers:
            self._evict()
        self._strangers[transport] = network

    def identify(self, transport: Transport, token: str, session: bytes | None = None) -> None:
        """A request on this connection bears the token of this name. Raises `AmidError` of kind `busy`."""
        if transport.get_write_buffer_size() > MAX_PIPELINED_BYTES:
            raise AmidError("busy", "the last answer on this connection has not been read yet: read answers as they come")
        own = self._owned.setdefault(token, {})
        if transport not in own and len(own) >= self._max_per_token:
            self._owned[token] = own = {one: mark for one, mark in own.items() if not one.is_closing()}
        if transport not in own and len(own) >= self._max_per_token:
            what = f"{token!r} has {len(own)} connections already (max_connections_per_token in [gateway])"
            raise AmidError("busy", what)
        self._strangers.pop(transport, None)
        for others in self._owned.values():
            others.pop(transport, None)
        own[transport] = session

    def check_unread(self, token: str, count: int) -> None:
        """Raise `AmidError` of kind `too_large` when an answer of `count` bytes is too much for the token to leave unread."""
        unread = sum(one.get_write_buffer_size() for one in self._owned.get(token, {}) if not one.is_closing())
        if unread + count > MAX_UNREAD_BYTES:
            what = f"there is an answer of {count} bytes, and {token!r} has {unread} bytes unread: read answers as they come"
            raise AmidError("too_large", what, sent=True)

    def end_session(self, session: bytes, besides: Transport) -> None:
        """Close the connections of a session that is over: streams, and calls that are under way."""
        for own in self._owned.values():
            for transport in [one for one, mark in own.items() if mark == session and one is not besides]:
                transport.close()

    def count(self) -> dict[str, int]:
        """Open connections, of strangers and of tokens."""
        owned = sum(_open(own) for own in self._owned.values())
        return {"connections_strangers": _open(self._strangers), "connections_tokens": owned}

    def _evict(self) -> None:
        (crowded, _), *_ = Counter(self._strangers.values()).most_common(1)
        oldest = next(one for one, network in self._strangers.items() if network == crowded)
        del self._strangers[oldest]
        oldest.abort()
        self.evicted += 1


def _open(transports: Iterable[Transport]) -> int:
    return sum(not one.is_closing() for one in transports)


def plain_address(address: str) -> str:
    """A socket that serves IPv6 and IPv4 shows an address of IPv4 as one of IPv6 (RFC 4291, 2.5.5.2)."""
    return address.removeprefix("::ffff:")


def network_of(address: str) -> str:
    """What one machine certainly has for itself: its address of IPv4, and of IPv6 the first 64 bits (RFC 4291, 2.5.4)."""
    try:
        found = ipaddress.ip_address(plain_address(address).partition("%")[0])
    except ValueError:
        return address
    return str(found) if found.version == 4 or found.is_loopback else str(ipaddress.ip_network((found, 64), strict=False))
