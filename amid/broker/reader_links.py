"""The broker's ends of the pipes to its readers: which have connected, what they send, and when they are gone.

A reader has two pipes, and both end with it. It is lost when both have ended and all that came on them was received.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from amid.process.pipe import Message, Pipe, listen
from amid.rpc import messages
from amid.rpc.messages import FromReader, Hello, ToReader
from amid.wire import RPC_SOCKET

log = logging.getLogger("amid.broker")

BULK_END_S = 0.5
"""Seconds after the end of a reader's first pipe within which the other ends too."""

ReaderPipe = Pipe[FromReader]


class ReaderLink:
    """One reader: who it is, and its pipes."""

    def __init__(self, hello: Hello, main: ReaderPipe) -> None:
        self.hello = hello
        self._main = main
        self.bulk: ReaderPipe | None = None
        self.ended = False

    def send(self, message: ToReader) -> None:
        self._main.send(message)

    @property
    def unwritten(self) -> list[ToReader]:
        """The messages that the reader has certainly not received."""
        return self._main.unwritten


class ReaderLinks:
    """`on_messages` takes what one read brought from a reader, `on_lost` a reader that is gone."""

    def __init__(
        self,
        on_messages: Callable[[ReaderLink | None, list[Message[FromReader]]], object],
        on_lost: Callable[[ReaderLink], object],
        counters: Counter[str],
    ) -> None:
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._counters = counters
        self._links: dict[ReaderPipe, ReaderLink] = {}
        self._bulk: dict[ReaderPipe, Hello] = {}
        self._unknown: set[ReaderPipe] = set()
        """Those that have not sent their hello. uvloop holds neither a connection nor a server: what nobody holds is closed."""

    async def listen(self, path: str) -> None:
        """Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer = await loop.create_unix_server(self._new_pipe, sock=listen(path))

    def close(self) -> None:
        """Listen no more. The pipes stay."""
        self._server.close()

    def _new_pipe(self) -> ReaderPipe:
        pipe = Pipe(messages.decode_from_reader, self._received, self._lost)
        self._unknown.add(pipe)
        return pipe

    def _received(self, pipe: ReaderPipe, received: list[Message[FromReader]]) -> None:
        if received and isinstance(received[0][0], Hello):
            hello = received.pop(0)[0]
            assert isinstance(hello, Hello)
            self._greet(pipe, hello)
        if pipe not in self._links and pipe not in self._bulk:
            raise ValueError("the first message is not a hello")
        if received:
            self._on_messages(self._links.get(pipe), received)

    def _greet(self, pipe: ReaderPipe, hello: Hello) -> None:
        self._unknown.discard(pipe)
        if hello.bulk:
            self._bulk[pipe] = hello
        else:
            link = self._links[pipe] = ReaderLink(hello, pipe)
            link.bulk = next((bulk for bulk, other in self._bulk.items() if self._same(other, hello)), None)

    def _lost(self, pipe: ReaderPipe, error: Exception | None) -> None:
        if isinstance(error, ValueError):
            self._counters["unreadable_messages"] += 1
            log.error("what came on the socket of the readers is not from a reader (%s); requests go to %r", error, RPC_SOCKET)
        elif error is not None and not isinstance(error, OSError):
            self._counters["unreadable_messages"] += 1
            log.error("a message of a reader could not be handled", exc_info=error)
        self._unknown.discard(pipe)
        if self._bulk.pop(pipe, None) is not None:
            for link in [link for link in self._links.values() if link.bulk is pipe and link.ended]:
                self._end(link)
        link_of = self._links.get(pipe)
        if link_of is not None:
            link_of.ended = True
            if link_of.bulk in self._bulk:
                asyncio.get_running_loop().call_later(BULK_END_S, self._end, link_of)
            else:
                self._end(link_of)

    def _end(self, link: ReaderLink) -> None:
        found = next((pipe for pipe, other in self._links.items() if other is link), None)
        if found is not None:
            del self._links[found]
            self._on_lost(link)

    @staticmethod
    def _same(one: Hello, other: Hello) -> bool:
        return (one.server, one.started) == (other.server, other.started)
