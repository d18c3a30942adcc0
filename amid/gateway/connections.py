"""Open connections and their owners. Pure: a transport is any object that can report its state and
be closed.

A connection is a stranger's until a request on it carries a token or a session. Strangers have a
pool of their own (max_strangers in [gateway]), so that they cannot exhaust the connections of
authenticated clients. When the pool is full, a new connection evicts the oldest one of the network
that has the most. The new connection may send one request; a valid token takes it out of the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from amid.errors import AmidError

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""Unread bytes of responses that one token may have on all its connections."""
MAX_PIPELINED_BYTES = 64 * 1024
"""Unread bytes of responses on a connection above which its next request is refused."""


class Transport(Protocol):
    """The part of `asyncio.Transport` that is used here."""

    def is_closing(self) -> bool: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class Connections:
    """The open connections. `evicted` counts evicted strangers. Closed connections are removed when
    room is needed."""

    def __init__(self, max_strangers: int, max_per_token: int) -> None:
        self._max_strangers = max_strangers
        self._max_per_token = max_per_token
        self._strangers: dict[Transport, str] = {}  # oldest first
        self._owned: dict[str, dict[Transport, bytes | None]] = {}
        self.evicted = 0

    def opened(self, transport: Transport, network: str) -> None:
        """Register a new connection from `network`."""
        if len(self._strangers) >= self._max_strangers:
            self._strangers = {one: where for one, where in self._strangers.items() if not one.is_closing()}
        if len(self._strangers) >= self._max_strangers:
            self._evict()
        self._strangers[transport] = network

    def identify(self, transport: Transport, token: str, session: bytes | None = None) -> None:
        """Assign a connection to the token or session of its request. Raises `AmidError` of kind
        `busy`."""
        if transport.get_write_buffer_size() > MAX_PIPELINED_BYTES:
            raise AmidError("busy", "the last response on this connection is still unread: read responses as they arrive")
        own = self._owned.setdefault(token, {})
        if transport not in own and len(own) >= self._max_per_token:
            self._owned[token] = own = {one: mark for one, mark in own.items() if not one.is_closing()}
        if transport not in own and len(own) >= self._max_per_token:
            what = f"{token!r} has {len(own)} open connections, the maximum (max_connections_per_token in [gateway])"
            raise AmidError("busy", what)
        self._strangers.pop(transport, None)
        for others in self._owned.values():
            others.pop(transport, None)
        own[transport] = session

    def check_unread(self, token: str, count: int) -> None:
        """Raise `AmidError` of kind `too_large` when a response of `count` bytes would exceed the
        token's limit of unread bytes."""
        unread = sum(one.get_write_buffer_size() for one in self._owned.get(token, {}) if not one.is_closing())
        if unread + count > MAX_UNREAD_BYTES:
            what = f"the response has {count} bytes, and {token!r} has {unread} bytes unread: read responses as they arrive"
            raise AmidError("too_large", what, sent=True)

    def end_session(self, session: bytes, besides: Transport) -> None:
        """Close the connections of an ended session, with their streams and open calls."""
        for own in self._owned.values():
            for transport in [one for one, mark in own.items() if mark == session and one is not besides]:
                transport.close()

    def count(self) -> dict[str, int]:
        """The number of open connections, of strangers and of tokens."""
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
