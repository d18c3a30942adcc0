"""Past events for streams, fetched from the daemon in small pages.

Many streams may come back at once, each from far behind, and send what they get at the pace of a
slow browser. So a stream holds one page, of at most `PAGE` events and about `PAGE_BYTES`, and at most
`REQUESTS` pages are fetched at a time over all streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from amid.client import AsyncClient, Gap, rules
from amid.client.feed import event as event_of
from amid.client.recovery import Recovery
from amid.errors import AmidError
from amid.gateway.backlog import Cursor, Item, size_bytes

PAGE = 100
PAGE_BYTES = 256 * 1024
REQUESTS = 4


class Replay:
    """`between` gives what a stream missed."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._requests = asyncio.Semaphore(REQUESTS)

    async def between(self, server: str, at: Cursor, target: Cursor) -> AsyncIterator[Item]:
        """What lies behind `at`, up to `target`, with a gap in the place of what the daemon no longer holds."""
        recovery = Recovery()
        recovery.begin(_gaps(server, at, target))
        while (ask := recovery.ask) is not None:
            await asyncio.sleep(recovery.pause)
            try:
                events, more = await self._page(ask._replace(limit=PAGE))
            except AmidError as error:
                recovery.refused(error)
                continue
            for body in recovery.page(events, more):
                event = event_of(body)
                for gap in _gaps(server, at, Cursor(event.epoch, event.seq - 1)):
                    yield Item(gap)
                at = Cursor(event.epoch, event.seq)
                yield Item(event)
        for gap in _gaps(server, at, target):
            yield Item(gap)

    async def _page(self, ask: tuple[str, int, int, int]) -> tuple[list[dict[str, Any]], bool]:
        """The events of a page, and whether there are more behind them."""
        async with self._requests:
            page = await self._client.call(rules.replay(*ask, rules.TIMEOUT))
            events = _first_bytes(page["events"])
            return events, page["more"] or len(events) < len(page["events"])


def _first_bytes(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of the events, up to the one with which they have `PAGE_BYTES`."""
    held = 0
    for number, event in enumerate(events, 1):
        held += size_bytes(event["fields"])
        if held >= PAGE_BYTES:
            return events[:number]
    return events


def _gaps(server: str, at: Cursor, until: Cursor) -> list[Gap]:
    """What lies between the two: nothing, a gap, or the unknown end of one epoch and the beginning of
    the other. The epoch of a client's cursor may be the greater one: it is another daemon's.
    """
    gaps = []
    if at.epoch != until.epoch:
        gaps.append(Gap(server, at.epoch, at.seq, None, None, "the event session was replaced"))
        at = Cursor(until.epoch, 0)
    if at.seq < until.seq:
        gaps.append(Gap(server, at.epoch, at.seq, until.seq, until.seq - at.seq, "no longer held"))
    return gaps
