"""The process `recorder`, one for all servers: a client like any other, and a service of the broker.

`python -m amid recorder` is started by the supervisor, or by hand with a configuration, for
debugging.

Each server has a task that records it (`server_recorder`). One thread writes the files and others
read them, so a slow disk delays neither the beat nor the answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from amid.config.tables import Config
from amid.errors import AmidError
from amid.outage import Outage
from amid.process import loop
from amid.process.child import Child
from amid.process.loop import clock, start_task
from amid.process.service import Service
from amid.process.settings import RecorderSettings, recorder_settings
from amid.recorder.answers import answer
from amid.recorder.replay import RecordedPull
from amid.recorder.retention import SteadyClock, delete_outdated
from amid.recorder.server_recorder import COMMIT_S, ServerRecorder
from amid.recorder.turns import Turns
from amid.rpc.messages import CallService, ServiceHello
from amid.rpc.requests import EventsParams, Params

log = logging.getLogger("amid.recorder")

RETENTION_S = 60.0
"""Seconds between two checks of the age and size of all files."""
FILL_S = 0.1
"""Seconds after which a page with events, but fewer than its limit, is returned."""
CONCURRENT_REQUESTS = 2
"""Requests for events, and for calls, that are answered concurrently; each may read many files."""

METHODS = ["calls", "call", "events"]
"""`events`: of those that the reader no longer holds."""

T = TypeVar("T")


class Recorder:
    """The whole process. Created on the running loop; `run` returns when the process is to end."""

    def __init__(self, child: Child[RecorderSettings], settings: RecorderSettings) -> None:
        self._child = child
        self._settings = settings
        self._directory = Path(settings.directory)
        self._writer = ThreadPoolExecutor(1, "writer")
        self._readers = ThreadPoolExecutor(2 * CONCURRENT_REQUESTS, "reader")
        self._searches = Turns(CONCURRENT_REQUESTS)
        self._pages = Turns(CONCURRENT_REQUESTS)
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
        async with self._turn(self._searches, call):
            if not self._is_awaited(call):
                return
            if server.is_refused:
                raise AmidError("not_connected", f"another amid records server {call.server}, in the same directory")
            result = await self._in_reader(answer, self._directory, call.server, params)
        if call.call_id in self._open:
            self._service.answer(call, result)

    async def _answer_events(self, call: CallService, params: EventsParams) -> None:
        server = self._servers[call.server]
        pull = RecordedPull(server.files, params, call.as_json, call.held)
        if server.is_refused and params.after is not None:
            self._service.pass_on(call, params.after.epoch, params.after.seq)
            return
        is_written = False
        while self._is_awaited(call) and not pull.is_done:
            async with self._turn(self._pages, call):
                is_written = await server.write_pending()
                filled = clock.monotonic() + FILL_S
                while self._is_awaited(call) and not pull.is_done and clock.monotonic() < filled:
                    await self._in_reader(pull.advance)
            if not pull.is_empty or clock.monotonic() >= call.end:
                break
        if pull.is_empty and (pull.is_held or (pull.is_at_end and is_written)):
            self._service.pass_on(call, *pull.cursor)
        elif self._is_awaited(call):
            more = not pull.is_at_end or not is_written or await server.may_have_more(pull.cursor)
            self._service.answer_encoded(call.call_id, pull.page(call.server, more))

    @contextlib.asynccontextmanager
    async def _turn(self, turns: Turns, call: CallService) -> AsyncIterator[None]:
        """Wait for a turn, and until the broker has received earlier answers: large ones are made faster."""
        async with turns.take(call.principal):
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
    child = Child(RecorderSettings, by_hand)
    child.set_up_log(process="recorder")
    await Recorder(child, child.settings).run()


def main(config: Config | None = None) -> None:
    loop.run_child(_run(recorder_settings(config) if config else None))
