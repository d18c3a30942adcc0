"""A listener in front of a PBX, and plain connections to either of them."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.asterisk.server import free_port
from tests.conformance.pbx import Pbx
from tests.daemon import Daemon, eventually

BOUND_S = 30.0
QUIET_S = 1.0
"""Time without a byte after which nothing more is expected, where no fence can be sent."""


@dataclass(frozen=True)
class Endpoint:
    """An AMI port and a user of it. kind: "asterisk" or "listener"."""

    kind: str
    host: str
    port: int
    username: str
    secret: str


def users_file(directory: Path, text: str) -> str:
    file = directory / "listener-users.conf"
    file.touch(mode=0o600)
    file.write_text(text)
    return str(file)


def listener_table(directory: Path, users: str, **keys: Any) -> dict[str, Any]:
    return {"listen": f"127.0.0.1:{free_port()}", "users_file": users_file(directory, users), **keys}


def endpoint_of(daemon: Daemon, table: dict[str, Any], username: str, secret: str) -> Endpoint:
    """The endpoint of a listener, once it sends its greeting."""
    host, _, port = table["listen"].rpartition(":")
    endpoint = Endpoint("listener", host, int(port), username, secret)

    def is_ready() -> bool:
        with Connection(endpoint) as connection:
            return connection.greeting.startswith(b"Asterisk Call Manager/")

    try:
        eventually(is_ready, "the listener greets")
    except AssertionError as error:
        raise AssertionError(f"{error}; log:\n{daemon.log.read_text()[-3000:]}") from None
    return endpoint


def of_pbx(pbx: Pbx) -> Endpoint:
    return Endpoint("asterisk", pbx.host, pbx.port, pbx.username, pbx.secret)


class Connection:
    """Bytes to and from an endpoint."""

    def __init__(self, endpoint: Endpoint, greeted: bool = True) -> None:
        self.endpoint = endpoint
        self.socket = socket.create_connection((endpoint.host, endpoint.port), BOUND_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        try:
            self.greeting = self.until(b"\r\n") if greeted else b""
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, end: bytes) -> bytes:
        """The bytes up to and including `end`, or to the end of the connection."""
        while end not in self._unread:
            data = self.socket.recv(65536)
            if not data:
                break
            self._unread += data
        before, found, self._unread = self._unread.partition(end)
        return before + found

    def until_closed(self) -> bytes:
        return self.until(b"\0")

    def until_quiet(self) -> bytes:
        """The bytes until none arrive for QUIET_S, or to the end of the connection."""
        self.socket.settimeout(QUIET_S)
        try:
            while data := self.socket.recv(65536):
                self._unread += data
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(BOUND_S)
        data, self._unread = self._unread, b""
        return data

    def login(self, username: str = "", secret: str = "", events: str = "off", action_id: str = "") -> bytes:
        name, secret = username or self.endpoint.username, secret or self.endpoint.secret
        extra = f"ActionID: {action_id}\r\n" if action_id else ""
        self.send(f"Action: Login\r\n{extra}Username: {name}\r\nSecret: {secret}\r\nEvents: {events}\r\n\r\n".encode())
        return self.until(b"\r\n\r\n")

    def md5_key(self, challenge: bytes) -> str:
        found = re.search(rb"Challenge: (\d+)", challenge)
        assert found, challenge
        return hashlib.md5(found[1] + self.endpoint.secret.encode()).hexdigest()

    def fenced(self, data: bytes) -> bytes:
        """Send `data` and a Ping. Returns the bytes before the answer to the Ping."""
        mark = b"fence-%d" % time.monotonic_ns()
        self.send(data + b"Action: Ping\r\nActionID: %b\r\n\r\n" % mark)
        answer = b"Response: Success\r\nActionID: %b\r\n" % mark
        before = self.until(answer)
        assert before.endswith(answer), f"the connection ended before the answer: {before!r}"
        self.until(b"\r\n\r\n")
        return before.removesuffix(answer)
