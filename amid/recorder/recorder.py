"""The process `recorder`, one for all servers: a client like any other, and a service of the broker.

`python -m amid recorder` is started by the supervisor, or by hand with a configuration, for
debugging.

A task for each server requests the events after the last one on disk, stores them, and waits one
second. So a quiet PBX costs one transaction a second, and a busy one few large ones. One thread
writes the files and others read them, so a slow disk delays neither the beat nor the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from amid.client import AsyncClient
from amid.client.event import TEMPORARY_ERRORS
from amid.config.tables import Config
from amid.errors import AmidError
from amid.events.replay_buffer import Cursor
from amid.history.fold import Fold
from amid.outage import WITHIN_DAEMON_S, Outage, no_events
from amid.process import loop
from amid.process.child import Child
from amid.process.loop import clock, start_task
from amid.process.service import Service
from amid.process.settings import RecorderSettings, recorder_settings
from amid.recorder.answers import answer
from amid.recorder.archive import Archive
from amid.recorder.claim import Claim
from amid.recorder.day_file import Batch
from amid.recorder.feed import Feed
from amid.recorder.recording import Recording
from amid.recorder.replay import RecordedFiles, RecordedPull
from amid.recorder.retention import SteadyClock, delete_outdated
from amid.recorder.store import Store, StoreError
from amid.rpc.messages import CallService, ServiceHello
from amid.rpc.requests import EventsParams, Params

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
RETENTION_S = 60.0
"""Seconds between two checks of the age and size of all files."""
PENDING_S = 0.2
"""Seconds that a request for events waits for what is being written, or for the last number."""
FILL_S = 0.1
"""Seconds after which a page with events, but fewer than its limit, is returned."""
CONCURRENT_REQUESTS = 2
"""Requests for events, and for calls, that are answered concurrently; each may read many files."""

METHODS = ["calls", "call", "events"]
"""`events`: of those that the reader no longer holds."""

T = TypeVar("T")


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


class Recorder:
    """The whole process. Created on the running loop; `run` returns when the process is to end."""

    def __init__(self, child: Child, settings: RecorderSettings) -> None:
        self._child = child
        self._settings = settings
        self._directory = Path(settings.directory)
        self._writer = ThreadPoolExecutor(1, "writer")
        self._readers = ThreadPoolExecutor(2 * CONCURRENT_REQUESTS, "reader")
        self._searches = asyncio.Semaphore(CONCURRENT_REQUESTS)
        self._pages = asyncio.Semaphore(CONCURRENT_REQUESTS)
        self._room = asyncio.Event()
        self._servers = {name: ServerRecorder(settings, name, self._in_writer, child.report_problem) for name in settings.servers}
        self._open: set[int] = set()
        hello = ServiceHello("recorder", METHODS)
        self._service = Service(settings.run_dir, hello, self._handle_call, self._forget, self._room.set)

    async def run(self) -> None:
        self._child.start()
        tasks = [start_task(server.run()) for server in self._servers.values()]
        tasks.append(start_task(self._delete_outdated()))
        await self._child.ended.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if not self._child.orphaned:
            for server in self._servers.values():
                await server.close()
            await self._service.close()

    def _in_writer(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._writer, function, *arguments)

    async def _delete_outdated(self) -> None:
        recorder, steady = self._settings.recorder, SteadyClock()
        outage = Outage(log, "cannot delete old recordings", "old recordings are deleted again", RETENTION_S, logging.ERROR)
        while True:
            keep_days = recorder.keep_days if steady.is_steady(clock.wall(), clock.monotonic()) else None
            try:
                await self._in_writer(delete_outdated, self._directory, clock.wall(), keep_days, recorder.bytes_to_keep)
                outage.succeeded()
            except OSError as error:
                outage.failed(f"{error.filename}: {error.strerror}")
            await asyncio.sleep(RETENTION_S)

    # ── requests ──

    def _handle_call(self, call: CallService, params: Params) -> None:
        if call.server not in self._servers:  # new in the configuration: this process is about to be replaced
            self._service.refuse(call, AmidError("not_connected", f"server {call.server} is not recorded yet; retry"))
            return
        self._open.add(call.call_id)
        start_task(self._answer(call, params))

    def _forget(self, call_id: int | None) -> None:
        self._open = set() if call_id is None else self._open - {call_id}

    async def _answer(self, call: CallService, params: Params) -> None:
        try:
            if isinstance(params, EventsParams):
                await self._answer_events(call, params)
            else:
                await self._answer_calls(call, params)
        except AmidError as error:
            self._service.refuse(call, error)
        self._open.discard(call.call_id)

    async def _answer_calls(self, call: CallService, params: Params) -> None:
        server = self._servers[call.server]
        await server.refresh(min(COMMIT_S, call.deadline - clock.monotonic()))
        async with self._turn(self._searches):
            if not self._is_awaited(call):
                return
            if server.is_refused:
                raise AmidError("not_connected", f"another amid records server {call.server}, in the same directory")
            result = await self._in_reader(answer, self._directory, call.server, params)
        if call.call_id in self._open:
            self._service.answer(call, result)

    async def _answer_events(self, call: CallService, params: EventsParams) -> None:
        server = self._servers[call.server]
        pull = RecordedPull(server.files, params, call.as_json)
        if server.is_refused and params.after is not None:
            self._service.pass_on(call, params.after.epoch, params.after.seq)
            return
        is_written = False
        while self._is_awaited(call) and not pull.is_done:
            async with self._turn(self._pages):
                is_written = await server.write_pending()
                filled = clock.monotonic() + FILL_S
                while self._is_awaited(call) and not pull.is_done and clock.monotonic() < filled:
                    await self._in_reader(pull.advance)
            if not pull.is_empty or clock.monotonic() >= call.end:
                break
        if pull.is_at_end and pull.is_empty and is_written:
            self._service.pass_on(call, *pull.cursor)
        elif self._is_awaited(call):
            more = not pull.is_at_end or not is_written or await server.may_have_more(pull.cursor)
            self._service.answer_encoded(call.call_id, pull.page(call.server, more))

    @contextlib.asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore) -> AsyncIterator[None]:
        """Wait for a turn, and until the broker has received earlier answers: large ones are made faster."""
        async with turns:
            while self._service.is_backlogged:
                self._room.clear()
                await self._room.wait()
            yield

    def _is_awaited(self, call: CallService) -> bool:
        """Whether its caller still waits for the answer."""
        return call.call_id in self._open and clock.monotonic() < call.deadline

    def _in_reader(self, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._readers, function, *arguments)


async def _run(by_hand: RecorderSettings | None) -> None:
    child = Child(by_hand)
    settings = msgspec.convert(child.configuration, RecorderSettings)
    child.set_up_log(process="recorder")
    await Recorder(child, settings).run()


def main(config: Config | None = None) -> None:
    loop.run_child(_run(recorder_settings(config) if config else None))
