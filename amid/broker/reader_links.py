"""The broker's ends of the pipes to its readers: who has connected, what they say, and when they are gone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from amid.process.pipe import IN, OUT, Message, Pipe, listen
from amid.wire import RPC_SOCKET

log = logging.getLogger("amid.broker")

PAUSE_S = 0.1
"""Seconds until the next try when there is no descriptor for one that connects."""


class Readers:
    """`hear` takes each message; `lost` is told of a pipe that has ended. One that brings what cannot be understood is closed, and
    counted."""

    def __init__(
        self, path: str, hear: Callable[[Pipe, Message], None], lost: Callable[[Pipe], None], counters: Counter[str]
    ) -> None:
        self._door = listen(path)
        self._open_at = 0.0
        self._hear = hear
        self._lost = lost
        self._pipes: list[Pipe] = []
        self._counters = counters

    def poll_items(self, now: float) -> Iterator[tuple[int, int]]:
        if now >= self._open_at:
            yield self._door.fileno(), IN
        for pipe in self._pipes:
            yield pipe.poll_item()

    def step(self, ready: Mapping[Any, int], now: float) -> None:
        """Hear whoever has something to say."""
        for pipe in list(self._pipes):
            if ready.get(pipe.poll_item()[0], 0) & ~OUT:
                self._step_one(pipe)
        if self._door.fileno() in ready:
            self._let_in(now)

    def flush(self) -> None:
        """Send what the readers were told."""
        for pipe in list(self._pipes):
            try:
                pipe.flush()
            except OSError:
                self._drop(pipe)

    def _step_one(self, pipe: Pipe) -> None:
        try:
            for message in pipe.receive():
                self._hear(pipe, message)
        except (EOFError, OSError):
            self._drop(pipe)
        except Exception:  # one reader with a fault, or a stranger in here, must not end everybody's calls
            self._counters["unreadable_messages"] += 1
            log.exception("what came on the socket of the readers is not from a reader; requests go to %r", RPC_SOCKET)
            self._drop(pipe)

    def _drop(self, pipe: Pipe) -> None:
        self._pipes.remove(pipe)
        pipe.close()
        self._lost(pipe)

    def _let_in(self, now: float) -> None:
        try:
            connected, _ = self._door.accept()
        except OSError as error:
            log.warning("a reader cannot connect: %s", error.strerror)
            self._open_at = now + PAUSE_S
        else:
            self._pipes.append(Pipe(connected))
