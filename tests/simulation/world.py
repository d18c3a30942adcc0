"""The world of a seed: broker, readers, PBXs, callers and subscribers in one process (deterministic
simulation).

The code under test is amid's own, from the broker's sockets to the reader's connections. The seed
decides when each process runs, how long bytes are delayed, and which faults occur when; a failing
seed therefore fails again.

    loop         the virtual clock, and the event loop of each simulated process
    net          connections in memory, with delays, splits and full buffers; transport: asyncio's side of them
    sockets      the broker's socket for callers and its epoll
    processes    the supervisor: starts, watches, kills and replaces
    pubsub       the event sockets without libzmq
    pbx          an Asterisk that misbehaves and records what it received and sent
    callers      callers, with a client connection each; subscribers: event consumers
    judge        the rules for every call; event_judge: for every event
    faults       random faults
"""

from __future__ import annotations

import logging
import os
import random
import select
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from amid import wire
from amid.broker.broker import Broker
from amid.broker.caller_sockets import CallerSockets
from amid.broker.local_callers import LocalCallers
from amid.config.tables import Caller as Rights
from amid.config.tables import Config, Rpc, Server
from amid.process.loop import clock
from amid.process.settings import BrokerSettings, ReaderSettings, broker_settings, reader_settings
from amid.reader.reader import Reader
from tests.simulation.callers import Caller
from tests.simulation.event_judge import EventJudge
from tests.simulation.faults import Faults
from tests.simulation.judge import Judge
from tests.simulation.loop import BEGIN, ProcessLoop, Scheduler
from tests.simulation.net import Network
from tests.simulation.pbx import EVENTS, USER, SimulatedPbx
from tests.simulation.processes import Child, Process
from tests.simulation.pubsub import EventSockets, Hub
from tests.simulation.sockets import Epoll, ListeningSocket
from tests.simulation.subscribers import Subscriber

SETTLE_S = 45.0
"""Seconds at the end without faults: the longest ones are over, and what lags must have caught up by then."""
SHORT_S, LAST_CALLS = 5.0, 20
SMALL_REPLY_BYTES = 20_000
EPOCH_ORIGIN = 1_700_000_000_000
FREE_DESCRIPTORS = 1000


class NoAcceptor:
    """In the place of `amid.process.acceptor.Acceptor`: descriptors never run short here."""

    def close(self) -> None:
        pass


