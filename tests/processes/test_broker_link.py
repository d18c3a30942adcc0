"""A child's pipes to a broker that ends while they are being connected."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from amid import wire
from amid.process import broker_link
from amid.process.broker_link import BrokerLink
from amid.process.pipe import LARGE_BYTES, Message, Pipe
from amid.process.unix_socket import PRIVATE, bind_unix
from amid.rpc import messages
from amid.rpc.messages import Done, FromReader, Hello, ToReader
from tests.processes.on_loop import FACTORIES, Loop

HELLOS = Hello("pbx1", 1, bulk=True), Hello("pbx1", 1)
LARGE = bytes(LARGE_BYTES)


class Brokers:
    """The first one ends after the first hello; another one takes all later pipes."""

    def __init__(self, run_dir: Path) -> None:
        self._path = str(run_dir / wire.READERS_SOCKET)
        self.pipes: list[Pipe[FromReader]] = []
        self.received: list[Message[FromReader]] = []

    async def listen(self) -> None:
        bound = bind_unix(self._path, PRIVATE)
        self._server = await asyncio.get_running_loop().create_unix_server(self._new_pipe, sock=bound)

    def _new_pipe(self) -> Pipe[FromReader]:
        self.pipes.append(Pipe(messages.decode_from_reader, self._receive, lambda *_: None))
        return self.pipes[-1]

    def _receive(self, pipe: Pipe[FromReader], received: list[Message[FromReader]]) -> None:
        self.received += received
        if pipe is self.pipes[0]:
            pipe.close()

    def close(self) -> None:
        self._server.close()
        for pipe in self.pipes:
            pipe.close()


async def connect(run_dir: Path, brokers: Brokers, connected: list[bool]) -> BrokerLink[ToReader]:
    await brokers.listen()
    decode = messages.decode_to_reader
    return BrokerLink(str(run_dir), HELLOS, decode, lambda _: None, lambda: connected.append(True))


def test_all_pipes_lead_to_the_same_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was suspended between its two connections kept one of an ended broker: all large answers were lost."""
    monkeypatch.setattr(broker_link, "RECONNECT_S", 0.01)
    brokers, connected = Brokers(tmp_path), list[bool]()
    with Loop(FACTORIES["asyncio"]) as loop:
        open_connection, attempts = loop.loop.create_unix_connection, itertools.count()

        async def suspended(*args: Any, **keys: Any) -> Any:
            while next(attempts) and not brokers.received:
                await asyncio.sleep(0.001)
            for _ in range(5):
                await asyncio.sleep(0)  # until the end of the first pipe has arrived
            return await open_connection(*args, **keys)

        monkeypatch.setattr(loop.loop, "create_unix_connection", suspended)
        link = loop.run(connect(tmp_path, brokers, connected))
        loop.eventually(lambda: connected, "it has connected")
        link.send(Done(7), LARGE)
        link.send(Done(8))
        loop.eventually(lambda: all(one in brokers.received for one in ((Done(7), LARGE), (Done(8), b""))), "both arrive")
        assert len(connected) == 1
        loop.run(link.close())
        brokers.close()
