"""A TCP relay between amid and Asterisk that simulates faults of networks and impostors on demand.

It runs in a process of its own, so that neither slows the other. `Relay` is the test's side:
commands go to its stdin and are in effect when it has answered; end of file ends it. By default it
forwards bytes.

    latency      every byte is delayed by 200 ms in each direction
    bytes        every byte is sent separately, and in its own segment unless TCP combines them
    silent, garbage, endless_line
                 an impostor instead of Asterisk: accepts connections, takes over existing ones, and sends nothing, random
                 bytes, or an endless line; its connections are closed when it ends
    twice, swapped, late, renamed
                 what `mangling` does to Asterisk's answers
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.daemon import BOUND_S
from tests.faults.mangling import END, IMPOSTORS, MANGLERS, Answers, Asked, Mangler, Piece

ROOT = Path(__file__).parents[2]
LATENCY_S = 0.2
SPEECH_S = 0.02
"""Seconds between an impostor's utterances."""
BEHAVIOURS = ("pass", "latency", "bytes", *IMPOSTORS, *MANGLERS)
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER's value with which closing sends RST and no FIN."""


class Relay:
    """Relays to `host` and `port`; itself listens on `address` and, for all its life, one port."""

    def __init__(self, host: str, port: int, address: str = "127.0.0.1", seed: int = 0) -> None:
        argv = [sys.executable, "-m", "tests.faults.relay", host, str(port), address, str(seed)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self.host = address
        self.port: int = self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate(timeout=BOUND_S)

    @contextmanager
    def behaving(self, behaviour: str) -> Iterator[None]:
        """For a while, on connections old and new; afterwards it passes bytes on."""
        assert behaviour in BEHAVIOURS, f"{behaviour!r} is none of {', '.join(BEHAVIOURS)}"
        self._order("behave", behaviour)
        try:
            yield
        finally:
            self._order("behave", "pass")

    def acted(self) -> int:
        """How often it did what it was told to do last: chunks delayed or cut up, utterances of an impostor, answers mangled."""
        count: int = self._order("acted")
        return count

    def cut(self, reset: bool) -> int:
        """Close every connection, by RST or by FIN; how many there were."""
        count: int = self._order("cut", reset)
        return count

    def _order(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the relay has ended with status {self._process.wait(BOUND_S)}; its stderr says why"
        return json.loads(line)


class Switch:
    """What is common to all connections: how to behave now, and how often that came about."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.place = (host, port)
        self.chance = random.Random(seed)
        self.behaviour = "pass"
        self.acted = 0
        self.asked = Asked()
        self.connections: set[Connection] = set()

    def behave(self, behaviour: str) -> None:
        self.behaviour, self.asked = behaviour, Asked()
        if behaviour != "pass":
            self.acted = 0
        for connection in list(self.connections):
            connection.behave()

    def cut(self, reset: bool) -> int:
        count = len(self.connections)
        for connection in list(self.connections):
            connection.close(reset)
        return count


class End(asyncio.Protocol):
    """One end of a connection. What comes goes to `taken`; what `put` gets goes out in order, each piece when it is due."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._tail = b""
        self.transport: asyncio.Transport | None = None
        self.paused = False

    @property
    def at_boundary(self) -> bool:
        """Whether what was put ends with a packet."""
        return self._tail == END

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport  # asyncio has set TCP_NODELAY
        self._connection.made(self)

    def data_received(self, data: bytes) -> None:
        self._connection.taken(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.close(reset=isinstance(error, ConnectionResetError))

    def pause_writing(self) -> None:
        self.paused = True
        self._connection.flow(self)

    def resume_writing(self) -> None:
        self.paused = False
        self._connection.flow(self)

    def put(self, data: bytes, delay: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        due = max(loop.time() + delay, self._waiting[-1][0] if self._waiting else 0.0)
        self._waiting.append((due, data))
        self._tail = (self._tail + data)[-len(END) :]
        self.flush()
        if self._waiting:
            loop.call_at(due, self.flush)

    def flush(self) -> None:
        """Send what is due."""
        now = asyncio.get_running_loop().time()
        while self.transport is not None and self._waiting and self._waiting[0][0] <= now:
            self._write(self._waiting.popleft()[1])

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        step = 1 if self._connection.behaviour == "bytes" else len(data) or 1
        for start in range(0, len(data), step):
            self.transport.write(data[start : start + step])

    def close(self, reset: bool) -> None:
        """By RST at once, or by FIN behind all that is on its way."""
        if self.transport is None or self.transport.is_closing():
            return
        if reset:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.transport.abort()
        elif self._waiting:
            asyncio.get_running_loop().call_at(self._waiting[-1][0] + 0.001, self.close, False)
        else:
            self.transport.close()


class Connection:
    """amid at the one end, Asterisk or an impostor at the other."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self.amid = End(self)
        self._asterisk = End(self)
        self._answers: Answers | None = None
        self._mangler: Mangler | None = None
        self._impostor = False
        self._closed = False
        self._dialling: asyncio.Future[None] | None = None

    @property
    def behaviour(self) -> str:
        return self._switch.behaviour

    def made(self, end: End) -> None:
        if end is self.amid:
            self._switch.connections.add(self)
            self.behave()
            if not self._impostor:
                self._dialling = asyncio.ensure_future(self._dial())
        end.flush()

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self._asterisk, *self._switch.place)
        except OSError:
            self.close(reset=True)
        if self._closed:
            self._asterisk.close(reset=True)

    def close(self, reset: bool) -> None:
        self._closed = True
        self._switch.connections.discard(self)
        self._switch.asked.closed(self)
        for end in (self.amid, self._asterisk):
            end.close(reset)

    def flow(self, full: End) -> None:
        """Read no more from the other end while this one does not take what it brought."""
        other = self._asterisk if full is self.amid else self.amid
        if other.transport is not None and not other.transport.is_closing():
            other.transport.pause_reading() if full.paused else other.transport.resume_reading()

    def taken(self, end: End, data: bytes) -> None:
        if self._impostor:
            return
        if end is self._asterisk and self._answers is not None:
            self._mangle(self._answers.feed(data))
            return
        if self._mangler is not None:
            self._switch.asked.request(self, data)
        self._switch.acted += self.behaviour in ("latency", "bytes")
        other = self._asterisk if end is self.amid else self.amid
        other.put(data, LATENCY_S if self.behaviour == "latency" else 0.0)

    def _mangle(self, pieces: list[Piece]) -> None:
        assert self._mangler is not None
        for piece in pieces:
            given = self._mangler(piece) if piece.answer else [piece]
            self._switch.acted += given != [piece]
            for one in given:
                self.amid.put(one.data, one.delay)

    def behave(self) -> None:
        """From now on, as the switch says."""
        if self._answers is not None and self._mangler is not None:
            self.amid.put(self._mangler.flush() + self._answers.flush())
        self._answers = self._mangler = None
        if self._impostor:
            self.close(reset=True)
        elif self.behaviour in IMPOSTORS:
            self._step_in()
        elif self.behaviour in MANGLERS:
            self._answers = Answers(self.amid.at_boundary)
            self._mangler = MANGLERS[self.behaviour](self._switch.chance, self._switch.asked, self)

    def _step_in(self) -> None:
        """The impostor takes over. A partial packet of Asterisk followed by its own bytes would be
        a packet that Asterisk never sent."""
        self._impostor = True
        self._switch.acted += 1
        if self._asterisk.transport is not None and not self.amid.at_boundary:
            self.close(reset=True)
        else:
            self._speak()

    def _speak(self) -> None:
        if self._closed:
            return
        if not self.amid.paused:
            self.amid.put(IMPOSTORS[self.behaviour](self._switch.chance))
        asyncio.get_running_loop().call_later(SPEECH_S, self._speak)


async def serve(switch: Switch, address: str) -> None:
    """Until the end of stdin."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(switch).amid, address, 0, backlog=1000)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    answer(server.sockets[0].getsockname()[1])
    orders: dict[str, Callable[..., Any]] = {"behave": switch.behave, "acted": lambda: switch.acted, "cut": switch.cut}
    while line := await lines.readline():
        name, *arguments = json.loads(line)
        answer(orders[name](*arguments))


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Switch(sys.argv[1], int(sys.argv[2]), int(sys.argv[4])), sys.argv[3]))
