"""The subscribers of the load: four of amid, two of which pull, and the witness, which is
independent of amid.

Each writes records to `write`, and sets `heard_all` when it has received the token `END`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgpack
import zmq
import zmq.asyncio

from amid.client import AsyncClient, Event
from tests.asterisk.raw import request
from tests.faults.callers import HANDOVER
from tests.faults.judge import MARGIN
from tests.faults.records import Call, Cut, Missed, Seen, Tick, Witnessed

Write = Callable[[Any], None]
SERVER = "pbx1"
NAMES = ("UserEvent", "Newchannel", "Hangup")
"""What the subscriber to some names wants."""
END = "the end"
"""The last token of all, said by the witness."""
PULL = "events"
"""What a call of the puller is called in its record."""
AGAIN_S = 0.5
"""Seconds after an error until the next try, as the contract for clients has it."""
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
            self._write(Tick(self.name, now, event["epoch"], event["seq"], event["last"]))
            return
        said = token(event["event"], event["fields"])
        if said == END:
            self.heard_all.set()
        self._write(Seen(self.name, now, event["epoch"], event["seq"], event["prev"], event["event"], said))


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
        self._write(Seen(self.name, now, one.epoch, one.seq, one.prev, one.event, said))


class Puller:
    """The method `events` on a bare socket, for some names, with a cursor of its own. What it asks is judged as a call, too."""

    name = "pull"

    def __init__(self, run_dir: str, chance: random.Random, write: Write) -> None:
        self.heard_all = asyncio.Event()
        self._endpoint = f"ipc://{run_dir}/rpc"
        self._chance = chance
        self._write = write
        self._after: dict[str, int] | None = None
        self._socket = self._new_socket()

    async def receive(self) -> None:
        """Ask for ever."""
        while True:
            began, timeout = time.monotonic(), self._chance.choice([0.5, 2.0, 10.0])
            reply = await self._ask(timeout)
            kind, own = self._take(reply) if isinstance(reply, dict) else (reply, True)
            self._write(
                Call(self.name, PULL, began, timeout, time.monotonic(), 0.0, kind, kind != "unreachable", own, False, "", "")
            )
            if kind != "ok":
                await asyncio.sleep(AGAIN_S)

    def _new_socket(self) -> zmq.asyncio.Socket:
        socket = zmq.asyncio.Context.instance().socket(zmq.REQ)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.IMMEDIATE, 1)
        socket.connect(self._endpoint)
        return socket

    async def _ask(self, timeout: float) -> dict[str, Any] | str:
        """The reply; why none came, and then the socket is another one."""
        why = "unreachable"
        limit = self._chance.choice([1, 20, 1000])
        params = {"server": SERVER, "after": self._after, "names": [name.upper() for name in NAMES], "limit": limit}
        request = {"id": 1, "method": "events", "params": {**params, "timeout": timeout}}
        try:
            async with asyncio.timeout(HANDOVER):
                await self._socket.send(msgpack.packb(request))
            why = "timeout"
            async with asyncio.timeout(timeout + MARGIN):
                reply: dict[str, Any] = msgpack.unpackb(await self._socket.recv())
                return reply
        except TimeoutError:
            self._socket.close()
            self._socket = self._new_socket()
            return why

    def _take(self, reply: dict[str, Any]) -> tuple[str, bool]:
        """Take the events. How the call ended, and whether that is this program's own word."""
        if "error" in reply:
            return str(reply["error"]["data"]["kind"]), False
        page, now = reply["result"], time.monotonic()
        if self._after is not None and page["missed"] != 0:
            self._write(Missed(self.name, now, self._after["epoch"], self._after["seq"], page["missed"]))
        for event in page["events"]:
            said = token(event["event"], event["fields"])
            if said == END:
                self.heard_all.set()
            self._write(Seen(self.name, now, event["epoch"], event["seq"], event["prev"], event["event"], said))
        self._after = {"epoch": page["epoch"], "seq": page["seq"]}
        return "ok", False


class Witness:
    """A session with Asterisk, reopened whenever it breaks, that records every UserEvent."""

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

    async def send_end(self) -> None:
        """Send the final UserEvent."""
        await self.up.wait()
        assert self._writer is not None
        self._writer.write(request("UserEvent", UserEvent="Load", Token=END))
