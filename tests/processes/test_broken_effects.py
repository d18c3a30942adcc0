"""A bug in what carries out a decision of the broker costs one call an error, and no other call
anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from amid import wire
from amid.broker.broker import Broker
from amid.broker.origin import Identity, Origin
from amid.config.tables import Caller, Config, Server
from amid.process.pipe import Pipe
from amid.process.settings import broker_settings
from amid.rpc import messages
from amid.rpc.messages import Capacity, Done, Hello, Lanes, RunAction, Status, ToReader
from tests.processes.on_loop import Loop

UP = Status(Capacity(1, 0, 0, 0), True, "up", "", 0.0, 1, 0, "", Lanes(1, 0, 1, []), {})


class Child:
    """In the place of `amid.process.child.Child`."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.orphaned = True

    def start(self, on_settings: Callable[[Any], object]) -> None:
        pass

    def report_problem(self, subject: str, problem: str) -> None:
        pass


class Callers:
    """In the place of `CallerSockets`, with one caller."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def start(self, on_message: Callable[[Origin, bytes, str], object], on_disconnect: object) -> None:
        self._on_message = on_message

    def listen(self, endpoints: list[str], report: object) -> None:
        pass

    def request(self, method: str, **params: Any) -> None:
        origin = Origin(cast(Any, self), [b"caller"], Identity("local", "uid:1000", local=True), "uid:1000")
        self._on_message(origin, wire.pack_json({"id": method, "method": method, "params": params}), "")

    def send(self, origin: Origin, body: bytes) -> bool:
        self.answers.append(wire.unpack_json(body))
        return True

    def flush_local(self) -> None:
        pass

    def receive_rest(self) -> None:
        pass

    def close(self) -> None:
        pass


class Reader:
    """A reader with one lane."""

    def __init__(self, loop: Loop, run_dir: Path) -> None:
        self.received: list[ToReader] = []

        async def connect() -> Pipe[ToReader]:
            path = str(run_dir / wire.READERS_SOCKET)
            pipe: Pipe[ToReader] = Pipe(messages.decode_to_reader, self._receive, lambda *_: None)
            await asyncio.get_running_loop().create_unix_connection(lambda: pipe, path)
            return pipe

        self.pipe = loop.run(connect())
        self.pipe.send(Hello("pbx1", 1))
        self.pipe.send(UP)

    def _receive(self, pipe: Pipe[ToReader], received: list[tuple[ToReader, bytes]]) -> None:
        self.received += [message for message, _ in received]


@pytest.fixture
def callers(loop: Loop, tmp_path: Path) -> Iterator[Callers]:
    callers, child = Callers(), Child()
    config = Config(run_dir=str(tmp_path), servers={"pbx1": Server(host="127.0.0.1", username="amid")}, callers={"local": Caller()})

    async def start() -> asyncio.Task[None]:
        broker = Broker(cast(Any, child), broker_settings(config), lambda *_: cast(Any, callers))
        return asyncio.get_running_loop().create_task(broker.run())

    task = loop.run(start())
    loop.eventually(lambda: (tmp_path / wire.READERS_SOCKET).exists(), "the broker listens")
    yield callers
    child.ended.set()
    loop.eventually(task.done, "the broker has ended")
    task.result()


@pytest.fixture
def reader(loop: Loop, callers: Callers, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(loop, tmp_path)
    loop.eventually(lambda: servers(callers)["lanes"]["free"] == 1, "the reader is known")
    yield reader
    reader.pipe.close()
    loop.eventually(lambda: servers(callers)["state"] == "lost", "its end is seen")


def servers(callers: Callers) -> dict[str, Any]:
    callers.request("servers")
    server: dict[str, Any] = callers.answers.pop()["result"][0]
    return server


def counters(callers: Callers) -> dict[str, int]:
    callers.request("status")
    counted: dict[str, int] = callers.answers.pop()["result"]["counters"]
    return counted


def fail_once(monkeypatch: pytest.MonkeyPatch, where: type, name: str) -> None:
    """The next call of a method raises an exception."""

    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    monkeypatch.setattr(where, name, fail)


def test_a_call_that_cannot_be_sent_ends(
    loop: Loop, callers: Callers, reader: Reader, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail_once(monkeypatch, Pipe, "send")
    callers.request("action", action="Ping")
    (answer,) = callers.answers
    assert (answer["error"]["data"]["kind"], answer["error"]["data"]["sent"]) == ("internal_error", False)
    assert (counters(callers)["answers_internal_error"], counters(callers)["open_calls"]) == (1, 0)
    assert [record.levelno for record in caplog.records if "a bug" in (record.exc_text or "")] == [logging.ERROR]

    callers.request("action", action="CoreStatus")
    (request,) = loop.eventually(lambda: reader.received, "the lane takes the next call")
    assert isinstance(request, RunAction) and request.action == "CoreStatus"


def test_an_answer_that_cannot_be_sent_becomes_an_error(
    loop: Loop, callers: Callers, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers.request("action", action="Ping")
    (request,) = loop.eventually(lambda: reader.received, "the action arrives")
    assert isinstance(request, RunAction)
    fail_once(monkeypatch, Callers, "send")
    reader.pipe.send(Done(request.call_id), b"{}")
    (answer,) = loop.eventually(lambda: callers.answers, "there is an answer")
    assert (answer["error"]["data"]["kind"], answer["error"]["data"]["sent"]) == ("internal_error", True)
    assert counters(callers)["open_calls"] == 0
    assert servers(callers)["state"] == "up", "the connection to the reader stays"
