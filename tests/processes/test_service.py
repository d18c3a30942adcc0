"""The two ends of the pipe between the broker and a service, on one loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from amid import wire
from amid.broker.reader_links import AnyHello, ReaderLinks, ReaderPipe
from amid.errors import AmidError
from amid.process.pipe import Message
from amid.process.service import Service
from amid.rpc.messages import CallService, Done, Failure, Forget, FromReader, ServiceHello, ServiceStatus
from amid.rpc.requests import Params, StateParams
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.on_loop import Loop
from tests.processes.pbx import table

HELLO = ServiceHello("state", ["state"])
PARAMS = StateParams(kinds=["channels"])


class Broker:
    """What hears of services."""

    def __init__(self, loop: Loop, run_dir: Path) -> None:
        self.connected: list[tuple[ReaderPipe, AnyHello]] = []
        self.received: list[Any] = []
        self.lost: list[ReaderPipe] = []

        async def listen() -> ReaderLinks:
            links = ReaderLinks(self._receive, lambda pipe, _: self.lost.append(pipe), Counter())
            await links.listen(str(run_dir / wire.READERS_SOCKET))
            return links

        self.links = loop.run(listen())

    def _receive(self, pipe: ReaderPipe, hello: AnyHello, received: list[Message[FromReader]]) -> None:
        for message, payload in received:
            if isinstance(message, ServiceHello):
                self.connected.append((pipe, hello))
            else:
                self.received.append((message, payload))


@pytest.fixture
def broker(loop: Loop, tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(loop, tmp_path)
    yield broker
    broker.links.close()


class RecordingService:
    """A service that notes what it is asked."""

    def __init__(self, loop: Loop, run_dir: Path) -> None:
        self.calls: list[tuple[CallService, Params]] = []
        self.forgotten: list[int | None] = []

        async def start() -> Service:
            return Service(str(run_dir), HELLO, lambda call, params: self.calls.append((call, params)), self.forgotten.append)

        self.service = loop.run(start())


def test_what_is_asked_arrives_and_is_answered(loop: Loop, broker: Broker, tmp_path: Path) -> None:
    service = RecordingService(loop, tmp_path)
    loop.eventually(lambda: broker.connected, "the service has connected")
    [(pipe, hello)] = broker.connected
    assert hello == HELLO
    call = CallService(7, 1.0, 1.0, "state", "pbx1", msgspec.msgpack.encode(PARAMS), as_json=True)
    pipe.send(call)
    pipe.send(Forget(8))
    loop.eventually(lambda: service.forgotten, "both have come")
    assert (service.calls, service.forgotten) == ([(call, PARAMS)], [8])
    service.service.answer(call, {"a": 1})
    service.service.refuse(call, AmidError("not_connected", "no session"))
    service.service.report({"b": 2})
    loop.eventually(lambda: len(broker.received) == 4, "the answers are here")
    failure = Failure("not_connected", "no session", False, {"server": "pbx1"})
    statuses = [(ServiceStatus("state", report), b"") for report in ({}, {"b": 2})]
    assert broker.received == [statuses[0], (Done(7), b'{"a": 1}'), (Done(7, failure), b""), statuses[1]]
    loop.run(service.service.close())
    loop.eventually(lambda: broker.lost == [pipe], "its end is seen")


def test_a_service_connects_again_when_there_is_another_broker(loop: Loop, broker: Broker, tmp_path: Path) -> None:
    service = RecordingService(loop, tmp_path)
    loop.eventually(lambda: broker.connected, "the service has connected")
    broker.connected[0][0].close()
    loop.eventually(lambda: len(broker.connected) == 2, "it connects again")
    assert service.forgotten == [None], "whoever had asked is gone"
    loop.run(service.service.close())


def test_a_service_of_a_whole_daemon_dies_and_is_back(daemon: Daemon) -> None:
    assert daemon.result("ping") == {}
    pid = daemon.kill("state")
    eventually(lambda: daemon.pid("state") not in (0, pid), "a successor runs")
    reply = daemon.request("state", {"timeout": 10})
    assert "ended" not in reply.get("error", {}).get("message", ""), "the call waited for the successor"


def test_a_daemon_without_the_service(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, state={"enabled": False})
    assert "state" not in daemon.processes()
    error = daemon.request("state")["error"]
    assert error["data"] == {"kind": "not_connected", "sent": False} and "[state]" in error["message"]
