"""A child's pipe to a broker that ends while it is being connected."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from amid import wire
from amid.process import broker_link
from amid.process.broker_link import BrokerLink
from amid.process.pipe import Message, Pipe
from amid.process.unix_socket import PRIVATE, bind_unix
from amid.rpc import messages
from amid.rpc.messages import Done, FromReader, Hello, ToReader
from tests.processes.on_loop import FACTORIES, Loop

HELLO = Hello("pbx1", 1)


class Brokers:
    """The first one ends at once, and another one takes all later pipes."""

    def __init__(self, run_dir: Path) -> None:
        self._path = str(run_dir / wire.READERS_SOCKET)
        self.pipes: list[Pipe[FromReader]] = []
        self.received: list[Message[FromReader]] = []

    async def listen(self) -> None:
        bound = bind_unix(self._path, PRIVATE)
        self._server = await asyncio.get_running_loop().create_unix_server(self._new_pipe, sock=bound)

    def _new_pipe(self) -> Pipe[FromReader]:
        self.pipes.append(Pipe(messages.decode_from_reader, self._receive, lambda *_: None))
        if len(self.pipes) == 1:
            asyncio.get_running_loop().call_later(0.01, self.pipes[0].close)
        return self.pipes[-1]

    def _receive(self, pipe: Pipe[FromReader], received: list[Message[FromReader]]) -> None:
        self.received += received

    def close(self) -> None:
        self._server.close()
        for pipe in self.pipes:
            pipe.close()


async def connect(run_dir: Path, brokers: Brokers, connected: list[bool]) -> BrokerLink[ToReader]:
    await brokers.listen()
    decode = messages.decode_to_reader
    return BrokerLink(str(run_dir), HELLO, decode, lambda _: None, lambda: connected.append(True))


def test_a_broker_that_has_ended_already_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child may be suspended while it connects; it must not keep the pipe of an ended broker, on which all is lost."""
    monkeypatch.setattr(broker_link, "RECONNECT_S", 0.01)
    brokers, connected = Brokers(tmp_path), list[bool]()
    with Loop(FACTORIES["asyncio"]) as loop:
        open_connection = loop.loop.create_unix_connection

        async def suspended(*args: Any, **keys: Any) -> Any:
            transport, pipe = await open_connection(*args, **keys)
            while len(brokers.pipes) < 2 and pipe.is_open:  # until the end of the first broker has arrived
                await asyncio.sleep(0.001)
            return transport, pipe

        monkeypatch.setattr(loop.loop, "create_unix_connection", suspended)
        link = loop.run(connect(tmp_path, brokers, connected))
        loop.eventually(lambda: connected, "it has connected")
        link.send(Done(7))
        loop.eventually(lambda: (Done(7), b"") in brokers.received, "it arrives")
        assert len(connected) == 1 and len(brokers.pipes) == 2
        loop.run(link.close())
        brokers.close()
