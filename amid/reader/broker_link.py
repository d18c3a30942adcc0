"""The reader's two pipes to the broker: one for large results, the other for all other messages.

There may be no broker for a moment. What is sent then is lost, and `send` returns False. The link
reconnects and sends a hello on each connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from amid.process.loop import start_task
from amid.process.pipe import LARGE_BYTES, Message, Pipe
from amid.rpc import messages
from amid.rpc.messages import Done, Hello, ToReader

RECONNECT_S = 0.05
"""Seconds between two tries to connect."""


class BrokerLink:
    """on_message: takes the broker's messages. on_connected:
    called when a broker was connected to."""

    def __init__(
        self, path: str, server: str, started: int, on_message: Callable[[ToReader], object], on_connected: Callable[[], object]
    ) -> None:
        self._path = path
        self._server = server
        self._started = started
        self._on_message = on_message
        self._on_connected = on_connected
        self._loop = asyncio.get_running_loop()
        self._pipes: tuple[Pipe[ToReader], Pipe[ToReader]] | None = None
        self._connecting = start_task(self._connect())

    def send(self, message: Any, payload: bytes = b"") -> bool:
        """Send a message; False if there is no broker."""
        if self._pipes is None:
            return False
        main, bulk = self._pipes
        large = isinstance(message, Done) and len(payload) >= LARGE_BYTES
        (bulk if large else main).send(message, payload)
        return True

    async def close(self) -> None:
        """Write the remaining messages, and close."""
        self._connecting.cancel()
        if self._pipes is not None:
            await asyncio.gather(*(pipe.finish() for pipe in self._pipes))

    async def _connect(self) -> None:
        while self._pipes is None:
            bulk = main = None
            try:
                bulk = await self._open(Hello(self._server, self._started, bulk=True))
                main = await self._open(Hello(self._server, self._started))
            except OSError:
                if bulk is not None:
                    bulk.close()
                await asyncio.sleep(RECONNECT_S)
            else:
                self._pipes = main, bulk
        self._on_connected()

    async def _open(self, hello: Hello) -> Pipe[ToReader]:
        _, pipe = await self._loop.create_unix_connection(self._new_pipe, self._path)
        pipe.send(hello)
        return pipe

    def _new_pipe(self) -> Pipe[ToReader]:
        return Pipe(messages.decode_to_reader, self._received, self._lost)

    def _received(self, pipe: Pipe[ToReader], received: list[Message[ToReader]]) -> None:
        for message, _ in received:
            self._on_message(message)

    def _lost(self, pipe: Pipe[ToReader], error: Exception | None) -> None:
        if self._pipes is None or pipe not in self._pipes:
            return
        pipes, self._pipes = self._pipes, None
        for one in pipes:
            one.close()
        self._connecting = start_task(self._connect_again())

    async def _connect_again(self) -> None:
        await asyncio.sleep(RECONNECT_S)
        await self._connect()
