"""A child's pipes to the broker: one, or two if it may send large messages, which all others overtake.

There may be no broker for a moment. What is sent then is lost, and `send` returns False. The link
reconnects and sends a hello on each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from amid import wire
from amid.process.loop import start_task
from amid.process.pipe import LARGE_BYTES, Message, Pipe
from amid.rpc.messages import Hello, ServiceHello

RECONNECT_S = 0.05
"""Seconds between two tries to connect."""

T = TypeVar("T")


class BrokerLink(Generic[T]):
    """hellos: one for each pipe; the first pipe is for messages with a large payload, the last one for
    all others. on_message: takes the broker's messages. on_connected: called when a broker was
    connected to. on_lost: takes the reason why a broker was lost."""

    def __init__(
        self,
        run_dir: str,
        hellos: Sequence[Hello | ServiceHello],
        decode: Callable[[bytes | memoryview], T],
        on_message: Callable[[T], object],
        on_connected: Callable[[], object],
        on_lost: Callable[[Exception | None], object] = lambda _: None,
    ) -> None:
        self._path = f"{run_dir}/{wire.READERS_SOCKET}"
        self._hellos = hellos
        self._decode = decode
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._pipes: list[Pipe[T]] = []
        self._connecting = start_task(self._connect())

    def send(self, message: Any, payload: bytes = b"") -> bool:
        """Send a message; False if there is no broker."""
        if not self._pipes:
            return False
        self._pipes[0 if len(payload) >= LARGE_BYTES else -1].send(message, payload)
        return True

    async def close(self) -> None:
        """Write the remaining messages, and close."""
        self._connecting.cancel()
        pipes, self._pipes = self._pipes, []  # so that their end causes no reconnect
        await asyncio.gather(*(pipe.finish() for pipe in pipes))

    async def _connect(self, delay_s: float = 0.0) -> None:
        await asyncio.sleep(delay_s)
        pipes = await self._open_pipes()
        if len(pipes) < len(self._hellos) or not all(pipe.is_open for pipe in pipes):
            for pipe in pipes:  # the broker may have ended after the first one was connected
                pipe.close()
            self._connecting = start_task(self._connect(RECONNECT_S))
            return
        self._pipes = pipes
        self._on_connected()

    async def _open_pipes(self) -> list[Pipe[T]]:
        """The pipes that could be connected."""
        pipes: list[Pipe[T]] = []
        with contextlib.suppress(OSError):
            for hello in self._hellos:
                _, pipe = await asyncio.get_running_loop().create_unix_connection(self._new_pipe, self._path)
                pipe.send(hello)
                pipes.append(pipe)
        return pipes

    def _new_pipe(self) -> Pipe[T]:
        return Pipe(self._decode, self._received, self._lost)

    def _received(self, pipe: Pipe[T], received: list[Message[T]]) -> None:
        for message, _ in received:
            self._on_message(message)

    def _lost(self, pipe: Pipe[T], error: Exception | None) -> None:
        if pipe not in self._pipes:
            return
        pipes, self._pipes = self._pipes, []
        for one in pipes:
            one.close()
        self._on_lost(error)
        self._connecting = start_task(self._connect(RECONNECT_S))
