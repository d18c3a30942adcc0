"""A connection and the manager session on it, as the reader's loop handles the two together."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from amid.ami.session import Session
from amid.config import Server
from amid.reader.connection import Address, Connection


class Link:
    """Dials at once; `session` is there once the connection is open. Any method may raise `OSError` or `ProtocolError`."""

    def __init__(
        self,
        server: Server,
        tls: ssl.SSLContext | None,
        make_session: Callable[[float], Session],
        now: float,
        address: Address | None = None,
    ) -> None:
        """address: the only one to connect to, in place of those that the server's name has."""
        self._connection = Connection(server, tls, now, address)
        self._make_session = make_session
        self.began = now
        self.session: Session | None = None

    @property
    def address(self) -> Address | None:
        return self._connection.address

    @property
    def up(self) -> bool:
        return self.session is not None and self.session.up

    def poll_item(self) -> tuple[int, int]:
        return self._connection.fileno(), self._connection.wants()

    def pending(self) -> bool:
        return self._connection.pending()

    def step(self, ready: int, now: float) -> bytes | None:
        """Connect or write, then read once: the bytes, b"" at the end of the stream, None when there is nothing."""
        connection = self._connection
        connection.advance(ready, now)
        if not connection.open:
            return None
        if self.session is None:
            self.session = self._make_session(now)
        return connection.receive() if connection.readable(ready) else None

    def flush(self) -> None:
        """Send what the session has to say."""
        data = self.session.data_to_send() if self.session is not None else b""
        if data:
            self._connection.send(data)

    def next_deadline(self) -> float:
        if self.session is not None:
            return self.session.next_deadline()
        return self._connection.next_deadline() or self.began

    def close(self) -> None:
        self._connection.close()
