"""Opening a client's sockets, with CURVE keys for TCP (ZeroMQ RFC 26)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import zmq

from amid import wire
from amid.client import protocol

S = TypeVar("S", bound="zmq.Socket[Any]")


class Curve(NamedTuple):
    """CURVE keys for TCP, as printed by `amid keygen`.

    Attributes:
        server_public: the daemon's public key, 40 characters of Z85.
        public: this client's public key.
        secret: this client's secret key.
    """

    server_public: str
    public: str
    secret: str

    def put_on(self, socket: zmq.Socket[Any]) -> None:
        """Set the keys on a socket that is not connected yet."""
        socket.set(zmq.CURVE_SERVERKEY, self.server_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())


def connect(socket: zmq.Socket[Any], endpoint: str, curve: Curve | None) -> None:
    """Connect a socket. Raises `zmq.ZMQError` when `endpoint` is not an endpoint."""
    if curve is not None:
        curve.put_on(socket)
    socket.set(zmq.IPV6, wire.is_ipv6(endpoint))
    socket.connect(endpoint)


def open_dealer(context: zmq.Context[S], endpoint: str, curve: Curve | None) -> S:
    """A DEALER socket that queues nothing while it has no connection. Raises `AmidError` of kind
    `unreachable`."""
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IMMEDIATE, 1)
    try:
        connect(socket, endpoint, curve)
    except zmq.ZMQError as error:
        socket.close()
        raise protocol.no_broker(f"{endpoint} ({error})") from None
    return socket
