"""The broker's ends of the pipes to its readers and services.

A reader has two pipes, which both end with it. It counts as lost when both have ended and all their
messages were received. A service has one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from amid.process.pipe import Message, Pipe
from amid.process.unix_socket import PRIVATE, bind_unix
from amid.rpc import messages
from amid.rpc.messages import FromReader, Hello, ServiceHello, ToReader, ToService
from amid.wire import RPC_SOCKET

log = logging.getLogger("amid.broker")

BULK_END_S = 0.5
"""The second pipe of a reader must end within this time after the first."""

ReaderPipe = Pipe[FromReader]


class Link:
    """One reader or service: its hello and its pipes."""

    def __init__(self, hello: Hello | ServiceHello, main: ReaderPipe, bulk: ReaderPipe | None) -> None:
        self.hello = hello
        self.main = main
        self.bulk = bulk
        self.ended = False

    def send(self, message: ToReader | ToService) -> None:
        self.main.send(message)


class ReaderLinks:
    """on_messages: takes the messages of one read from a reader or a service, the hello included; the
    link is None for the pipe for large results. on_lost: takes a reader or a service that has ended."""

    def __init__(
        self,
        on_messages: Callable[[Link | None, list[Message[FromReader]]], object],
        on_lost: Callable[[Link], object],
        counters: Counter[str],
    ) -> None:
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._counters = counters
        self._links: dict[ReaderPipe, Link] = {}
        self._bulk: dict[ReaderPipe, Hello] = {}
        self._unknown: set[ReaderPipe] = set()
        """Pipes without a hello yet. uvloop keeps no reference to a connection
        or server, and closes unreferenced ones."""

    async def listen(self, path: str) -> None:
        """Listen at `path`. Raises `OSError`.

        Only the daemon's user may connect, because readers' messages are trusted.
        """
        bound = bind_unix(path, PRIVATE)
        self._server: asyncio.AbstractServer = await asyncio.get_running_loop().create_unix_server(self._new_pipe, sock=bound)

    def close(self) -> None:
        """Stop listening. The pipes stay open."""
        self._server.close()

    def _new_pipe(self) -> ReaderPipe:
        pipe = Pipe(messages.decode_from_reader, self._received, self._lost)
        self._unknown.add(pipe)
        return pipe

    def _received(self, pipe: ReaderPipe, received: list[Message[FromReader]]) -> None:
        if pipe in self._unknown:
            first, _ = received[0]
            self._greet(pipe, first)
        self._on_messages(self._links.get(pipe), received)

    def _greet(self, pipe: ReaderPipe, hello: FromReader) -> None:
        match hello:
            case Hello(bulk=True):
                self._bulk[pipe] = hello
            case Hello(server, started):
                own = (bulk for bulk, other in self._bulk.items() if (other.server, other.started) == (server, started))
                self._links[pipe] = Link(hello, pipe, next(own, None))
            case ServiceHello(name, methods):
                log.info("the service %s has connected%s", name, f"; it answers {', '.join(methods)}" if methods else "")
                self._links[pipe] = Link(hello, pipe, None)
            case _:
                raise ValueError("its first message is not a hello")
        self._unknown.discard(pipe)

    def _lost(self, pipe: ReaderPipe, error: Exception | None) -> None:
        if isinstance(error, ValueError):
            self._counters["unreadable_messages"] += 1
            log.error("a connection to the readers' socket is not a reader's (%s); requests go to %r", error, RPC_SOCKET)
        elif error is not None and not isinstance(error, OSError):
            self._counters["unreadable_messages"] += 1
            log.error("cannot handle a reader's message", exc_info=error)
        self._unknown.discard(pipe)
        if self._bulk.pop(pipe, None) is not None:
            for link in [link for link in self._links.values() if link.bulk is pipe and link.ended]:
                self._end(link)
        lost = self._links.get(pipe)
        if lost is not None:
            lost.ended = True
            if lost.bulk in self._bulk:
                asyncio.get_running_loop().call_later(BULK_END_S, self._end, lost)
            else:
                self._end(lost)

    def _end(self, link: Link) -> None:
        if self._links.pop(link.main, None) is not None:
            self._on_lost(link)
