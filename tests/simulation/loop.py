"""The virtual clock, and the event loop of each simulated process.

`Scheduler` holds all future actions in order of time. A process is a `ProcessLoop`: its callbacks
run in passes like those of uvloop, and each pass is one entry of the scheduler. A process can
therefore be stopped, continued and killed between two passes, as by a signal, without direct effect
on other processes. All randomness comes from generators of the seed.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, Protocol, cast

BEGIN = 1000.0
PASS_S = (0.00002, 0.0001)
"""Seconds that a pass of a process takes."""
PAUSE_S = 0.010
"""Seconds of a longer pass: the machine is busy."""
PAUSE_SHARE = 0.002
LATE_S = 0.001
"""Seconds by which a timer may be late."""
LOOK_S = (0.0, 0.00005)
"""Seconds that a look at the clock takes at most."""
SHOWN = 400
"""Decisions kept, to be shown with a failure."""


class Scheduler:
    """What happens when. `decide` notes what was decided; two runs of a seed have the same `digest`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = BEGIN
        self.random = self.generator("scheduler")
        self._look_s = self.random.choice(LOOK_S)
        self.elsewhere_s = 0.0
        """Seconds that passes of processes other than the broker took."""
        self.recent: deque[str] = deque(maxlen=SHOWN)
        self.failures: list[str] = []
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def generator(self, name: str) -> random.Random:
        """A separate generator for each part, so that the parts are independent."""
        return random.Random(f"{self.seed}/{name}")

    def monotonic(self) -> float:
        """Each read of the clock takes time, as on a slow machine, so that work is split in other
        places."""
        if self._look_s:
            self.now += self._look_s * self.random.random()
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now

    def at(self, when: float, function: Callable[..., object], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, function, arguments))

    def after(self, seconds: float, function: Callable[..., object], *arguments: Any) -> None:
        self.at(self.now + seconds, function, *arguments)

    def run(self, until: float) -> None:
        """Run everything that is due by then, or until a failure."""
        heap = self._heap
        while heap and heap[0][0] <= until and not self.failures:
            when, _, function, arguments = heapq.heappop(heap)
            self.now = max(self.now, when)
            function(*arguments)
        self.now = max(self.now, until)

    def wait(self, seconds: float) -> None:
        """A process blocks; the others go on."""
        loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        self.run(self.now + seconds)
        asyncio._set_running_loop(loop)

    def decide(self, text: str) -> None:
        line = f"{self.now:.6f} {text}"
        self._hash.update(line.encode())
        self.recent.append(line)

    def fail(self, text: str) -> None:
        """A rule was broken."""
        self.decide(f"FAILED {text}")
        self.failures.append(text)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


class Source(Protocol):
    """What a loop waits for besides timers."""

    def on_pass(self) -> None:
        """It may be readable or writable: call the callbacks that wait for it."""


class ProcessLoop:
    """The part of asyncio's interface that amid uses. `network` makes its connections."""

    def __init__(self, scheduler: Scheduler, name: str, network: Any) -> None:
        self.name = name
        self.scheduler = scheduler
        self.network = network
        self.alive = True
        self.stopped = False
        self.on_exit: dict[Callable[[], object], None] = {}
        self._random = scheduler.generator(f"loop {name}")
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._polled: dict[Source, None] = {}
        self._count = 0
        self._busy_until = 0.0
        self._next_pass = float("inf")
        self._turn = 0
        self._passing = False

    # ── signals ──

    def stop_process(self) -> None:
        self.stopped = True

    def continue_process(self) -> None:
        self.stopped = False
        self._plan()

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            self._ready.clear()
            self._timers.clear()
            for function in list(self.on_exit):
                function()

    # ── passes ──

    def wake(self, source: Source) -> None:
        """Look at `source` in the next pass."""
        self._polled[source] = None
        self._plan()

    def _plan(self) -> None:
        if not self.alive or self.stopped or self._passing:
            return
        now = self.scheduler.now
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if self._ready or self._polled:
            when = max(now, self._busy_until)
        elif self._timers:
            when = max(now, self._busy_until, self._timers[0][0] + self._random.random() * LATE_S)
        else:
            return
        if when < self._next_pass:
            self._next_pass = when
            self._turn += 1
            self.scheduler.at(when, self._pass, self._turn)

    def _pass(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._next_pass = float("inf")
        if not self.alive or self.stopped:
            return
        self._passing = True
        began = self.scheduler.now
        asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, self))
        try:
            self._run_timers()
            for _ in range(len(self._ready)):
                if self._ready:
                    self._run(self._ready.popleft())
            self._poll()
        finally:
            asyncio._set_running_loop(None)
            self._passing = False
        if not self.name.startswith("broker."):
            self.scheduler.elsewhere_s += self.scheduler.now - began
        pause = PAUSE_S if self._random.random() < PAUSE_SHARE else 0.0
        self._busy_until = self.scheduler.now + self._random.uniform(*PASS_S) + self._random.random() * pause
        self._plan()

    def _run_timers(self) -> None:
        now = self.scheduler.now
        while self._timers and self._timers[0][0] <= now:
            self._run(heapq.heappop(self._timers)[2])

    def _poll(self) -> None:
        polled, self._polled = list(self._polled), {}
        if len(polled) > 1:
            self._random.shuffle(polled)
        for source in polled:
            source.on_pass()

    def _run(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()

    # ── asyncio's interface ──

    def time(self) -> float:
        return self.scheduler.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return not self.alive

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, cast(Any, self), context)
        self._ready.append(handle)
        self._plan()
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.scheduler.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, cast(Any, self), context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        self._plan()
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are passed over when they are due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=cast(Any, self))

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=cast(Any, self), name=name, context=context)

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `main` as the process; it ends with it."""

        def begin() -> None:
            task = self.create_task(main())
            task.add_done_callback(self._ended)

        self.call_soon(begin)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.call_exception_handler({"message": f"{self.name} ended", "exception": error})
        self.scheduler.decide(f"{self.name} ends")
        self.scheduler.after(0.0, self.kill)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """As in a process of amid: a callback that fails is a fault of amid's."""
        error = context.get("exception")
        if error is None or ("transport" in context and isinstance(error, OSError)):
            return
        self.scheduler.fail(f"{self.name}: {context.get('message')}: {_with_place(error)}")

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.network.descriptors[fd].watch(self, lambda: callback(*args))

    def add_writer(self, file: Any, callback: Callable[..., Any]) -> None:
        file.watch_room(callback)

    def remove_writer(self, file: Any) -> None:
        file.watch_room(None)

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        return await self.network.connect_transport(self, factory, ("tcp", host, port))

    async def create_unix_connection(self, factory: Any, path: Any = None, **options: Any) -> Any:
        return await self.network.connect_transport(self, factory, ("unix", path))

    async def create_unix_server(self, factory: Any, path: Any = None, *, sock: Any = None, **options: Any) -> Any:
        name = sock.getsockname()
        sock.close()
        return SimpleNamespace(close=self.network.serve_transports(self, factory, ("unix", name)))


def _with_place(error: BaseException) -> str:
    """The error, and where it was raised."""
    trace, places = error.__traceback__, []
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{error!r} at {' < '.join(reversed(places[-6:]))}"
