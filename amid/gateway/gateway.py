"""The gateway process: uvicorn on asyncio. The heartbeat is a timer of the same loop, so it proves
that the loop runs.

`python -m amid gateway` is started by the supervisor, or with `-c FILE` for debugging.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from amid.config.tables import Config
from amid.gateway.app import Gateway
from amid.gateway.connections import Connections
from amid.process.bindings import Bindings, Report, listening_socket
from amid.process.child import Child
from amid.process.loop import run_child
from amid.process.settings import GatewaySettings, gateway_settings
from amid.rpc.guesses import network_of

log = logging.getLogger("amid.gateway")

GRACE_S = 1
"""Seconds for open requests to complete at shutdown; streams reconnect to the next gateway process."""

LISTEN_KEY = "listen in [gateway] (8088 is also the port of Asterisk's HTTP server)"

BACKLOG = 2048
"""Connections that the kernel queues until they are accepted (listen(2))."""

ACCEPTED_AT_ONCE = 16
"""Connections accepted in one iteration of the loop, so that during a flood each connection has
time to send its token."""

UNREAD_S = 30
"""Seconds after which the kernel closes a connection whose peer does not read (TCP_USER_TIMEOUT)."""

READ_BYTES = 4096
"""Bytes read from a connection in one iteration of the loop. With asyncio's 256 KiB, a client that
sends a body in chunks of one byte would stop the loop for seconds."""
READ_WEBSOCKET_BYTES = 1024
"""The same for a WebSocket, whose empty frames cost more; its client has little to send."""

HEAD_S = 5.0
"""Timeout in seconds for the head of each request."""

MAX_UNREAD_BYTES = 1024 * 1024
"""Unread bytes of a WebSocket above which its pings are not answered."""

FAULTS_OF_CLIENTS = ("without completing handshake", "Invalid UTF-8 sequence", "timeout graceful shutdown exceeded")
"""Parts of uvicorn's reports of errors that a client can cause; the last one is of streams that are open at the end."""


class Connection(H11Protocol):
    """A connection that is registered, with a timeout for the head of each request.

    uvicorn has no timeout for a connection's first request, nor for a head that arrives byte by
    byte.
    """

    def __init__(self, connections: Connections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._all = connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self.app_state = {**self.app_state, "transport": transport}
        self._all.opened(transport, network_of(self.client[0] if self.client else ""))
        self.loop.call_later(HEAD_S, self._watch, None)

    def _watch(self, last: object) -> None:
        """Close the connection if no request has arrived since the last check. last: the request
        that was complete then."""
        if self not in self.connections:  # closed, or upgraded to a WebSocket
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is last:
            self.transport.close()
            return
        self.loop.call_later(HEAD_S, self._watch, self.cycle if idle else self)


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket that answers no pings while its peer does not read. uvicorn would keep the pongs
    without a limit; one for the latest ping suffices (RFC 6455, section 5.5.3). Events wait until the
    peer reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.max_size = READ_WEBSOCKET_BYTES  # type: ignore[attr-defined]

    def handle_ping(self) -> None:
        pong = self.conn.data_to_send()
        if self.transport.get_write_buffer_size() <= MAX_UNREAD_BYTES:
            self.transport.write(b"".join(pong))


class Server(uvicorn.Server):
    """A server that leaves signals to `Child`, listens on what it can, and accepts few connections
    at a time; asyncio would accept all that the kernel has queued."""

    def __init__(self, config: uvicorn.Config, report: Report, addresses: Sequence[str]) -> None:
        super().__init__(config)
        self._addresses = addresses
        self._bindings = Bindings(self._listen, LISTEN_KEY, report)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._bindings.listen(self._addresses)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bindings.close()
        await super().shutdown(sockets)

    async def _listen(self, address: str) -> None:
        """As `uvicorn.Server.startup` does for its sockets, which it takes only once. Raises
        `OSError`."""
        listening = await _listener(address, self._addresses)
        protocol = partial(
            cast("type[Connection]", self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_server(protocol, sock=listening, backlog=ACCEPTED_AT_ONCE))
        listening.listen(BACKLOG)
        log.info("listens on http://%s", address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(config: Config | None = None) -> None:
    if config is not None and config.gateway is None:
        sys.exit("amid: the configuration has no table [gateway]; etc/amid.toml shows one")
    by_hand = gateway_settings(config, config.gateway) if config is not None and config.gateway is not None else None
    child = Child(GatewaySettings, by_hand)
    settings = child.settings
    child.set_up_log([token.token for token in settings.gateway.tokens.values()], process="gateway")
    logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)
    # asyncio's own loop: uvloop ignores ACCEPTED_AT_ONCE
    run_child(_serve(child, settings), asyncio.Runner())


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Filter uvicorn's log: it reports its start like a program on a terminal, and logs faults
    of clients on a WebSocket as application errors, so that any client could fill the log."""
    return record.levelno >= logging.WARNING and not any(fault in record.getMessage() for fault in FAULTS_OF_CLIENTS)


async def _listener(address: str, addresses: Sequence[str]) -> socket.socket:
    listening = await listening_socket(address, addresses, BACKLOG)
    # Accepted connections inherit both options. asyncio sets TCP_NODELAY only on sockets created
    # with the protocol number of TCP.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
    return listening


async def _serve(child: Child[GatewaySettings], settings: GatewaySettings) -> None:
    gateway = Gateway(settings)
    config = uvicorn.Config(
        gateway.app,
        http=cast("type[asyncio.Protocol]", partial(Connection, gateway.connections)),
        ws=WebSocketConnection,
        proxy_headers=False,  # otherwise any local program could claim another address
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=65536,
        lifespan="off",
    )
    server = Server(config, child.report_problem, settings.gateway.listen)
    child.start()
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(_end_with(child, server)), group.create_task(gateway.run())]
        await server.serve()
        for task in beside:
            task.cancel()


async def _end_with(child: Child[GatewaySettings], server: Server) -> None:
    await child.ended.wait()
    server.should_exit = True
