"""A running event loop for objects that need one, driven by tests that are plain functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import uvloop

from tests.daemon import BOUND_S

T = TypeVar("T")

FACTORIES = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Loop:
    """The loop runs only inside its methods. A failed callback fails the test, as it would end the
    process."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> None:
        self._runner = asyncio.Runner(loop_factory=factory)
        self._failures: list[BaseException] = []
        self.loop = self._runner.get_loop()
        self.loop.set_exception_handler(self._note)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._runner.close()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context.get("exception") or AssertionError(context.get("message")))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        result = self._runner.run(main)
        if self._failures:
            raise self._failures.pop()
        return result

    def turn(self, passes: int = 3) -> None:
        """Run a few passes: enough for callbacks that are due and those that they schedule."""

        async def passed() -> None:
            for _ in range(passes):
                await asyncio.sleep(0)

        self.run(passed())

    def eventually(self, fact: Callable[[], T], what: str) -> T:
        """Run until `fact` is true, and return it."""

        async def wait() -> T:
            end = time.monotonic() + BOUND_S
            while not (value := fact()):
                assert time.monotonic() < end, f"not within {BOUND_S:g} s: {what}; last seen: {value!r}"
                await asyncio.sleep(0.002)  # the pace of asking, not a wait for the fact
            return value

        return self.run(wait())
