"""The TCP server: real sockets, a peer that does not read, and the process as `amid demo` starts it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amid.simulator import SimulatedPbx, User
from tests.simulator.faults import faulty_pbx


def connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=10)
    sock.sendall(b"Action: Login\r\nUsername: demo\r\nSecret: demo\r\n\r\n")
    return sock


def read_until(sock: socket.socket, end: bytes) -> bytes:
    """All that comes up to `end`, within the socket's timeout."""
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece, f"closed before {end!r}: {data[-200:]!r}"
        data += piece
    return data


def test_pipelined_requests_and_close() -> None:
    with SimulatedPbx() as simulator, connect(simulator.port) as sock:
        sock.sendall(b"".join(b"Action: Ping\r\nActionID: %d\r\n\r\n" % n for n in range(1000)))
        sock.sendall(b"Action: Logoff\r\n\r\n")
        data = read_until(sock, b"all the fish.\r\n\r\n")
        assert data.count(b"Ping: Pong") == 1000
        assert sock.recv(1) == b""


def test_events_are_sent_while_calls_are_active() -> None:
    with SimulatedPbx(calls_per_minute=6000) as simulator, connect(simulator.port) as sock:
        read_until(sock, b"Event: DialBegin")


def test_a_peer_that_does_not_read_is_disconnected() -> None:
    with (
        faulty_pbx(users=[User("demo", "demo")]) as simulator,
        connect(simulator.port) as stuck,
        connect(simulator.port) as other,
    ):
        read_until(stuck, b"accepted")
        other.sendall(b"Action: Events\r\nEventMask: off\r\n\r\n")
        other.sendall(b"Action: SimFault\r\nKind: burst\r\nCount: 200000\r\n\r\n")
        read_until(other, b"events follow")
        deadline = time.monotonic() + 20
        while len(simulator.connected) > 1:
            assert time.monotonic() < deadline, "it is still connected"
            other.sendall(b"Action: Ping\r\n\r\n")
            read_until(other, b"Pong")
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := stuck.recv(1 << 20):
                received += len(piece)
        assert 0 < received < 200_000 * 60, "the rest of its events is lost"


def start(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    secret = tmp_path / "secret"
    secret.write_text("demo\n")
    command = [sys.executable, "-m", "amid.simulator", "--port", "0", "--secret-file", str(secret), *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_process_prints_its_port_and_ends_with_its_input(tmp_path: Path) -> None:
    with start(tmp_path, "--with-stdin") as process:
        assert process.stdin and process.stdout
        word, _, place = process.stdout.readline().strip().partition(" ")
        assert word == "listening"
        with connect(int(place.rpartition(":")[2])) as sock:
            read_until(sock, b"Authentication accepted")
            process.stdin.close()
            assert process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        assert process.stdout and process.stdout.readline().startswith("listening")
        process.send_signal(number)
        assert process.wait(10) == 0
