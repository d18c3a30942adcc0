"""The iterator of changes of the live state for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from amid.client import protocol
from amid.client.changes import Change, wait_of
from amid.client.view import View
from amid.errors import AmidError


class AsyncChanges(AsyncIterator[Change]):
    """`Changes` for asyncio: an async iterator with the same `view`, created by
    `AsyncClient.changes`."""

    def __init__(self, call: Callable[[protocol.Call], Coroutine[Any, Any, Any]], view: View, timeout: float | None) -> None:
        self.view = view
        self._call = call
        self._timeout = timeout
        self._changes: Iterator[Change] = iter(())

    async def __anext__(self) -> Change:
        began = time.monotonic()
        while True:
            change = next(self._changes, None)
            if change is not None:
                return change
            left = wait_of(self._timeout, began)
            try:
                self._changes = self.view.take(await self._call(self.view.request(left)))
            except AmidError as error:
                await asyncio.sleep(min(self.view.refused(error), max(0.0, left)))
