"""One TCP or TLS connection that never blocks: not on a name, not on a peer that does not answer, not on one that does not read.

The owner polls `fileno` for what `wants` says and calls `advance`. Names are resolved in a thread of their own, because
getaddrinfo(3) has no other way; it holds nothing, and one that never returns is left behind.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from typing import Any

import zmq

from amid.config import Server

CONNECT_S = 5.0
"""Seconds for a name's resolution, and for each address that it gives."""

READ_SIZE = 65536
"""Bytes taken in one read: what bounds one pass of the loop."""

Address = tuple[Any, ...]
"""An address as getaddrinfo(3) gives it: family, type, protocol, canonical name, socket address."""

IN, OUT = int(zmq.POLLIN), int(zmq.POLLOUT)
"""As plain numbers: an enumeration's operators cost a microsecond each, for each connection in each pass."""


class Connection:
    """From `host` and `port` to an open stream. Every method may raise `OSError`; then the owner calls `close`.

    only: the address to connect to, without resolving the name. `address` is the one that is, or was last, connected to.
    """

    def __init__(self, server: Server, tls: ssl.SSLContext | None, now: float, only: Address | None = None) -> None:
        self._host = server.host
        self._port = server.tcp_port
        self._tls = tls
        self._out = bytearray()
        self._socket: socket.socket | None = None
        self._lookup: _Lookup | None = None
        self._addresses: list[Address] = []
        self.address: Address | None = None
        self._deadline = now + CONNECT_S
        self._handshaking = False
        self._wants_write = False
        """TLS cannot go on reading, or shaking hands, before it has written."""
        self._wants_read = False
        """TLS cannot go on writing before it has read: the peer asked for new keys (RFC 5246, 7.4.1.1; RFC 8446, 4.6.3)."""
        self.open = False
        if only is None:
            self._lookup = _Lookup(server.host, server.tcp_port)
        else:
            self._addresses = [only]
            self._next_address(now, OSError(errno.EHOSTUNREACH, "not connected"))

    def fileno(self) -> int:
        if self._lookup is not None:
            return self._lookup.fileno()
        assert self._socket is not None, "a closed connection is not polled"
        return self._socket.fileno()

    def wants(self) -> int:
        """What to poll for, as ZeroMQ's flags."""
        if self._lookup is not None:
            return IN
        if not self.open:
            return OUT if not self._handshaking or self._wants_write else IN
        return IN | OUT if self._wants_write or (self._out and not self._wants_read) else IN

    def next_deadline(self) -> float | None:
        return None if self.open else self._deadline

    def advance(self, ready: int, now: float) -> None:
        """Take the next step towards `open`, or write what is waiting."""
        if self._lookup is not None:
            if ready:
                self._resolved(now)
        elif self._handshaking:
            if ready:
                self._shake_hands()
        elif not self.open and ready:
            self._connected(now)
        elif self.open:
            self._flush()
        if not self.open and now >= self._deadline:
            self._next_address(now, TimeoutError(errno.ETIMEDOUT, f"no connection within {CONNECT_S:g} s"))

    def send(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def receive(self) -> bytes | None:
        """What has come, at most `READ_SIZE` bytes; b"" at the end of the stream, None when there is nothing now."""
        assert self._socket is not None, "only an open connection is read"
        self._wants_write = self._wants_read = False  # a write that waited for what is read here can go on
        try:
            return self._socket.recv(READ_SIZE)
        except ssl.SSLWantWriteError:
            self._wants_write = True
            return None
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLError as error:  # TLS 1.3 refuses a client's certificate only after the handshake (RFC 8446, 4.4.2.4)
            raise _explained(error, self._host) from error

    def readable(self, ready: int) -> bool:
        """Whether there may be something to receive."""
        return ready & IN != 0 or (self._wants_write and ready & OUT != 0) or self.pending()

    def pending(self) -> bool:
        """Whether TLS holds bytes that a poll does not see."""
        return isinstance(self._socket, ssl.SSLSocket) and self.open and self._socket.pending() > 0

    def close(self) -> None:
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.open = False

    def _resolved(self, now: float) -> None:
        assert self._lookup is not None
        lookup, self._lookup = self._lookup, None
        self._addresses = lookup.take()
        self._next_address(now, OSError(errno.EHOSTUNREACH, f"{self._host} has no address"))

    def _next_address(self, now: float, failure: OSError) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._handshaking = False
        if not self._addresses:
            raise failure
        self.address = self._addresses.pop(0)
        family, kind, protocol, _, address = self.address
        self._deadline = now + CONNECT_S
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = self._socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self._next_address(now, OSError(code, os.strerror(code)))

    def _connected(self, now: float) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._next_address(now, OSError(code, os.strerror(code)))
        elif self._tls is None:
            self.open = True
        else:
            self._socket = self._tls.wrap_socket(self._socket, do_handshake_on_connect=False, server_hostname=self._host)
            self._handshaking = True
            self._shake_hands()

    def _shake_hands(self) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        self._wants_write = False
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._wants_write = True
        except ssl.SSLError as error:
            raise _explained(error, self._host) from error
        else:
            self._handshaking = False
            self.open = True

    def _flush(self) -> None:
        if not self.open or self._socket is None:
            return
        self._wants_read = False
        try:
            while self._out:
                sent = self._socket.send(self._out)
                del self._out[:sent]
        except ssl.SSLWantReadError:
            self._wants_read = True
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except ssl.SSLError as error:
            raise _explained(error, self._host) from error


def tls_context(server: Server) -> ssl.SSLContext | None:
    """What the server's tls keys ask for. Raises `OSError` or `ssl.SSLError` when a file of theirs cannot be used."""
    if not server.tls:
        return None
    context = ssl.create_default_context(cafile=server.tls_ca)
    if not server.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if server.tls_cert and server.tls_key:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    return context


def _explained(error: ssl.SSLError, host: str) -> OSError:
    """The failure of TLS, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is refused: {error.verify_message}; tls_ca names the authority to trust"
    elif error.reason == "WRONG_VERSION_NUMBER":
        what = "this port does not speak TLS; give the one of tlsbindaddr in manager.conf, or tls = false"
    elif "_ALERT_" in (error.reason or ""):
        what = f"{host} ended TLS: {error.reason}; if it asks for a certificate of amid's, tls_cert and tls_key give one it trusts"
    else:
        what = f"TLS failed: {error.strerror or error}"
    return OSError(errno.EPROTO, what)


class _Lookup:
    """getaddrinfo in a thread; `fileno` becomes readable when `take` has something."""

    def __init__(self, host: str, port: int) -> None:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._outcome: list[Any] | OSError | None = None
        threading.Thread(target=self._resolve, args=(host, port, self._writing), daemon=True).start()

    def fileno(self) -> int:
        return self._reading

    def take(self) -> list[Any]:
        """The addresses; raises what getaddrinfo raised."""
        outcome = self._outcome
        self.close()
        if isinstance(outcome, OSError):
            raise outcome
        return list(outcome or [])

    def close(self) -> None:
        os.close(self._reading)

    def _resolve(self, host: str, port: int, writing: int) -> None:
        try:
            self._outcome = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            self._outcome = error
        except UnicodeError as error:
            self._outcome = OSError(errno.EINVAL, f"{host!r} is not a host's name: {error}")
        os.close(writing)  # the end of file is the signal; only this thread owns this end
