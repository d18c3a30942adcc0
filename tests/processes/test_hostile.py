"""Regressions from attacks on earlier versions."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import threading
from typing import Any

import pytest
import zmq

from amid import AsyncClient, wire
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.pbx import SECRET
from tests.processes.process import refusal


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


class Dying(threading.Thread):
    """A PBX that refuses logins because it is shutting down, like Asterisk; it counts the attempts."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.tries = 0

    def run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"Asterisk Call Manager/11.0.0\r\n")
                peer.recv(4096)
                self.tries += 1
                peer.sendall(b"Response: Error\r\nMessage: Asterisk is shutting down\r\n\r\n")

    def close(self) -> None:
        self._listener.close()


def test_an_asterisk_that_is_shutting_down_is_retried_at_once(daemon_for: StartDaemon) -> None:
    """It was treated as a wrong secret, and a restart of Asterisk became an outage of 30 s."""
    dying = Dying()
    dying.start()
    daemon = daemon_for({}, start=False)
    daemon.configure({"pbx1": {"host": "127.0.0.1", "port": dying.port, "username": "u", "secret": "s", "reconnect_max": 0.3}})
    daemon.start(wait=False)
    eventually(lambda: dying.tries >= 4, "several tries")
    assert daemon.server("pbx1")["state"] == "connecting"
    dying.close()


