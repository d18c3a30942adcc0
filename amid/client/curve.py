"""Opening a client's sockets, with CURVE keys for TCP (ZeroMQ RFC 26)."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import zmq

from amid import wire
from amid.client import protocol
from amid.errors import AmidError

S = TypeVar("S", bound="zmq.Socket[Any]")
KEY_LENGTH = 40
"""Characters of a key in Z85 (ZeroMQ RFC 32)."""


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
    """Connect a socket. Raises `zmq.ZMQError` when `endpoint` is not an endpoint, and `AmidError` for
    invalid keys."""
    if curve is not None:
        _check(curve)
        curve.put_on(socket)
    socket.set(zmq.IPV6, wire.is_ipv6(endpoint))
    socket.connect(endpoint)


def _check(curve: Curve) -> None:
    """Raise `AmidError` of kind `unreachable` for keys with which no daemon can be reached."""
    for name, key in curve._asdict().items():
        if not _is_key(key):
            advice = "`amid keygen FILE` prints the public key and writes the secret one"
            raise AmidError("unreachable", f"invalid Curve: {name} is not a key of {KEY_LENGTH} characters; {advice}")
    if zmq.curve_public(curve.secret.encode()) != curve.public.encode():
        raise AmidError("unreachable", "invalid Curve: public is not the key that `amid keygen` printed for secret")


def _is_key(key: str) -> bool:
    """Whether it is Z85 of 32 bytes. Not every text of its 85 characters is: five of them are at most
    2**32 - 1."""
    try:
        zmq.curve_public(key.encode())
    except (zmq.ZMQError, ValueError):  # includes UnicodeError
        return False
    return True


def open_dealer(context: zmq.Context[S], endpoint: str, curve: Curve | None) -> S:
    """A DEALER socket that queues nothing while it has no connection. Raises `AmidError` of kind
    `unreachable`."""
    socket = context.socket(zmq.DEALER)
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.IMMEDIATE, 1)
    try:
        connect(socket, endpoint, curve)
    except AmidError:
        socket.close()
        raise
    except zmq.ZMQError as error:
        socket.close()
        raise protocol.no_broker(f"{endpoint} ({error})") from None
    return socket
