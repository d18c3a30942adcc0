"""A child's pipe to the broker.

There may be no broker for a moment. What is sent then is lost, and `send` returns False. The link
reconnects and sends its hello on each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from amid import wire
from amid.process.loop import start_task
from amid.process.pipe import Message, Pipe
from amid.rpc.messages import Hello, ServiceHello

RECONNECT_S = 0.05
"""Seconds between two tries to connect."""

T = TypeVar("T")


class BrokerLink(Generic[T]):
    """on_message: takes the broker's messages. on_connected: called when a broker was connected to.
    on_room: called when results may be sent again after `is_backlogged`."""

    def __init__(
        self,
        run_dir: str,
        hello: Hello | ServiceHello,
        decode: Callable[[bytes | memoryview], T],
        on_message: Callable[[T], object],
        on_connected: Callable[[], object],
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self._path = f"{run_dir}/{wire.READERS_SOCKET}"
        self._hello = hello
        self._decode = decode
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_room = on_room
        self._pipe: Pipe[T] | None = None
        self._connecting = start_task(self._connect())

    @property
    def is_backlogged(self) -> bool:
        """Whether the broker receives large results more slowly than they are made."""
        return self._pipe is not None and self._pipe.is_backlogged

    @property
    def backlog_bytes(self) -> int:
        """Large results that wait until the broker receives them."""
        return self._pipe.backlog_bytes if self._pipe is not None else 0

    def send(self, message: Any, payload: bytes = b"") -> bool:
        """Send a message; False if there is no broker."""
        if self._pipe is None:
            return False
        self._pipe.send(message, payload)
        return True

    async def close(self) -> None:
        """Write the remaining messages, and close."""
        self._connecting.cancel()
        pipe, self._pipe = self._pipe, None  # so that its end causes no reconnect
        if pipe is not None:
            await pipe.finish()

    async def _connect(self, delay_s: float = 0.0) -> None:
        pipe = None
        while pipe is None or not pipe.is_open:  # the broker may have ended right after it accepted
            await asyncio.sleep(delay_s)
            delay_s = RECONNECT_S
            with contextlib.suppress(OSError):
                _, pipe = await asyncio.get_running_loop().create_unix_connection(self._new_pipe, self._path)
        self._pipe = pipe
        pipe.send(self._hello)
        self._on_connected()

    def _new_pipe(self) -> Pipe[T]:
        return Pipe(self._decode, self._received, self._lost, self._on_room)

    def _received(self, pipe: Pipe[T], received: list[Message[T]]) -> None:
        for message, _ in received:
            self._on_message(message)

    def _lost(self, pipe: Pipe[T], error: Exception | None) -> None:
        if pipe is self._pipe:
            self._pipe = None
            self._on_room()
            self._connecting = start_task(self._connect(RECONNECT_S))
