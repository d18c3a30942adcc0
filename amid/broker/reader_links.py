"""The broker's ends of the pipes to its readers and services.

Each has one, and counts as lost when it has ended and all its messages were received.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from amid.process.pipe import Message, Pipe
from amid.process.unix_socket import PRIVATE, bind_unix
from amid.rpc import messages
from amid.rpc.messages import FromReader, Hello, ServiceHello
from amid.wire import RPC_SOCKET

log = logging.getLogger("amid.broker")

ReaderPipe = Pipe[FromReader]
AnyHello = Hello | ServiceHello


class ReaderLinks:
    """on_messages: takes the pipe and the hello of a reader or a service, and the messages of one
    read, the hello included. on_lost: takes the pipe and the hello of one that has ended."""

    def __init__(
        self,
        on_messages: Callable[[ReaderPipe, AnyHello, list[Message[FromReader]]], object],
        on_lost: Callable[[ReaderPipe, AnyHello], object],
        counters: Counter[str],
    ) -> None:
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._counters = counters
        self._hellos: dict[ReaderPipe, AnyHello | None] = {}
        """Of all pipes; None before the hello. uvloop keeps no reference to a connection or server, and
        closes unreferenced ones."""
        self._services: dict[ReaderPipe, tuple[int, str]] = {}

    async def listen(self, path: str) -> None:
        """Listen at `path`. Raises `OSError`.

        Only the daemon's user may connect, because readers' messages are trusted.
        """
        bound = bind_unix(path, PRIVATE)
        self._server: asyncio.AbstractServer = await asyncio.get_running_loop().create_unix_server(self._new_pipe, sock=bound)

    def service_with(self, pid: int) -> str:
        """The name of the connected service that is this process; "" if none is.

        A process that ends takes its pipe with it, so the number cannot be another one's yet.
        """
        return next((name for own_pid, name in self._services.values() if pid and own_pid == pid), "")

    def close(self) -> None:
        """Stop listening. The pipes stay open."""
        self._server.close()

    def _new_pipe(self) -> ReaderPipe:
        pipe = Pipe(messages.decode_from_reader, self._received, self._lost)
        self._hellos[pipe] = None
        return pipe

    def _received(self, pipe: ReaderPipe, received: list[Message[FromReader]]) -> None:
        hello = self._hellos[pipe]
        if hello is None:
            first, _ = received[0]
            hello = self._hellos[pipe] = _check_hello(first)
            if isinstance(hello, ServiceHello):
                self._services[pipe] = pipe.peer_pid, hello.name
        self._on_messages(pipe, hello, received)

    def _lost(self, pipe: ReaderPipe, error: Exception | None) -> None:
        if isinstance(error, ValueError):
            self._counters["unreadable_messages"] += 1
            log.error("a connection to the readers' socket is not a reader's (%s); requests go to %r", error, RPC_SOCKET)
        elif error is not None and not isinstance(error, OSError):
            self._counters["unreadable_messages"] += 1
            log.error("cannot handle a reader's message", exc_info=error)
        self._services.pop(pipe, None)
        hello = self._hellos.pop(pipe)
        if hello is not None:
            self._on_lost(pipe, hello)


def _check_hello(hello: FromReader) -> AnyHello:
    if not isinstance(hello, Hello | ServiceHello):
        raise ValueError("its first message is not a hello")
    if isinstance(hello, ServiceHello):
        methods = f"; it answers {', '.join(hello.methods)}" if hello.methods else ""
        log.info("the service %s has connected%s", hello.name, methods)
    return hello
