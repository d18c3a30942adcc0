"""Authentication of TCP peers: only callers with a public key in the configuration can connect.

CURVE encrypts (ZeroMQ RFC 25 and 26), and libzmq asks this handler about each key (ZAP, RFC 27).
The answer sets the key itself as the connection's User-Id. So a connection's rights follow the
current configuration, not the one at its handshake.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import zmq
from zmq.utils import z85

from amid import wire
from amid.config.tables import Caller, Curve
from amid.process.acceptor import BACKLOG
from amid.process.socket_reader import SocketReader

log = logging.getLogger("amid.zap")

HANDSHAKE_MS = 2000
"""Time for the handshake of a TCP peer, which is unknown until then
and occupies memory and a descriptor."""


class ZapAuthenticator:
    """Answers libzmq's questions whether a key is known, on the running loop."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], curve: Curve, callers: Mapping[str, Caller]) -> None:
        self._curve = curve
        self.set_keys(callers)
        self._socket = context.socket(zmq.REP)
        self._socket.bind("inproc://zeromq.zap.01")
        SocketReader(asyncio.get_running_loop(), self._socket, self._answer)

    def set_keys(self, callers: Mapping[str, Caller]) -> None:
        """Accept only these callers from now on."""
        self._keys = {z85.decode(caller.key): caller.key for caller in callers.values() if caller.key}

    def _answer(self) -> bool:
        """Answer one question; False if there was none."""
        try:
            version, request, _domain, address, _identity, mechanism, *credentials = self._socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return False
        key = self._keys.get(credentials[0]) if credentials else None
        if mechanism == b"NULL":  # on ipc; over TCP such a socket offers CURVE only
            answer = [b"200", b"OK", b"", b""]
        elif key is not None:
            answer = [b"200", b"OK", key.encode(), b""]
        else:
            log.warning("refused a connection from %s: its key is in no [callers.NAME]", address.decode())
            answer = [b"400", b"unknown key", b"", b""]
        self._socket.send_multipart([version, request, *answer])
        return True

    def bind_tcp(self, socket: zmq.Socket[bytes], endpoint: str) -> str:
        """Bind `socket` to a TCP endpoint that only known keys can connect to. Returns it with the
        numeric address.

        Its other endpoints stay. Raises `zmq.ZMQError`.
        """
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, (self._curve.secret_key or "").encode())
        socket.set(zmq.ZAP_DOMAIN, b"amid")
        self._close_when_silent(socket)
        socket.set(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.set(zmq.IPV6, wire.is_ipv6(endpoint))
        socket.set(zmq.BACKLOG, BACKLOG)
        socket.bind(endpoint)
        return socket.get_string(zmq.LAST_ENDPOINT)

    def _close_when_silent(self, socket: zmq.Socket[bytes]) -> None:
        """ZMTP heartbeats detect a peer that is stopped or unreachable; TCP's keep the
        connection alive in the tables of firewalls."""
        milliseconds = int(self._curve.silence * 1000)
        socket.set(zmq.HEARTBEAT_IVL, max(1, milliseconds // 3))
        socket.set(zmq.HEARTBEAT_TIMEOUT, max(1, milliseconds * 2 // 3))
        seconds = max(1, int(self._curve.silence))
        for option, value in ((zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, seconds), (zmq.TCP_KEEPALIVE_INTVL, seconds)):
            socket.set(option, value)
        socket.set(zmq.TCP_KEEPALIVE_CNT, 3)
