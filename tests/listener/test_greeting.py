"""A client is greeted only when the events of Asterisk arrive: it would miss those before."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import zmq

from amid import wire
from amid.config.tables import Config, Listener, Server
from amid.errors import AmidError
from amid.listener.broker_link import OnReply
from amid.listener.listener import AmiListener
from amid.listener.upstreams import Upstreams
from amid.manager.commands import Commands
from amid.manager.manager import Limits, Manager
from amid.process.settings import listener_settings
from tests.asterisk.server import free_port
from tests.processes.on_loop import Loop


class Child:
    """In the place of `amid.process.child.Child`."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def start(self, on_settings: Callable[[Any], object]) -> None:
        pass

    def report_problem(self, subject: str, problem: str) -> None:
        pass


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as loop:
        yield loop


def received(client: socket.socket) -> bytes:
    try:
        return client.recv(1000)
    except BlockingIOError:
        return b""


def test_a_client_is_greeted_when_events_arrive(loop: Loop, tmp_path: Path) -> None:
    child, port = Child(), free_port()
    own = Listener(users_file="users.conf", listen=(f"127.0.0.1:{port}",))
    config = Config(run_dir=str(tmp_path), servers={"pbx1": Server(host="127.0.0.1", username="amid")}, listener=own)

    async def start() -> tuple[AmiListener, asyncio.Task[None]]:
        listener = AmiListener(cast(Any, child), listener_settings(config, own))
        return listener, asyncio.get_running_loop().create_task(listener.run())

    listener, running = loop.run(start())
    loop.turn()
    upstream = listener.manager.upstreams["pbx1"]
    upstream.version, upstream.commands = "9.0.0", Commands([b"Ping: Keepalive command.  (Priv: <none>)\r\n"])
    assert listener.manager.is_ready

    def connected() -> socket.socket | None:
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port))
        return None

    client = loop.eventually(connected, "it listens")
    assert client is not None
    client.sendall(b"Action: Ping\r\nActionID: early\r\n\r\n")  # many programs do not wait for the greeting
    with client, zmq.Context() as context, context.socket(zmq.XPUB) as events:
        client.setblocking(False)
        loop.eventually(lambda: listener.counters["connections"], "the client is accepted")
        loop.turn(20)
        assert received(client) == b""
        events.bind(wire.ipc(str(tmp_path), wire.stream_socket("pbx1")))

        def greeting() -> bytes:
            events.send_multipart([wire.tick_topic("pbx1"), wire.pack([{"epoch": 1, "seq": 7}])])
            return received(client)

        answer = b"Response: Error\r\nActionID: early\r\nMessage: Permission denied\r\n\r\n"
        assert loop.eventually(greeting, "it is greeted") == b"Asterisk Call Manager/9.0.0\r\n" + answer
    child.ended.set()
    loop.eventually(running.done, "the listener has ended")
    cast(Any, listener)._context.destroy(0)  # a process leaves that to its end


class Link:
    """In the place of `BrokerLink`: the PBX is up, and refuses all actions."""

    def call(self, method: str, params: dict[str, Any], on_reply: OnReply) -> None:
        if method == "servers":
            on_reply([{"name": "pbx1", "state": "up", "epoch": 1}], None)
        else:
            on_reply(None, AmidError("action_failed", "Permission denied"))


def test_the_log_says_why_no_client_is_greeted(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def start() -> None:
        Upstreams(Manager("pbx1", ["pbx1"], Limits(), str), cast(Any, Link()), lambda: None)

    loop.run(start())
    assert caplog.messages == ["the listener's own CoreSettings failed: Permission denied"]
