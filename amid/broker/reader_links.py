"""The broker's ends of the pipes to its readers.

A reader has two pipes, which both end with it. It counts as lost when both have ended and all their
messages were received. Services connect to the same socket; their pipes go to `service_links`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from amid.broker.service_links import ServiceLinks
from amid.process.pipe import Message, Pipe, listen
from amid.rpc import messages
from amid.rpc.messages import FromReader, Hello, ServiceHello, ToReader
from amid.wire import RPC_SOCKET

log = logging.getLogger("amid.broker")

BULK_END_S = 0.5
"""The second pipe of a reader must end within this time after the first."""

ReaderPipe = Pipe[FromReader]


class ReaderLink:
    """One reader: its hello and its pipes."""

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
    """on_messages: takes the messages of one read from a reader.
    on_lost: takes a reader that has ended."""

    def __init__(
        self,
        on_messages: Callable[[ReaderLink | None, list[Message[FromReader]]], object],
        on_lost: Callable[[ReaderLink], object],
        counters: Counter[str],
        services: ServiceLinks,
    ) -> None:
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._counters = counters
        self._services = services
        self._links: dict[ReaderPipe, ReaderLink] = {}
        self._bulk: dict[ReaderPipe, Hello] = {}
        self._unknown: set[ReaderPipe] = set()
        """Pipes without a hello yet. uvloop keeps no reference to a connection
        or server, and closes unreferenced ones."""

    async def listen(self, path: str) -> None:
        """Listen at `path`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer = await loop.create_unix_server(self._new_pipe, sock=listen(path))

    def close(self) -> None:
        """Stop listening. The pipes stay open."""
        self._server.close()

    def _new_pipe(self) -> ReaderPipe:
        pipe = Pipe(messages.decode_from_reader, self._received, self._lost)
        self._unknown.add(pipe)
        return pipe

    def _received(self, pipe: ReaderPipe, received: list[Message[FromReader]]) -> None:
        match received:
            case [(Hello() as hello, _), *received]:
                self._greet(pipe, hello)
            case [(ServiceHello() as hello, _), *received]:
                self._unknown.discard(pipe)
                self._services.greet(pipe, hello)
        if pipe in self._services:
            self._services.receive(received)
            return
        if pipe not in self._links and pipe not in self._bulk:
            raise ValueError("its first message is not a hello")
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
            log.error("a connection to the readers' socket is not a reader's (%s); requests go to %r", error, RPC_SOCKET)
        elif error is not None and not isinstance(error, OSError):
            self._counters["unreadable_messages"] += 1
            log.error("cannot handle a reader's message", exc_info=error)
        self._unknown.discard(pipe)
        self._services.lose(pipe)
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
