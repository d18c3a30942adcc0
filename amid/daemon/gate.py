"""Who may connect over TCP: the callers whose public keys the configuration has, and nobody else.

CURVE encrypts (ZeroMQ RFC 25 and 26) and ZAP asks us about each key (RFC 27). The ipc sockets are bound before the key is set, so
the kernel's file modes alone guard them.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterable, Mapping

import zmq
from zmq.utils import z85

from amid import wire
from amid.config import Caller

log = logging.getLogger("amid.gate")

LOCAL = "local"
"""The caller on an ipc socket."""


class Gate:
    """Answers ZeroMQ's question whether a key is known. The owner polls `socket` and calls `step`; `refused` counts the others."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], secret_key: str, callers: Mapping[str, Caller]) -> None:
        self._secret_key = secret_key.encode()
        self.refused = 0
        self.know(callers)
        self.socket = context.socket(zmq.REP)
        self.socket.bind("inproc://zeromq.zap.01")

    def know(self, callers: Mapping[str, Caller]) -> None:
        """Let these callers in, and no others, from now on."""
        self._names = {z85.decode(caller.key): name for name, caller in callers.items() if caller.key}

    def step(self) -> None:
        """Answer one question, if there is one."""
        try:
            version, request, _domain, address, _identity, _mechanism, *credentials = self.socket.recv_multipart(zmq.DONTWAIT)
        except zmq.Again:
            return
        name = self._names.get(credentials[0]) if credentials else None
        if name is None:
            self.refused += 1
            log.warning("a connection from %s was refused: its key is in no [callers.NAME]", address.decode())
            self.socket.send_multipart([version, request, b"400", b"unknown key", b"", b""])
        else:
            self.socket.send_multipart([version, request, b"200", b"OK", name.encode(), b""])

    def listen(self, socket: zmq.Socket[bytes], endpoints: Iterable[str]) -> None:
        """Bind `socket`, which has its ipc endpoint already, to TCP endpoints too; only known keys get through."""
        socket.set(zmq.CURVE_SERVER, 1)
        socket.set(zmq.CURVE_SECRETKEY, self._secret_key)
        socket.set(zmq.ZAP_DOMAIN, b"amid")
        for endpoint in endpoints:
            socket.set(zmq.IPV6, wire.is_ipv6(endpoint))
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                number = error.errno or 0
                why = "it names no address of this machine" if number == errno.ENODEV else zmq.strerror(number)
                log.error("cannot listen on %s: %s", endpoint, why)
                sys.exit(1)


def caller_of(frame: zmq.Frame) -> str:
    """The name of the caller that sent a message: from his key, or `local`."""
    try:
        return str(frame.get("User-Id")) or LOCAL
    except zmq.ZMQError:
        return LOCAL
