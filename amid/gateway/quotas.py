"""Limits for each token: open calls, and bytes of their bodies. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from amid.errors import AmidError

BODIES = 16
"""Number of bodies of the maximum size that one token may have open."""


class Quotas:
    """Open calls and bytes of bodies by the name of their token."""

    def __init__(self, max_calls: int, max_body_bytes: int) -> None:
        self._max_calls = max_calls
        self._max_bytes = BODIES * max_body_bytes
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def call(self, token: str) -> Iterator[Call]:
        """Count a call while it is open. Raises `AmidError` of kind `busy`."""
        if self._calls[token] >= self._max_calls:
            raise AmidError("busy", f"{token!r} has {self._max_calls} open calls, the maximum (max_calls_per_token in [gateway])")
        call = Call(self, token)
        self._calls[token] += 1
        try:
            yield call
        finally:
            self._calls[token] -= 1
            self._bytes[token] -= call.body_bytes

    def reserve(self, token: str, count: int) -> None:
        if self._bytes[token] + count > self._max_bytes:
            what = f"{token!r} has {self._bytes[token]} bytes of open requests, the maximum; wait for their responses"
            raise AmidError("busy", what)
        self._bytes[token] += count


class Call:
    """An open call. `body_bytes`: bytes of its body so far."""

    def __init__(self, quotas: Quotas, token: str) -> None:
        self._quotas = quotas
        self._token = token
        self.body_bytes = 0

    def reserve(self, count: int) -> None:
        """Count further bytes of the body. Raises `AmidError` of kind `busy`."""
        self._quotas.reserve(self._token, count)
        self.body_bytes += count
