"""Turns for requests that read many files, so that the requests of one caller delay no others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary


class Turns:
    """At most `concurrent` requests have a turn at a time. No more of one caller wait among those of
    all callers, which have turns in the order in which they began to wait."""

    def __init__(self, concurrent: int) -> None:
        self._concurrent = concurrent
        self._all = asyncio.Semaphore(concurrent)
        self._of_callers: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def take(self, principal: str) -> AsyncIterator[None]:
        """Have a turn for a request of this principal."""
        own = self._of_callers.setdefault(principal, asyncio.Semaphore(self._concurrent))
        async with own, self._all:
            yield
