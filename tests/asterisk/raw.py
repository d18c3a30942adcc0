"""A plain AMI session for the facts about Asterisk: a socket without amid, so that both cannot have
the same error.

Nothing here waits by the clock. A session is served strictly in sequence, so a Ping after a request
is a fence: everything before its answer belongs to the request.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self, TypeVar

TIMEOUT_S = 10.0
T = TypeVar("T")


class Packet(list[tuple[str, str]]):
    """The headers of one packet in order, bytes as Latin-1; a line without a colon is a name without a value."""

    def __getitem__(self, name: str) -> str | None:  # type: ignore[override]
        return next((value for key, value in self if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self if key == name]

    @property
    def message(self) -> str | None:
        return self["Message"]


class Place(Protocol):
    """The address of a manager interface, and its user: an `Asterisk`, or an object with the same
    attributes."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def username(self) -> str: ...
    @property
    def secret(self) -> str: ...


class Raw:
    """A session, logged in unless `login` is false; `events` is the mask."""

    def __init__(self, server: Place, username: str = "", events: str = "off", login: bool = True) -> None:
        self._socket = socket.create_connection((server.host, server.port), TIMEOUT_S)
        self._file = self._socket.makefile("rb")
        self._fences = itertools.count()
        self.greeting = self._file.readline()
        if login:
            self.send(request("Login", Username=username or server.username, Secret=server.secret, Events=events))
            assert self.packet().message == "Authentication accepted"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def packet(self) -> Packet:
        """The next packet, empty ones too; EOFError when the session is closed, TimeoutError after 10 s."""
        packet = Packet()
        while line := self._file.readline():
            text = line.decode("latin-1").removesuffix("\n").removesuffix("\r")
            if not text:
                return packet
            name, _, value = text.partition(":")
            packet.append((name, value.removeprefix(" ")))
        raise EOFError(packet)

    def line(self, pattern: str) -> None:
        """Reads up to the next line that is like this; EOFError when the session is closed before, TimeoutError after 10 s."""
        while not re.fullmatch(pattern, (line := self._file.readline()).decode("latin-1").rstrip("\r\n")):
            if not line:
                raise EOFError(pattern)

    def exchange(self, data: bytes) -> list[Packet]:
        """Sends bytes, and gives all packets that they brought."""
        fence = f"fence-{next(self._fences)}"
        self.send(data + request("Ping", fence))
        return list(iter(lambda: self._before(fence), None))

    def ask(self, action: str, action_id: str = "fact", **fields: str | int) -> list[Packet]:
        """Sends one action, and gives all packets that it brought."""
        return self.exchange(request(action, action_id, **fields))

    def answer(self, action: str, action_id: str = "fact", **fields: str | int) -> Packet:
        """Sends one action that is answered by one packet."""
        (packet,) = self.ask(action, action_id, **fields)
        return packet

    def until(self, event: str, **fields: str) -> Packet:
        """The next event of this name with these headers; the others are passed over."""
        while True:
            packet = self.packet()
            if packet["Event"] == event and all(packet[name] == value for name, value in fields.items()):
                return packet

    def is_closed(self) -> bool:
        """Whether Asterisk closes the session without another packet; TimeoutError when it does neither in 10 s."""
        return self._file.readline() == b""

    def was_read(self) -> bool:
        """Whether Asterisk has read all that was sent: the kernel holds nothing for its end of the connection."""
        ends = [f":{port:04X}" for port in (self._socket.getpeername()[1], self._socket.getsockname()[1])]
        rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
        (queues,) = (row[4] for row in rows if [row[1][-5:], row[2][-5:]] == ends)
        return queues.endswith(":00000000")

    def _before(self, fence: str) -> Packet | None:
        packet = self.packet()
        return None if packet["ActionID"] == fence else packet


def request(action: str, action_id: str = "", **fields: str | int) -> bytes:
    """An action's bytes, text as Latin-1."""
    headers = {"Action": action, "ActionID": action_id, **fields}
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1") + b"\r\n"


def error(message: str, action_id: str | None = None) -> Packet:
    """The packet of an error, for comparison."""
    ids = [("ActionID", action_id)] if action_id is not None else []
    return Packet([("Response", "Error"), *ids, ("Message", message)])


def eventually(look: Callable[[], T]) -> T:
    """Poll until the value is true, and return it."""
    deadline = time.monotonic() + TIMEOUT_S
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
    return seen


def call(session: Raw, extension: str) -> str:
    """Send an answered call to an extension and return the name of one of its channels."""
    answer = session.answer("Originate", Channel="Local/answer@calls", Context="calls", Exten=extension, Priority=1)
    assert answer["Response"] == "Success"
    channels = (packet["Channel"] for packet in session.ask("CoreShowChannels"))
    return next(name for name in channels if name)