class World:
    def __init__(self, seed: int, run_dir: str, only: tuple[str, ...]) -> None:
        self.scheduler = Scheduler(seed)
        rng = self.scheduler.generator("world")
        self.network: Network = Network(self.scheduler)
        self.hub = Hub(self.scheduler)
        self.judge = Judge(self.scheduler)
        self._run_dir = run_dir
        self.inside: dict[str, Any] = {}
        names = ["pbx1", "pbx2"][: rng.choice((1, 1, 2))]
        servers = {name: _server(rng, name) for name in names}
        self.config = Config(run_dir=run_dir, servers=servers, rpc=_rpc(rng), callers={"local": Rights()})
        self.pbxs: dict[str, SimulatedPbx] = {name: self._pbx(name, server) for name, server in servers.items()}
        self.broker: Process = Process(self.network, "broker", lambda: broker_settings(self.config), self._run_broker)
        self.readers: list[Process] = [self._reader(name) for name in names]
        self.judge.away = self.broker.away_between
        self.event_judge = EventJudge(self.scheduler, self.pbxs)
        rpc = f"{run_dir}/{wire.RPC_SOCKET}"
        self.callers: list[Caller] = [
            Caller(self.network, self.judge, f"caller{n}", 1000 + n % 3, names, rpc) for n in range(rng.choice((1, 3, 6)))
        ]
        self.subscribers: list[Subscriber] = [self._subscriber(rng, number, names) for number in range(3)]
        self._event_pace = rng.choice((0.5, 5.0, 50.0))
        self._random = rng
        for pbx in self.pbxs.values():
            pbx.is_misbehaving = rng.random() < 0.8
        self._emit()
        self.faults = Faults(self, only)
        self.judge.note_fault()  # nothing is there yet

    def _pbx(self, name: str, server: Server) -> SimulatedPbx:
        takes_huge = server.max_reply_bytes > SMALL_REPLY_BYTES
        return SimulatedPbx(self.network, name, ("tcp", *_address(name)), self.judge, takes_huge)

    def _reader(self, name: str) -> Process:
        return Process(self.network, f"reader {name}", lambda: reader_settings(self.config, name, EPOCH_ORIGIN), self._run_reader)

    def _subscriber(self, rng: random.Random, number: int, servers: list[str]) -> Subscriber:
        names = [] if number == 0 else rng.sample([name for name, _ in EVENTS], number)
        where = self.network, self.hub, self.event_judge
        return Subscriber(*where, f"subscriber{number}", rng.choice(servers), names, self._run_dir)

    # ── what the processes run ──

    async def _run_reader(self, process: ProcessLoop, child: Child) -> None:
        settings = cast(ReaderSettings, child.settings)

        def open_sockets(run_dir: str, *others: Any) -> Any:
            return EventSockets(self.hub, process, run_dir)

        reader = self.inside[process.name.partition(".")[0]] = Reader(cast(Any, child), settings, open_sockets)
        await reader.run()

    async def _run_broker(self, process: ProcessLoop, child: Child) -> None:
        settings = cast(BrokerSettings, child.settings)

        def open_callers(settings: BrokerSettings, counters: Counter[str]) -> CallerSockets:
            listener = ListeningSocket(self.network, process, ("unix", f"{settings.run_dir}/{wire.RPC_SOCKET}"))
            epoll = Epoll(self.network)
            local = LocalCallers(cast(Any, listener), cast(select.epoll, epoll), counters, lambda: FREE_DESCRIPTORS, settings.rpc)
            return CallerSockets(cast(Any, NoContext()), cast(Any, NoAcceptor()), local, settings, counters)

        broker = self.inside["broker"] = Broker(cast(Any, child), settings, open_callers)
        await broker.run()

    # ── the course of things ──

    def lose_server(self, seconds: float) -> None:
        """The last of several servers leaves the configuration for a while."""
        servers = self.config.servers
        if len(servers) < 2:
            return
        self._configure(dict(list(servers.items())[:-1]))
        self.readers[-1].leave()
        self.scheduler.after(seconds, self._return_server, servers)

    def _return_server(self, servers: dict[str, Server]) -> None:
        self._configure(servers)
        self.readers[-1].rejoin()

    def _configure(self, servers: dict[str, Server]) -> None:
        self.config = msgspec.structs.replace(self.config, servers=servers)
        self.broker.configure()

    def _emit(self) -> None:
        if not self._event_pace:
            return
        self.scheduler.after(self._random.expovariate(self._event_pace), self._emit)
        self._random.choice(list(self.pbxs.values())).emit(self._random.choice((1, 1, 5)))

    def run(self, seconds: float) -> None:
        """So long with faults, then until all is well again."""
        scheduler = self.scheduler
        scheduler.run(scheduler.now + seconds)
        scheduler.decide("faults end")
        self.faults.is_on = False
        self._event_pace = 0.5
        for pbx in self.pbxs.values():
            pbx.is_misbehaving = False
        for caller in self.callers:
            caller.is_calling = False
        scheduler.run(scheduler.now + SETTLE_S)
        self._check_settled()

    def _check_empty(self) -> None:
        """Nothing is left behind, except the requests of waiting event consumers."""
        pulls = sum(subscriber.is_asking for subscriber in self.subscribers)
        broker, *readers = (self.inside[process.name] for process in (self.broker, *self.readers))
        left: dict[str, Any] = {"open calls": max(0, len(broker._calls) - pulls)}
        for queue in broker._calls.servers.values():
            left |= {f"calls on lanes of {queue.name}": queue.lanes.calls, f"handed of {queue.name}": queue.handed}
        for process, reader in zip(self.readers, readers, strict=True):
            answers, lanes = reader._answers, reader._lanes
            left |= {f"{process.name}: open answers": answers._open, f"{process.name}: awaited events": answers._awaited}
            left |= {f"{process.name}: busy lanes": lanes.busy, f"{process.name}: lane calls": lanes.call_ids}
            waiting = len(reader._pulls._waiting)
            left |= {f"{process.name}: pulls": max(0, waiting - pulls), f"{process.name}: results": answers.open}
        for what, value in left.items():
            if value:
                self.scheduler.fail(f"left at the end: {what}: {value}")

    def _check_settled(self) -> None:
        scheduler = self.scheduler
        if not scheduler.failures:
            self._check_empty()
        for caller in self.callers:
            if caller.connection.is_up and not scheduler.failures:
                caller.call(SHORT_S)
            elif not scheduler.failures:
                scheduler.fail("a caller is not connected at the end")
        self._event_pace = 0.0
        before = self.judge.outcomes["ok"]
        scheduler.run(scheduler.now + SHORT_S + 3)
        if scheduler.failures:
            return
        if self.judge.outcomes["ok"] != before + len(self.callers):
            scheduler.fail(f"not all of the last calls went well: {dict(self.judge.outcomes)}")
        self.judge.finish()
        for subscriber in self.subscribers:
            subscriber.finish()


