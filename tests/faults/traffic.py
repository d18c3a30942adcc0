"""The process of the load: callers, subscribers and the witness on one loop; records go to stdout,
commands come from stdin.

A record of a call waits until its lateness can be attributed (`lateness`). `python -m
tests.faults.traffic`: the first line of stdin is the `Plan` as JSON, `stop` ends it in order, end
of file at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from typing import Any, NamedTuple

from amid.client import AsyncClient
from tests.faults.callers import Wire, calling, through
from tests.faults.lateness import Lateness
from tests.faults.listeners import Library, Listener, Puller, Subscriber, Witness
from tests.faults.records import Call, Deaf, Record, pack

CLIENTS = 8
CALLERS_PER_CLIENT = 5
WIRES = 10
CALLERS = CLIENTS * CALLERS_PER_CLIENT + WIRES
LAST_WORD = 15.0
"""Seconds for the last event of all to reach everyone."""


class Plan(NamedTuple):
    """pace: calls per second of all callers together."""

    run_dir: str
    host: str
    port: int
    username: str
    secret: str
    seed: int
    pace: float


class Log:
    """Where records go: to stdout, a call once it is known what else was late with it."""

    def __init__(self, lateness: Lateness) -> None:
        self._lateness = lateness
        self._waiting: list[Record] = []

    def write(self, record: Record) -> None:
        self._waiting.append(record)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._lateness.look()
            self.flush()

    def flush(self) -> None:
        records, self._waiting = self._waiting, []
        data = b"".join(pack(self._measured(record)) for record in records)
        while data:  # a pipe takes as much as its reader leaves room for
            data = data[os.write(sys.stdout.fileno(), data) :]

    def _measured(self, record: Record) -> Record:
        if not isinstance(record, Call):
            return record
        return record._replace(late=self._lateness.of(record.began, record.began + record.timeout, record.ended))


class Traffic:
    def __init__(self, plan: Plan) -> None:
        self._clients = [AsyncClient(plan.run_dir) for _ in range(CLIENTS + 1)]
        self._lateness = Lateness(self._clients[-1])
        self._log = log = Log(self._lateness)
        self._stop = asyncio.Event()
        self._witness = Witness(plan.host, plan.port, plan.username, plan.secret, log.write)
        subscribers = [Subscriber(name, plan.run_dir, log.write) for name in ("stream", "names")]
        pullers: list[Listener] = [Library(self._clients[-1], log.write), Puller(plan.run_dir, random.Random(plan.seed), log.write)]
        self._listeners: list[Listener] = [*subscribers, *pullers, self._witness]
        endpoint = f"ipc://{plan.run_dir}/rpc"
        self._wires = [Wire(f"wire-{n}", endpoint, bool(n % 2), log.write) for n in range(WIRES)]
        self._plan = plan

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            lasting = [group.create_task(one.receive()) for one in self._listeners]
            lasting += [group.create_task(wire.receive()) for wire in self._wires]
            lasting += [
                group.create_task(one) for one in (self._log.run(), self._lateness.find_processes(), self._dispatch_commands())
            ]
            await self._witness.up.wait()
            async with asyncio.TaskGroup() as callers:
                for caller in self._callers():
                    callers.create_task(caller)
            await self._send_end()
            for task in lasting:
                task.cancel()
        self._log.flush()

    def _callers(self) -> list[Any]:
        chance = random.Random(self._plan.seed)
        asks = {f"client-{n}": through(self._clients[n % CLIENTS]) for n in range(CLIENTS * CALLERS_PER_CLIENT)}
        asks |= {f"wire-{n}": wire.ask for n, wire in enumerate(self._wires)}
        pause = CALLERS / self._plan.pace
        own = {name: random.Random(chance.random()) for name in asks}
        return [calling(name, ask, own[name], pause, self._log.write, self._stop) for name, ask in asks.items()]

    async def _dispatch_commands(self) -> None:
        """What comes on stdin; `stop` lets the calls end."""
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            assert line == b"stop\n", line
            self._stop.set()
        os._exit(1)  # the parent process has ended

    async def _send_end(self) -> None:
        """The witness sends the final event; each subscriber is complete when it has received it."""
        waits = [asyncio.create_task(one.heard_all.wait()) for one in self._listeners]
        try:
            async with asyncio.timeout(LAST_WORD):
                await self._witness.send_end()
                await asyncio.wait(waits)
        except TimeoutError:
            pass
        for one in self._listeners:
            if not one.heard_all.is_set():
                self._log.write(Deaf(one.name, time.monotonic()))


if __name__ == "__main__":
    asyncio.run(Traffic(Plan(**json.loads(sys.stdin.readline()))).run())
