"""The broker's ends of the pipes to its services."""

from __future__ import annotations

import logging
from collections.abc import Callable

from amid.process.pipe import Message, Pipe
from amid.rpc.messages import FromReader, ServiceHello, ToService

log = logging.getLogger("amid.broker")


class ServiceLink:
    """One service."""

    def __init__(self, hello: ServiceHello, pipe: Pipe[FromReader]) -> None:
        self.hello = hello
        self._pipe = pipe

    def send(self, message: ToService) -> None:
        self._pipe.send(message)


class ServiceLinks:
    """on_connected: takes a new service. on_messages: takes the messages of one read from a service.
    on_lost: takes a service that has ended."""

    def __init__(
        self,
        on_connected: Callable[[ServiceLink], object],
        on_messages: Callable[[None, list[Message[FromReader]]], object],
        on_lost: Callable[[ServiceLink], object],
    ) -> None:
        self._on_connected = on_connected
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._links: dict[Pipe[FromReader], ServiceLink] = {}

    def __contains__(self, pipe: object) -> bool:
        return pipe in self._links

    def greet(self, pipe: Pipe[FromReader], hello: ServiceHello) -> None:
        answers = f"; it answers {', '.join(hello.methods)}" if hello.methods else ""
        log.info("the service %s has connected%s", hello.name, answers)
        link = self._links[pipe] = ServiceLink(hello, pipe)
        self._on_connected(link)

    def receive(self, received: list[Message[FromReader]]) -> None:
        self._on_messages(None, received)

    def lose(self, pipe: Pipe[FromReader]) -> None:
        link = self._links.pop(pipe, None)
        if link is not None:
            self._on_lost(link)