class NoContext:
    """In the place of libzmq's."""

    def destroy(self, linger: int) -> None:
        pass


def _address(name: str) -> tuple[str, int]:
    return "127.0.0.1", 5038 + int(name[-1])


def _server(rng: random.Random, name: str) -> Server:
    host, port = _address(name)
    return Server(
        host=host,
        port=port,
        username=USER.name,
        secret=USER.secret,
        auth=rng.choice(("md5", "plain")),
        lanes=rng.choice((1, 2, 4)),
        queue=rng.choice((5, 50, 1000)),
        silence=rng.choice((2.0, 10.0)),
        replay_bytes=rng.choice((2000, 100_000, 16_000_000)),
        max_reply_bytes=rng.choice((SMALL_REPLY_BYTES, 16_000_000)),
        reconnect_max=5.0,
    )


def _rpc(rng: random.Random) -> Rpc:
    return Rpc(max_calls_per_caller=rng.choice((5, 100, 2500)))


@dataclass
class Outcome:
    """Of one seed: what failed, and what it has seen."""

    seed: int
    digest: str
    failures: list[str]
    recent: list[str]
    calls: Counter[str]
    events: int
    gaps: int
    faults: int
    simulated: float


def run_seed(seed: int, seconds: float, only: tuple[str, ...] = ()) -> Outcome:
    """One world, from its begin to its end. only: the faults that come, once a second; the seed's choice when left out."""
    random.seed(seed)
    with tempfile.TemporaryDirectory(prefix="amid-") as run_dir, _virtual_clock() as set_clock:
        before = os.getcwd()
        os.chdir(run_dir)
        try:
            world = World(seed, ".", only)
            set_clock(world.scheduler)
            world.run(seconds)
        finally:
            os.chdir(before)
    scheduler, events = world.scheduler, world.event_judge
    what = world.judge.outcomes, events.events, events.gaps, world.faults.count, scheduler.now - BEGIN
    return Outcome(seed, scheduler.digest, scheduler.failures, list(scheduler.recent), *what)


@contextmanager
def _virtual_clock() -> Iterator[Any]:
    """`clock` is amid's only source of time. The log is off, because its messages would repeat
    millions of times."""
    logging.disable(logging.CRITICAL)

    def set_clock(scheduler: Scheduler) -> None:
        clock.monotonic, clock.wall = scheduler.monotonic, scheduler.wall

    try:
        yield set_clock
    finally:
        logging.disable(logging.NOTSET)
        del clock.monotonic, clock.wall
