"""Records one server: requests the events after the last one on disk, stores them, and waits one
second. So a quiet PBX costs one transaction a second, and a busy one few large ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amid.client import AsyncClient
from amid.client.event import TEMPORARY_ERRORS
from amid.errors import AmidError
from amid.events.replay_buffer import Cursor
from amid.history.fold import Fold
from amid.outage import WITHIN_DAEMON_S, no_events
from amid.process.loop import clock
from amid.process.settings import RecorderSettings
from amid.recorder.archive import Archive
from amid.recorder.claim import Claim
from amid.recorder.day_file import Batch
from amid.recorder.feed import Feed
from amid.recorder.recording import Recording
from amid.recorder.replay import RecordedFiles
from amid.recorder.store import Store, StoreError

log = logging.getLogger("amid.recorder")

COMMIT_S = 1.0
"""Seconds between two transactions of a server, when all of its events are stored."""
WAIT_S = 5.0
"""Timeout of a request for events, in seconds."""
PAUSE_S = 0.5
"""Seconds before a failed request is repeated."""
RETRY_S = 5.0
"""Seconds after which recording resumes when a file could not be written."""
SETTLE_S = 1.0
"""Seconds within which the Hangup of a channel arrives after Asterisk stopped listing it."""
PENDING_S = 0.2
"""Seconds that a request for events waits for what is being written, or for the last number."""


class ServerRecorder:
    """Records one server. in_writer: calls a function in the thread that writes. report_problem: takes
    the server, and why it is not recorded, "" if it is."""

    def __init__(
        self, settings: RecorderSettings, server: str, in_writer: Callable[..., Any], report_problem: Callable[[str, str], object]
    ) -> None:
        self._server = server
        self._in_writer = in_writer
        self._report_problem = report_problem
        self._store = Store(Path(settings.directory), server)
        self._claim = Claim(Path(settings.directory), server)
        self._recording = Recording(server, settings.recorder.leave_out)
        self._feed = Feed(settings.run_dir, server)
        self._probe = Feed(settings.run_dir, server)
        self._client = AsyncClient(settings.run_dir)
        self._failed = ""
        self._outage = no_events(log, server, WITHIN_DAEMON_S)
        self._committed = Cursor(0, 0)
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._probing = asyncio.Lock()
        self.files = RecordedFiles(Archive(Path(settings.directory), server))

    async def run(self) -> None:
        while True:
            try:
                cursor, calls = await self._in_writer(self._load)
                self._recording.resume(cursor, calls)
                self._committed = cursor or Cursor(0, 0)
                await self._follow()
            except StoreError as error:
                self._report(f"recording has stopped: {error}; retrying every {RETRY_S:g} s")
                await asyncio.sleep(RETRY_S)

    def _load(self) -> tuple[Cursor | None, Fold]:
        """Claim and read the files. Raises `StoreError`."""
        self._store.make_directory()
        self._claim.take()
        return self._store.load()

    async def refresh(self, within_s: float) -> None:
        """Store all events that the daemon has, before a request is answered."""
        try:
            async with asyncio.timeout(within_s):
                latest = await self._latest()
                self._wake.set()
                await self._until_committed(latest)
        except (TimeoutError, AmidError):
            log.debug("%s: the answer may lack the last events", self._server)

    @property
    def is_refused(self) -> bool:
        """Whether another amid has the files of this server."""
        return self._claim.is_refused

    async def write_pending(self) -> bool:
        """Wait until the events are stored that were received. False if they may be stored later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PENDING_S):
                await self._until_committed(self._recording.cursor or Cursor(0, 0))
                return True
        return bool(self._failed) or self._outage.lasts

    async def may_have_more(self, cursor: Cursor) -> bool:
        """Whether the daemon may have events after a cursor."""
        try:
            async with asyncio.timeout(PENDING_S):
                return cursor < await self._latest()
        except (TimeoutError, AmidError):
            return True

    async def _latest(self) -> Cursor:
        """The last event that the daemon has."""
        async with self._probing:
            page = await self._probe.pull(None, 0.0)
        return Cursor(page.epoch, page.seq)

    async def _until_committed(self, cursor: Cursor) -> None:
        while self._committed < cursor:
            self._written.clear()
            await self._written.wait()

    async def close(self) -> None:
        await self._client.close()
        self._feed.close()
        self._probe.close()
        await self._in_writer(self._store.close)
        self._claim.release()

    async def _follow(self) -> None:
        """Raises `StoreError`."""
        while True:
            try:
                page = await self._feed.pull(self._recording.cursor, WAIT_S if self._recording.cursor else 0.0)
            except AmidError as error:
                self._outage.failed(error.message)
                await asyncio.sleep(PAUSE_S)
                continue
            self._outage.succeeded()
            await self._write(self._recording.feed_page(page, clock.wall()))
            self._report("")
            if self._recording.needs_channel_list and not page.more:
                await self._end_gone_channels()
            self._written.set()
            if not page.more:
                await self._sleep()

    async def _write(self, batch: Batch) -> None:
        store, open_calls = self._store, self._recording.open_calls
        await self._in_writer(store.commit, batch, open_calls)
        self._committed = batch.cursor

    async def _sleep(self) -> None:
        """Wait one second, or until a request needs the last events."""
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _end_gone_channels(self) -> None:
        """End the channels that hung up in a gap. A list is never older than the events before it,
        so a channel that is not in it, and that no later event ends, is gone."""
        before = self._recording.live_channels
        self._recording.needs_channel_list = False
        if not before:
            return
        try:
            listed = await self._client.action("CoreShowChannels", server=self._server)
            gone = before - {str(channel.get("Uniqueid")) for channel in listed["events"]}
            await asyncio.sleep(SETTLE_S)
            page = await self._feed.pull(self._recording.cursor, 0.0)
        except AmidError as error:
            self._recording.needs_channel_list = error.kind in TEMPORARY_ERRORS
            if not self._recording.needs_channel_list:
                log.warning("%s: calls that ended while events were missing remain open in the recordings: %s", self._server, error)
            return
        await self._write(self._recording.feed_page(page, clock.wall()))
        await self._write(self._recording.hang_up(gone, clock.wall()))

    def _report(self, failure: str) -> None:
        """Log a failure once, and its end; `amid status` shows it meanwhile. failure: empty for none."""
        if failure and not self._failed:
            log.error("%s: %s", self._server, failure)
        elif self._failed and not failure:
            log.info("%s: recording resumed", self._server)
        if failure != self._failed:
            self._report_problem(self._server, failure and f"{self._server}: {failure}")
        self._failed = failure
