"""The gateway's process: uvicorn on asyncio, with a beat that the same loop gives.

`python -m amid gateway`: started by the supervisor, or by hand with a configuration, for debugging.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from amid.config import Config
from amid.gateway.app import Gateway
from amid.gateway.connections import Connections, network_of
from amid.process.child import Child
from amid.process.settings import GatewaySettings, gateway_settings

log = logging.getLogger("amid.gateway")

GRACE_S = 1
"""Seconds that open requests have when the gateway is told to end; streams begin again with its successor."""

IN_USE = "Address already in use; name another with listen in [gateway] (8088 is the port of Asterisk's own HTTP server too)"

BACKLOG = 2048
"""Connections that the kernel holds until they are accepted."""

ACCEPTED_AT_ONCE = 16
"""Connections that one pass of the loop accepts: a flood of them then leaves each one time to send its token."""

UNREAD_S = 30
"""Seconds for which a client may read nothing of what it is sent; then the kernel closes the connection."""

HEAD_S = 5.0
"""Seconds that a connection has for the head of a request, the first and each further one."""


class Connection(H11Protocol):
    """A connection that is counted, and on which requests come in time.

    uvicorn waits for ever for a connection's first request, and for one whose head comes a byte at a time.
    """

    def __init__(self, connections: Connections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}
        self._all.opened(transport, network_of(self.client[0] if self.client else ""))
        self.loop.call_later(HEAD_S, self._watch, None)

    def _watch(self, last: object) -> None:
        """Close it when nothing was asked since the last look, `last` being the request that was over then."""
        if self not in self.connections:  # closed, or a WebSocket by now
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is last:
            self.transport.close()
            return
        self.loop.call_later(HEAD_S, self._watch, self.cycle if idle else self)


class Server(uvicorn.Server):
    """Signals are the child's business. asyncio accepts as many connections at once as the kernel holds, unless told apart."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(config: Config | None = None) -> None:
    if config is not None and config.gateway is None:
        sys.exit("amid: the configuration has no [gateway]")
    by_hand = gateway_settings(config, config.gateway) if config is not None and config.gateway is not None else None
    child = Child(by_hand)
    settings = msgspec.convert(child.configuration, GatewaySettings)
    child.set_up_log([token.token for token in settings.gateway.tokens.values()], process="gateway")
    logging.getLogger("uvicorn.error").addFilter(_means_something)
    asyncio.run(_serve(child, settings, _listening(settings.gateway.listen)))


def _means_something(record: logging.LogRecord) -> bool:
    """uvicorn tells of its life as a program at a terminal would, Ctrl-C and all; and it calls each WebSocket that is refused an
    error of the application's, so that anybody could fill the log."""
    return record.levelno >= logging.WARNING and "without completing handshake" not in record.getMessage()


def _listening(addresses: Sequence[str]) -> list[socket.socket]:
    """On each ADDRESS:PORT. Ends the process where that cannot be."""
    opened = []
    for address in addresses:
        try:
            opened.append(_listener(address, addresses))
        except OSError as error:
            log.error("cannot listen on %s: %s", address, IN_USE if error.errno == errno.EADDRINUSE else error.strerror)
            sys.exit(1)
        log.info("listens on http://%s", address)
    return opened


def _listener(address: str, addresses: Sequence[str]) -> socket.socket:
    """All of IPv6 takes IPv4 as well, unless all of IPv4 is in the list, or this system keeps the two apart."""
    host, _, port = address.rpartition(":")
    ipv6 = host.startswith("[")
    both = host == "[::]" and f"0.0.0.0:{port}" not in addresses
    if both and not socket.has_dualstack_ipv6():
        log.warning("%s serves IPv6 only: add 0.0.0.0:%s to listen in [gateway] for IPv4", address, port)
        both = False
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    listening = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    # Accepted connections inherit both. asyncio sets TCP_NODELAY only on sockets that were made with the protocol number of TCP.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
    return listening


async def _serve(child: Child, settings: GatewaySettings, listeners: list[socket.socket]) -> None:
    gateway = Gateway(settings)
    server = Server(
        uvicorn.Config(
            gateway.app,
            http=cast("type[asyncio.Protocol]", partial(Connection, gateway.connections)),
            backlog=ACCEPTED_AT_ONCE,
            proxy_headers=False,  # any program on this machine could say that it is another one
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            ws_max_size=65536,
            lifespan="off",
        )
    )
    child.start()
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(_end_with(child, server)), group.create_task(gateway.run())]
        await server.serve(listeners)
        for task in beside:
            task.cancel()


async def _end_with(child: Child, server: Server) -> None:
    await child.ended.wait()
    server.should_exit = True