def test_the_soft_limit_of_descriptors_is_raised(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """libzmq aborts its process when it cannot accept a connection; systemd's soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        daemon = daemon_for({"pbx1": {"host": pbx.host, "port": pbx.port, "username": "amid", "secret": SECRET}})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid = daemon.pid("broker")
    peers = []
    try:
        for _ in range(400):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(daemon.run_dir / "rpc"))
            peers.append(peer)
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        assert daemon.pid("broker") == pid
    finally:
        for peer in peers:
            peer.close()


def test_all_pipelined_requests_of_a_caller_are_answered(daemon: Daemon) -> None:
    """More replies than ZeroMQ's high-water mark of 1,000 were ready at once, and the rest was
    dropped."""

    async def calls() -> int:
        async with AsyncClient(str(daemon.run_dir)) as client:
            answers = await asyncio.gather(*(client.ping(timeout=10.0) for _ in range(5000)))
        return len(answers)

    assert asyncio.run(calls()) == 5000
    assert daemon.result("status")["counters"].get("undeliverable_answers", 0) == 0


def test_a_new_broker_gets_no_answers_to_its_predecessor(daemon: Daemon) -> None:
    """Its calls were numbered from 1 again, and a late answer of the reader went to another caller."""
    daemon.action("SimFault", {"Kind": "delay", "Target": "CoreStatus", "Seconds": 4})
    with daemon.socket(zmq.DEALER) as orphan, daemon.socket(zmq.DEALER) as stranger:
        for socket_ in (orphan, stranger):
            socket_.connect(daemon.rpc)
        orphan.send_multipart([b"", b'{"id": 1, "method": "action", "params": {"action": "CoreStatus"}}'])
        eventually(lambda: daemon.server("pbx1")["lanes"]["busy"], "it is in flight")
        pid = daemon.kill("broker")
        eventually(lambda: daemon.pid("broker") != pid, "a new broker")
        for number in range(2, 5):  # the numbers that the first broker's calls had
            params = f'{{"action": "Ping", "until": "Never{number}", "timeout": 6}}'
            stranger.send_multipart([b"", f'{{"id": {number}, "method": "action", "params": {params}}}'.encode()])
        answers = [stranger.recv_multipart()[1] for _ in range(3)]
    assert all(b'"kind": "timeout"' in answer for answer in answers), answers
    assert daemon.result("status")["counters"]["late_answers"] == 0


def test_a_new_broker_counts_lanes_correctly(daemon: Daemon) -> None:
    """The reader counted the calls of both brokers, and the second assumed lanes that did not exist."""
    for _ in range(20):
        daemon.action("Ping")
    pid = daemon.kill("broker")
    eventually(lambda: daemon.pid("broker") != pid, "a new broker")
    daemon.wait_up("pbx1")
    daemon.action("SimFault", {"Kind": "delay", "Target": "ListCommands", "Seconds": 1, "Count": 4})
    with daemon.socket(zmq.DEALER) as caller:
        caller.connect(daemon.rpc)
        for _ in range(12):
            caller.send_multipart([b"", b'{"id": 1, "method": "action", "params": {"action": "ListCommands"}}'])
        eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 4, "all lanes are busy")
        assert daemon.server("pbx1")["queued"] == 8
        answers = [caller.recv_multipart()[1] for _ in range(12)]
    assert all(b'"result"' in answer for answer in answers), answers


def message(*value: Any) -> bytes:
    """As the readers frame it."""
    packed = wire.pack(value)
    return struct.pack(">II", len(packed), 0) + packed


NONSENSE = {
    "a request": b'{"id": 1, "method": "ping"}',
    "ZeroMQ": b"\xff\0\0\0\0\0\0\0\1\x7f",
    "no value": struct.pack(">II", 0, 0),
    "no MessagePack": struct.pack(">II", 1, 0) + b"\xc1",
    "no list": struct.pack(">II", 1, 0) + b"\xc0",
    "an answer of nothing": message("answer", "pbx1", 1, 4, 0),
    "a state of nothing": message("state", {}, 1, 1, 1, {}),
}


def unreadable_messages(daemon: Daemon) -> int:
    count: int = daemon.result("status")["counters"].get("unreadable_messages", 0)
    return count


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_invalid_messages_on_the_readers_socket_are_counted(daemon: Daemon, nonsense: bytes) -> None:
    pid = daemon.pid("broker")
    before = unreadable_messages(daemon)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(f"{daemon.run_dir}/readers")
        stranger.sendall(nonsense)
        stranger.settimeout(BOUND_S)
        assert stranger.recv(1) == b"", "and its connection is closed"
    assert unreadable_messages(daemon) == before + 1
    assert daemon.pid("broker") == pid and daemon.action("Ping")["response"]["Ping"] == "Pong"


def test_a_timeout_while_waiting_for_the_event_includes_the_response(daemon: Daemon) -> None:
    failure = daemon.failure("Ping", {"ActionID": "mine"}, until="Never", timeout=0.5)
    assert (failure["data"]["kind"], failure["data"]["sent"]) == ("timeout", True)
    assert failure["data"]["response"]["Ping"] == "Pong" and failure["data"]["response"]["ActionID"] == "mine"
    assert "Never had not come" in failure["message"]


@pytest.mark.parametrize("until", ["", "X\r\nY"])
def test_an_impossible_until_is_refused(daemon: Daemon, until: str) -> None:
    assert daemon.failure("Ping", until=until)["data"]["kind"] == "invalid_params"


def test_until_without_events_is_refused_at_once(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    table = {"host": pbx.host, "port": pbx.port, "username": "amid", "secret": SECRET, "events": "off"}
    failure = daemon_for({"pbx1": table}).failure("Ping", until="OriginateResponse")
    assert failure["data"]["kind"] == "invalid_params" and "without events" in failure["message"]


def test_a_child_that_cannot_be_started_is_retried(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """The supervisor ended when its interpreter disappeared, for example while its environment was
    rebuilt."""
    daemon = daemon_for({"pbx1": {"host": pbx.host, "port": pbx.port, "username": "amid", "secret": SECRET}}, start=False)
    folder = daemon.directory / "bin"
    folder.mkdir()
    away = folder / "python3"
    away.write_text('#!/bin/sh\nexec "$AMID_TEST_PYTHON" "$@"\n')
    away.chmod(0o755)
    code = f"import os, sys; os.environ['AMID_TEST_PYTHON'] = sys.executable; sys.executable = {str(away)!r}; " + (
        f"sys.argv = ['amid', 'run', '-c', {str(daemon.file)!r}]; from amid.__main__ import main; main()"
    )
    daemon.launch(["-c", code])
    daemon.wait_up("pbx1")
    away.rename(folder / "gone")
    daemon.kill("reader pbx1")
    eventually(lambda: "could not be started" in daemon.log.read_text(), "it is said")
    (folder / "gone").rename(away)
    daemon.wait_up("pbx1")
    assert daemon.process is not None and daemon.process.poll() is None


def test_impossible_settings_are_refused(daemon_for: StartDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"host": "h", "username": "u", "secret": "s"}
    for keys, said in (
        ({"host": "[::1]"}, "[servers.pbx1] host: must be a host name or an address"),
        ({"host": "1.2.3.4:5038"}, "[servers.pbx1] host: must be a host name or an address"),
        ({"username": "a\r\nb"}, "[servers.pbx1] username: must be one line"),
        ({"events": "on\r\n"}, "[servers.pbx1] events: must be one line"),
    ):
        daemon = daemon_for({"pbx1": {**base, **keys}}, start=False)
        assert said in refusal(daemon, capsys)
    quick = daemon_for({"pbx1": base}, start=False, supervision={"silence": 0.1})
    assert "[supervision] silence: must be a number of at least 1" in refusal(quick, capsys)
