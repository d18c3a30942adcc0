"""A relay in front of a PBX that records all bytes for it: what really reached Asterisk."""

from __future__ import annotations

import re
import selectors
import socket
import threading
from typing import Self

from tests.asterisk.raw import Place


class Recorder:
    """Listens on loopback; each connection to it is one to the PBX."""

    def __init__(self, pbx: Place) -> None:
        self.username, self.secret = pbx.username, pbx.secret
        self._pbx = (pbx.host, pbx.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._sent: list[bytes] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def table(self) -> dict[str, str | int]:
        """The keys of a server table of amid."""
        return {"host": self.host, "port": self.port, "username": self.username, "secret": self.secret}

    def sent(self) -> bytes:
        """All recorded bytes for Asterisk."""
        return b"".join(self._sent)

    def actions(self) -> list[str]:
        """The recorded actions in lower case."""
        return [name.decode().lower() for name in re.findall(rb"^action: *([^\r\n]*)", self.sent(), flags=re.I | re.M)]

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.1):
                    self._serve(selector, key)
            for open_key in list(selector.get_map().values()):
                open_key.fileobj.close()  # type: ignore[union-attr]

    def _serve(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        """The `data` of a selector key: the other socket and its recorded bytes; None for the
        listener."""
        if key.data is None:
            client, server = self._listener.accept()[0], socket.create_connection(self._pbx)
            selector.register(client, selectors.EVENT_READ, (server, self._sent))
            selector.register(server, selectors.EVENT_READ, (client, []))
            return
        source: socket.socket = key.fileobj  # type: ignore[assignment]
        target, kept = key.data
        if source.fileno() < 0:
            return  # closed in this round, by its other end
        try:
            data = source.recv(65536)
            kept.append(data)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                selector.unregister(end)
                end.close()
