"""Listening sockets and TLS.

Connections are accepted here instead of by asyncio, so that one in a TLS handshake counts as a
connection that has not logged in. A connection over the limit is closed without a greeting, as
Asterisk closes it (`authlimit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial

from amid.config.tables import Listener
from amid.process.bindings import Bindings, Report, listening_socket

log = logging.getLogger("amid.listener")

OWN_PORT = "in [listener] (5038 is also Asterisk's own port)"
BACKLOG = 1024
ACCEPTED_AT_ONCE = 16
"""Connections accepted in one pass of the loop."""
IDLE_S, INTERVAL_S, PROBES = 60, 20, 3
"""TCP keepalive: seconds of silence before the first probe and between two, and their number."""

OnConnection = Callable[[socket.socket, str, ssl.SSLContext | None], object]
"""Takes an accepted socket, the peer's address, and the TLS context, None for plain TCP."""


class Ports:
    """The listening sockets. `configure` opens and closes them; connections stay open. report: see
    `Bindings`."""

    def __init__(self, on_connection: OnConnection, report: Report) -> None:
        self._on_connection = on_connection
        keys = {False: f"listen {OWN_PORT}", True: f"tls_listen {OWN_PORT}"}
        self._bindings = {tls: Bindings(partial(self._listen, tls), key, report) for tls, key in keys.items()}
        self._addresses: dict[bool, Sequence[str]] = {}
        self._loop = asyncio.get_running_loop()
        self._open: dict[tuple[str, bool], socket.socket] = {}
        self._context: ssl.SSLContext | None = None

    def configure(self, listener: Listener) -> None:
        """Listen as configured."""
        self._context = tls_context(listener)
        self._addresses = {False: listener.listen, True: listener.tls_listen}
        for unwanted in [(address, tls) for address, tls in self._open if address not in self._addresses[tls]]:
            self._close(unwanted)
        for tls, bindings in self._bindings.items():
            bindings.listen(address for address in self._addresses[tls] if (address, tls) not in self._open)

    def close(self) -> None:
        for bindings in self._bindings.values():
            bindings.close()
        for key in list(self._open):
            self._close(key)

    async def _listen(self, tls: bool, address: str) -> None:
        listening = await listening_socket(address, self._addresses[tls], BACKLOG)
        listening.setblocking(False)
        self._open[address, tls] = listening
        self._loop.add_reader(listening.fileno(), self._accept, listening, tls)
        log.info("listening on %s%s", address, " with TLS" if tls else "")

    def _close(self, key: tuple[str, bool]) -> None:
        listening = self._open.pop(key)
        self._loop.remove_reader(listening.fileno())
        listening.close()
        log.info("stopped listening on %s", key[0])

    def _accept(self, listening: socket.socket, tls: bool) -> None:
        with contextlib.suppress(OSError):  # none waits, its peer has left, or no descriptor is available
            for _ in range(ACCEPTED_AT_ONCE):
                accepted, (address, *_) = listening.accept()
                _set_options(accepted)
                self._on_connection(accepted, address, self._context if tls else None)


def tls_context(listener: Listener) -> ssl.SSLContext | None:
    """The context of `tls_cert` and `tls_key`. Raises `OSError` if they cannot be used."""
    if listener.tls_cert is None or listener.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(listener.tls_cert, listener.tls_key)
    return context


def _set_options(accepted: socket.socket) -> None:
    accepted.setblocking(False)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, INTERVAL_S)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
