"""The iterator of changes of the live state for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from amid.client import protocol
from amid.client.changes import Change
from amid.client.event import WAIT_S
from amid.client.view import View
from amid.errors import AmidError


class AsyncChanges(AsyncIterator[Change]):
    """`Changes` for asyncio, made by `AsyncClient.changes`."""

    def __init__(self, call: Callable[[protocol.Call], Coroutine[Any, Any, Any]], view: View) -> None:
        self.view = view
        self._call = call
        self._changes: Iterator[Change] = iter(())

    async def __anext__(self) -> Change:
        while (change := next(self._changes, None)) is None:
            try:
                self._changes = self.view.take(await self._call(self.view.request(WAIT_S)))
            except AmidError as error:
                await asyncio.sleep(self.view.refused(error))
        return change
