"""How a client's sockets connect, and the keys of one that comes over TCP (CURVE, ZeroMQ RFC 26)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import zmq

from amid import wire
from amid.client import rules

S = TypeVar("S", bound="zmq.Socket[Any]")


class Curve(NamedTuple):
    """Keys in Z85, 40 characters each: the daemon's public one, and this client's pair, as `amid keygen` prints them."""

    server_public: str
    public: str
    secret: str

    def put_on(self, socket: zmq.Socket[Any]) -> None:
        """Before the socket is connected."""
        socket.set(zmq.CURVE_SERVERKEY, self.server_public.encode())
        socket.set(zmq.CURVE_PUBLICKEY, self.public.encode())
        socket.set(zmq.CURVE_SECRETKEY, self.secret.encode())


def connect(socket: zmq.Socket[Any], endpoint: str, curve: Curve | None) -> None:
    """Raises `zmq.ZMQError` for what is no endpoint."""
    if curve is not None:
        curve.put_on(socket)
    socket.set(zmq.IPV6, wire.is_ipv6(endpoint))
    socket.connect(endpoint)


def open_dealer(context: zmq.Context[S], endpoint: str, curve: Curve | None) -> S:
    """A socket for calls, which queues nothing for a broker that is not there. Raises `AmidError` of kind `unreachable`."""
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IMMEDIATE, 1)
    try:
        connect(socket, endpoint, curve)
    except zmq.ZMQError as error:
        socket.close()
        raise rules.no_broker(f"{endpoint} ({error})") from None
    return socket
