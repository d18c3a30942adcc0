"""Pulls past events from the daemon for streams that are behind, in small pages.

Many streams may reconnect at once, far behind, to slow browsers. Each stream therefore holds one
page of at most `PAGE` events and about `PAGE_BYTES`, and at most `REQUESTS` pages are fetched at a
time for all streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from amid.client import AsyncClient, Gap
from amid.client.event import PAUSE_S, TEMPORARY_ERRORS, as_event
from amid.client.results import EventsPage
from amid.errors import AmidError
from amid.gateway.backlog import Cursor, Item, size_bytes

PAGE = 100
PAGE_BYTES = 256 * 1024
REQUESTS = 4
WAIT_S = 2.0
"""Timeout in seconds for a page. The events exist already, but the reader may be busy with other
pages."""
TRIES = 8
"""Attempts for a page before its events are reported as a gap."""


class CatchUp:
    """Fetches the events that a stream missed."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._requests = asyncio.Semaphore(REQUESTS)

    async def between(self, server: str, at: Cursor, target: Cursor) -> AsyncIterator[Item]:
        """The events after `at` up to `target`, with a gap in place of events that the daemon no
        longer holds."""
        if at.epoch != target.epoch and not target.seq:
            yield Item(Gap(server, at.epoch, at.seq, None))  # and no event yet: to ask for one would be to wait for it
            return
        while at != target:
            page = await self._page(server, at)
            if page is None and at.epoch == target.epoch and at.seq > target.seq:
                at = Cursor(0, 0)  # no event has this number: its position is invalid
                continue
            if page is None:
                yield Item(Gap(server, at.epoch, at.seq, target.seq - at.seq if at.epoch == target.epoch else None))
                return
            if page["missed"] != 0:
                yield Item(Gap(server, at.epoch, at.seq, page["missed"]))
            at = Cursor(page["epoch"], page["seq"])
            for event in page["events"]:
                if event["epoch"] == target.epoch and event["seq"] > target.seq:
                    return
                yield Item(as_event(event))

    async def _page(self, server: str, at: Cursor) -> EventsPage | None:
        """The next page after `at`; None when the daemon does not deliver it."""
        after = at._asdict()
        for _ in range(TRIES):
            try:
                async with self._requests:
                    page = await self._client.pull(server, after, limit=PAGE, timeout=WAIT_S)
                if (page["epoch"], page["seq"]) != at:
                    return _first_bytes(page)
            except AmidError as error:
                if error.kind not in TEMPORARY_ERRORS:
                    return None
            await asyncio.sleep(PAUSE_S)
        return None


def _first_bytes(page: EventsPage) -> EventsPage:
    """The beginning of a page, up to the event that reaches `PAGE_BYTES`."""
    held = 0
    for number, event in enumerate(page["events"], 1):
        held += size_bytes(event["fields"])
        if held >= PAGE_BYTES and number < len(page["events"]):
            return {**page, "seq": event["seq"], "events": page["events"][:number], "more": True}
    return page
