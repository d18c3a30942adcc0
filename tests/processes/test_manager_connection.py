"""A connection to Asterisk's manager interface ends once, with a reason, in bounded time, and never
blocks the loop."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from amid.ami.trace import Tap, Trace
from amid.config.tables import Server
from amid.process import name_lookup
from amid.reader import manager_connection, read_pauses
from amid.reader.manager_connection import READ_BYTES, READS_PER_PASS, Endpoint, ManagerConnection
from amid.reader.read_pauses import ReadPauses
from tests.processes.on_loop import FACTORIES, Loop
from tests.processes.pbx import SECRET
from tests.processes.test_name_lookup import end_lookups
from tests.processes.tls import certificate

GREETING = b"Asterisk Call Manager/11.0.0\r\n"


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(request.param) as loop:
        yield loop


class Connection(ManagerConnection):
    """Notes what it reads."""

    is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.is_open = True

    def feed(self, data: bytes, now: float) -> None:
        self.reads = [*getattr(self, "reads", []), len(data)]
        self.session.receive(data, now)

    def check(self, now: float) -> None:
        self.session.check(now)

    def next_deadline(self) -> float:
        return self.session.next_deadline()


class Dialled:
    """A connection, and the errors that it ended with."""

    def __init__(self, loop: Loop, port: int, host: str = "127.0.0.1", context: ssl.SSLContext | None = None, **keys: Any) -> None:
        self.ends: list[Exception] = []
        server = Server(host=host, port=port, username="amid", secret=SECRET, **keys)
        endpoint = Endpoint(server, context, "off", 1 << 20)
        tap = Tap(Trace("", lambda sight: None), "test")

        async def dial() -> Connection:
            return Connection(endpoint, tap, lambda connection, error: self.ends.append(error))

        self.connection = loop.run(dial())

    def ended(self, loop: Loop) -> str:
        """How it ended: once."""
        loop.eventually(lambda: self.ends, "it has ended")
        loop.turn()
        self.connection.close()
        loop.turn()
        (error,) = self.ends
        return str(error).lower()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def accepted(loop: Loop, listener: socket.socket, dialled: Dialled) -> socket.socket:
    loop.eventually(lambda: dialled.connection.is_open, "it is connected")
    return listener.accept()[0]


@pytest.mark.parametrize(("tls", "keys"), [(False, "enabled and port"), (True, "tlsenable and tlsbindaddr")])
def test_a_refused_connection_ends_with_the_reason_and_what_to_check(
    loop: Loop, listener: socket.socket, tls: bool, keys: str
) -> None:
    port = port_of(listener)
    listener.close()
    advice = f"check {keys} in manager.conf, and host and port of the server in amid's configuration"
    assert f"connection refused; {advice}" in Dialled(loop, port, tls=tls).ended(loop)


def test_an_unknown_host_name_ends_the_connection(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "not known; check host of the server" in Dialled(loop, 5038, "nowhere.example").ended(loop)


def test_a_slow_host_name_lookup_times_out(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(name_lookup, "LOOKUP_S", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait())
    try:
        assert "nowhere.example was not resolved within 0.05 s" in Dialled(loop, 5038, "nowhere.example").ended(loop)
    finally:
        over.set()
        end_lookups()


def test_a_missing_greeting_times_out(loop: Loop, listener: socket.socket) -> None:
    dialled = Dialled(loop, port_of(listener), login_timeout=0.05)
    with accepted(loop, listener, dialled):
        assert "no greeting within 0.05 s" in dialled.ended(loop)


@pytest.mark.parametrize("greeting", [b"", GREETING], ids=["at once", "behind its greeting"])
def test_a_connection_closed_by_the_peer_ends(loop: Loop, listener: socket.socket, greeting: bytes) -> None:
    dialled = Dialled(loop, port_of(listener))
    with accepted(loop, listener, dialled) as peer:
        peer.sendall(greeting)
    assert dialled.ended(loop)


def test_a_connection_reset_by_the_peer_ends(loop: Loop, listener: socket.socket) -> None:
    dialled = Dialled(loop, port_of(listener))
    with accepted(loop, listener, dialled) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert dialled.ended(loop)


def test_a_peer_that_stays_open_after_logoff_is_closed(
    loop: Loop, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_connection, "LOGOFF_S", 0.05)
    dialled = Dialled(loop, port_of(listener))
    with accepted(loop, listener, dialled) as peer:
        log_in(loop, peer, dialled)
        dialled.connection.log_off()
        assert dialled.connection.leaving
        assert "logged off" in dialled.ended(loop)


def log_in(loop: Loop, peer: socket.socket, dialled: Dialled) -> None:
    peer.setblocking(False)
    peer.sendall(GREETING)
    sent = bytearray()

    def login() -> bool:
        try:
            sent.extend(peer.recv(4096))
        except BlockingIOError:
            return False
        return sent.endswith(b"\r\n\r\n")

    while not dialled.connection.up:
        loop.eventually(login, "it logs in")
        action_id = sent.partition(b"ActionID: ")[2].partition(b"\r\n")[0]
        challenge = b"Challenge: 1\r\n" if b"AuthType: MD5" in sent and b"Key:" not in sent else b""
        sent.clear()
        peer.sendall(b"Response: Success\r\nActionID: " + action_id + b"\r\n" + challenge + b"\r\n")
        loop.turn(10)


def test_a_connection_closed_by_its_owner_reports_no_end(loop: Loop, listener: socket.socket) -> None:
    """While it dials, and when it is connected."""
    dialling, connected = Dialled(loop, port_of(listener)), Dialled(loop, port_of(listener))
    dialling.connection.close()
    with accepted(loop, listener, connected):
        connected.connection.close()
        loop.turn(10)
    assert dialling.ends == connected.ends == []
    assert not dialling.connection.up and not connected.connection.up


def test_a_storm_does_not_block_the_loop(loop: Loop, listener: socket.socket) -> None:
    """libuv alone would read 32 times in one pass."""
    dialled = Dialled(loop, port_of(listener))
    dialled.connection.reads = []
    with accepted(loop, listener, dialled) as peer:
        log_in(loop, peer, dialled)
        event = b"Event: X\r\nPadding: " + b"x" * 1000 + b"\r\n\r\n"
        storm = threading.Thread(target=peer.sendall, args=(event * 16_000,))
        peer.setblocking(True)
        dialled.connection.reads = []
        passes: list[int] = []

        def other() -> None:
            passes.append(len(dialled.connection.reads))
            if sum(dialled.connection.reads) < len(event) * 16_000:
                loop.loop.call_soon(other)

        storm.start()
        loop.loop.call_soon(other)
        loop.eventually(lambda: sum(dialled.connection.reads) == len(event) * 16_000, "all has come")
        storm.join()
        assert max(later - before for before, later in itertools.pairwise(passes)) <= READS_PER_PASS
        assert max(dialled.connection.reads) <= READ_BYTES
        dialled.connection.close()
        loop.turn()


def test_small_reads_that_follow_closely_are_joined(loop: Loop, listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_pauses, "MIN_S", 1.0)
    monkeypatch.setattr(read_pauses, "MAX_S", 1.0)
    dialled = Dialled(loop, port_of(listener))
    with accepted(loop, listener, dialled) as peer:
        log_in(loop, peer, dialled)
        dialled.connection.pauses = ReadPauses()
        assert [_reads(loop, dialled, peer, events) for events in (1, 1, 50)] == [1, 1, 1]
        dialled.connection.close()
        loop.turn()


def _reads(loop: Loop, dialled: Dialled, peer: socket.socket, events: int) -> int:
    """The number of reads of so many small events, sent one by one."""
    dialled.connection.reads = []
    for _ in range(events):
        peer.sendall(b"Event: X\r\n\r\n")
        loop.turn()
    loop.eventually(lambda: sum(dialled.connection.reads) == len(b"Event: X\r\n\r\n") * events, "all have come")
    return len(dialled.connection.reads)


@pytest.fixture(params=["plain", "TLS"])
def contexts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    """Of the server and of the client; None without TLS."""
    if request.param == "plain":
        return None
    cert, key = certificate(tmp_path, "pbx")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    peer = listener.accept()[0]
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer if context is None else context.wrap_socket(peer, server_side=True)


def test_events_before_the_end_of_a_connection_are_read(
    loop: Loop, listener: socket.socket, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a pause. uvloop's TLS drops what has come, unless the peer announces the end."""
    monkeypatch.setattr(read_pauses, "MIN_S", 1.0)
    monkeypatch.setattr(read_pauses, "MAX_S", 1.0)
    event = b"Event: X\r\n\r\n"
    with ThreadPoolExecutor() as threads:
        dialled = Dialled(loop, port_of(listener), context=contexts[1] if contexts is not None else None)
        dialled.connection.pauses = ReadPauses()
        accepting = threads.submit(_accept, listener, contexts[0] if contexts is not None else None)
        loop.eventually(lambda: accepting.done() and dialled.connection.is_open, "it is connected")
        peer = accepting.result()
        dialled.connection.reads = []
        for number, sent in enumerate((GREETING, event)):
            peer.sendall(sent)
            loop.eventually(partial(lambda reads: len(dialled.connection.reads) > reads, number), "it is read")
        assert peer.recv(4096), "or closing resets the connection"
        peer.sendall(event * 50)
        socket.socket(fileno=peer.detach()).close()  # without TLS's close_notify
        assert dialled.ended(loop)
    assert sum(dialled.connection.reads) == len(GREETING) + len(event) * 51
