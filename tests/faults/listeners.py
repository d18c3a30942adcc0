"""Who listens in the load: three subscribers of amid, and the witness, which has nothing to do with amid.

Each hands records to `write`, and sets `heard_all` when the token `END` has come to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgpack
import zmq
import zmq.asyncio

from amid.client import AsyncClient
from amid.client.feed import Event
from tests.asterisk.raw import request
from tests.faults.records import Cut, Missed, Seen, Tick, Witnessed

Write = Callable[[Any], None]
SERVER = "pbx1"
NAMES = ("UserEvent", "Newchannel", "Hangup")
"""What the subscriber to some names wants."""
END = "the end"
"""The last token of all, said by the witness."""
LARGEST = 1024 * 1024
"""Bytes of one packet of Asterisk."""
SURE = 1.0
"""Seconds before the last packet of a session that broke off until which the witness had seen everything."""


class Listener(Protocol):
    name: str
    heard_all: asyncio.Event

    async def receive(self) -> None:
        """Take what comes, for ever."""


def token(name: str, fields: dict[str, Any]) -> str:
    return str(fields.get("Token", "")) if name == "UserEvent" else ""


class Subscriber:
    """A bare SUB socket, on `stream-` or, for some names, on `events-`. It keeps up, so it keeps all that comes."""

    def __init__(self, name: str, run_dir: str, write: Write) -> None:
        self.name = name
        self.heard_all = asyncio.Event()
        self._write = write
        self._socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, 0)
        topics = [f"stream.{SERVER}."] if name == "stream" else [f"event.{SERVER}.{one}." for one in NAMES]
        for topic in (*topics, f"tick.{SERVER}."):
            self._socket.subscribe(topic)
        self._socket.connect(f"ipc://{run_dir}/{'stream' if name == 'stream' else 'events'}-{SERVER}")

    async def receive(self) -> None:
        """Take events for ever."""
        while True:
            _, body = await self._socket.recv_multipart()
            for event in msgpack.unpackb(body):
                self._take(event, time.monotonic())

    def _take(self, event: dict[str, Any], now: float) -> None:
        if event["event"] == "amid:tick":
            self._write(Tick(self.name, now, event["epoch"], event["seq"], event["counts"]))
            return
        said = token(event["event"], event["fields"])
        if said == END:
            self.heard_all.set()
        self._write(Seen(self.name, now, event["epoch"], event["seq"], event["nth"], event["event"], said))


class Library:
    """The client library's own iterator."""

    name = "client"

    def __init__(self, client: AsyncClient, write: Write) -> None:
        self.heard_all = asyncio.Event()
        self._client = client
        self._write = write

    async def receive(self) -> None:
        async with self._client.events(server=SERVER, gaps=True) as events:
            async for one in events:
                self._take(one, time.monotonic())

    def _take(self, one: Any, now: float) -> None:
        if not isinstance(one, Event):
            self._write(Missed(self.name, now, one.epoch, one.after, one.missed))
            return
        said = token(one.event, one.fields)
        if said == END:
            self.heard_all.set()
        self._write(Seen(self.name, now, one.epoch, one.seq, one.nth, one.event, said))


class Witness:
    """A session of its own with Asterisk, opened again whenever it breaks off, that writes down every UserEvent."""

    name = "witness"

    def __init__(self, host: str, port: int, username: str, secret: str, write: Write) -> None:
        self.heard_all = asyncio.Event()
        self.up = asyncio.Event()
        self._place = (host, port)
        self._login = request("Login", Username=username, Secret=secret, Events="user")
        self._write = write
        self._session = 0
        self._number = 0
        self._last = self._since = time.monotonic()
        self._writer: asyncio.StreamWriter | None = None

    async def receive(self) -> None:
        """Sessions for ever."""
        while True:
            with contextlib.suppress(OSError, EOFError):
                await self._one_session()
            self._cut()
            await asyncio.sleep(0.05)  # the pace of asking

    def _cut(self) -> None:
        if self.up.is_set():
            self.up.clear()
            self._since = self._last - SURE
            self._write(Cut(self._since, None))

    async def _one_session(self) -> None:
        reader, self._writer = await asyncio.open_connection(*self._place, limit=LARGEST)
        try:
            self._writer.write(self._login)
            while True:
                line = await reader.readuntil(b"\r\n\r\n")
                self._packet(line.decode("latin-1"), time.monotonic())
        finally:
            self._writer.close()

    def _packet(self, text: str, now: float) -> None:
        headers = dict(line.split(": ", 1) for line in text.split("\r\n") if ": " in line)
        if headers.get("Message") == "Authentication accepted":
            self._session += 1
            self._write(Cut(self._since, now))
            self.up.set()
        elif headers.get("Event") == "UserEvent" and "Token" in headers:
            self._number += 1
            self._write(Witnessed(now, self._session, self._number, headers["Token"]))
            if headers["Token"] == END:
                self.heard_all.set()
        self._last = now

    async def say_the_end(self) -> None:
        """A UserEvent of the witness's own."""
        await self.up.wait()
        assert self._writer is not None
        self._writer.write(request("UserEvent", UserEvent="Load", Token=END))
