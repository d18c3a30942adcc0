"""Messages of subscribers to the event sockets: bounded, without effect on other subscribers, and
fast."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid import AmidError, Client, wire
from amid.events.sequence import MAX_NAMES
from amid.reader import event_socket
from amid.reader.event_socket import MAX_MESSAGE_BYTES, MAX_PREFIXES, MESSAGES_PER_PASS, EventSocket
from amid.reader.publisher import Publisher, own_event
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.conftest import Lend
from tests.processes.on_loop import Loop
from tests.processes.process import next_event
from tests.processes.test_tcp import Tcp, a_pbx
from tests.processes.zmtp import COMMAND, RawPeer

TOPICS = {"events-pbx1": b"event.pbx1.UserEvent.", "stream-pbx1": b"stream.pbx1."}
SUBSCRIBER = {"Socket-Type": b"SUB"}


@pytest.fixture
def daemon(lend: Lend) -> Daemon:
    return lend()


def rss(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def still_open(peer: socket.socket) -> bool:
    peer.settimeout(0.05)
    try:
        return bool(peer.recv(65536))
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize("name", TOPICS)
def test_an_unmatched_unsubscription_affects_no_subscriber(daemon: Daemon, name: str) -> None:
    with daemon.socket(zmq.SUB) as honest, RawPeer(daemon.run_dir / name, SUBSCRIBER) as hostile:
        honest.set(zmq.RCVTIMEO, int(BOUND_S * 1000))
        honest.subscribe(TOPICS[name])
        honest.connect(f"ipc://{daemon.run_dir / name}")
        eventually(lambda: daemon.action("UserEvent", {"UserEvent": "X"}) and honest.poll(50), "the honest one hears events")
        for topic in (TOPICS[name], b"tick.pbx1.", b""):
            hostile.send(b"\x00" + topic)
        hostile.send(b"\x01marker")
        eventually(lambda: b"\x00" not in _left_to_read(hostile), "they were sent")
        for number in range(20):
            while honest.poll(0):
                honest.recv_multipart()
            daemon.action("UserEvent", {"UserEvent": f"after {number}"})
            assert honest.recv_multipart()[0] == TOPICS[name]


def _left_to_read(peer: RawPeer) -> bytes:
    peer.socket.setblocking(False)
    try:
        return peer.socket.recv(65536)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("name", ["events-pbx1", "stream-pbx1", "trace-pbx1", "rpc"])
def test_a_peer_of_an_old_zmtp_is_refused(daemon: Daemon, name: str) -> None:
    """libzmq sets no properties on its messages: the broker could not identify the caller, and ended."""
    pids = {process: daemon.pid(process) for process in ("broker", "reader pbx1")}
    kind = b"\x02" if name != "rpc" else b"\x05"
    for greeting in (b"\xff" + bytes(8) + b"\x7f\x01" + kind + b"\0\0", b"\x01\x00"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(daemon.run_dir / name))
            peer.sendall(greeting)
            eventually(lambda peer=peer: not still_open(peer), "its connection is closed")  # type: ignore[misc]
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert pids == {process: daemon.pid(process) for process in pids}


@pytest.mark.parametrize("name", ["events-pbx1", "stream-pbx1", "trace-pbx1"])
def test_a_too_large_subscription_closes_its_senders_connection(daemon: Daemon, name: str) -> None:
    with RawPeer(daemon.run_dir / name, SUBSCRIBER) as peer:
        peer.send(b"\x01" + b"x" * (MAX_MESSAGE_BYTES - 1))
        peer.send(b"\x01" + b"x" * MAX_MESSAGE_BYTES)
        eventually(lambda: not still_open(peer.socket), "its connection is closed")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"


@pytest.mark.parametrize(("count", "size"), [(600, 1000), (8000, 20)], ids=["large", "many"])
def test_the_number_of_subscriptions_is_limited(own_daemon: Daemon, count: int, size: int) -> None:
    """libzmq holds 50 bytes for each byte of a topic: 0.6 MB of subscriptions were 30 MB, and so on."""
    daemon = own_daemon
    pid = daemon.pid("reader pbx1")
    with Client(str(daemon.run_dir)) as client, client.events("UserEvent", timeout=BOUND_S, gaps=True) as honest:
        daemon.action("UserEvent", {"UserEvent": "before"})
        assert next_event(honest).event == "UserEvent"
        before = rss(pid)
        with daemon.socket(zmq.XSUB) as hostile:
            hostile.set(zmq.SNDHWM, 0)
            hostile.connect(f"ipc://{daemon.run_dir / 'events-pbx1'}")
            for _ in range(count):
                hostile.send(b"\x01" + os.urandom(size))
            eventually(lambda: _counters(daemon)["disconnected_subscribers"], "it is disconnected")
            assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        assert re.search(r"disconnected localhost:\d+:\d+:\d+: it sent \d+ bytes of subscriptions", daemon.log.read_text())
        daemon.action("UserEvent", {"UserEvent": "after"})
        assert next_event(honest)["UserEvent"] == "after", "the honest one has stayed connected"
        assert (honest.missed, honest.gaps) == (0, 0)
    assert rss(pid) - before < 120e6 and daemon.pid("reader pbx1") == pid


def test_flooding_peers_lose_all_connections(daemon: Daemon) -> None:
    """They blocked libzmq for over two seconds, and the reader was killed repeatedly."""
    pid = daemon.pid("reader pbx1")
    reopened = _counters(daemon)["event_sockets_reopened"]
    with Client(str(daemon.run_dir)) as client, client.events("UserEvent", timeout=0) as honest:
        over = threading.Event()
        attack = [threading.Thread(target=_blast, args=(daemon.run_dir / "events-pbx1", over)) for _ in range(4)]
        for thread in attack:
            thread.start()
        try:
            eventually(lambda: _counters(daemon)["event_sockets_reopened"] > reopened, "all are disconnected")
            assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        finally:
            over.set()
            for thread in attack:
                thread.join()
        assert "closing all connections to free them; the last one came from localhost:" in daemon.log.read_text()
        daemon.action("UserEvent", {"UserEvent": "after"})
        eventually(lambda: next_event(honest)["UserEvent"] == "after", "the honest one is connected again, or fetches what it lost")
    assert daemon.pid("reader pbx1") == pid


def _blast(path: Path, over: threading.Event) -> None:
    """The end of a connection is followed by the next one at once."""
    while not over.is_set():
        with contextlib.suppress(OSError), RawPeer(path, SUBSCRIBER) as peer:
            while not over.is_set():
                peer.socket.sendall(b"".join(b"\0\xc9\1" + os.urandom(200) for _ in range(1000)))


def _counters(daemon: Daemon) -> dict[str, Any]:
    counters: dict[str, Any] = daemon.result("status")["servers"][0]["counters"]
    return counters


class Taken:
    """How many subscriptions each pass took."""

    def __init__(self, events: EventSocket, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[int] = []
        self._on_subscribe = events._on_subscribe
        monkeypatch.setattr(events, "_on_subscribe", self._note)

    def _note(self, topics: list[bytes]) -> None:
        self.passes.append(len(topics))
        self._on_subscribe(topics)

    @property
    def count(self) -> int:
        return sum(self.passes)


def endpoint(events: EventSocket) -> str:
    return str(events._socket.getsockopt_string(zmq.LAST_ENDPOINT))


def test_very_many_subscriptions_are_read_in_short_passes(
    loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(publisher.events, monkeypatch)
    with zmq.Context() as context, context.socket(zmq.SUB) as crowd, context.socket(zmq.SUB) as honest:
        crowd.set(zmq.SNDHWM, 0)
        for number in range(MAX_PREFIXES + 500):
            crowd.subscribe(f"event.pbx1.X{number}.")
        crowd.connect(endpoint(publisher.events))
        loop.eventually(lambda: taken.count == MAX_PREFIXES + 500, "all are taken")
        assert max(taken.passes) <= MESSAGES_PER_PASS
        honest.set(zmq.RCVTIMEO, 20_000)
        honest.subscribe(b"event.pbx1.UserEvent.")
        honest.connect(endpoint(publisher.events))
        loop.eventually(lambda: taken.count == MAX_PREFIXES + 501, "one more is taken")
        publisher.publish(own_event("UserEvent"), 0.0)
        assert honest.recv_multipart()[0] == b"event.pbx1.UserEvent."
        assert publisher.events.disconnected == 0


def test_everything_is_sent_while_subscriptions_are_unread(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stands still here."""
    monkeypatch.setattr(event_socket, "MESSAGES_PER_PASS", 1)
    taken = Taken(publisher.events, monkeypatch)
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.subscribe(b"event.pbx1.X.")
        subscriber.connect(endpoint(publisher.events))
        eventually(lambda: publisher.events.receive() and taken.count == 1, "it is taken")
        assert publisher.events.want(b"event.pbx1.Never.") and publisher.events.has_subscribers
        assert not publisher.events.receive() and not publisher.events.want(b"event.pbx1.Never.")


def test_events_without_subscribers_are_not_encoded(loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(publisher.stream, monkeypatch)
    with zmq.Context() as context, context.socket(zmq.SUB) as one, context.socket(zmq.SUB) as other:
        for subscriber in (one, other):
            subscriber.subscribe(b"stream.pbx1.")
            subscriber.connect(endpoint(publisher.stream))
        loop.eventually(lambda: taken.count == 2, "both are taken")
        one.unsubscribe(b"stream.pbx1.")
        one.subscribe(b"marker")
        loop.eventually(lambda: taken.count == 3, "the marker is taken")
        assert publisher.stream.want(b"stream.pbx1."), "the other one still wants it"
    loop.eventually(lambda: not publisher.stream.want(b"stream.pbx1."), "the last one has gone")


def test_rare_names_do_not_make_ticks_large(loop: Loop, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted separately, 200,000 names made each tick 3.1 MB. Subscribed names still have their
    own counters."""
    taken = Taken(publisher.events, monkeypatch)
    for number in range(3 * MAX_NAMES):
        publisher.publish(own_event(f"Invented{number}"), 0.0)
    with zmq.Context() as context, context.socket(zmq.SUB) as honest:
        honest.set(zmq.RCVTIMEO, 20_000)
        honest.subscribe(b"event.pbx1.UserEvent.")
        honest.subscribe(b"tick.pbx1.")
        honest.connect(endpoint(publisher.events))
        loop.eventually(lambda: taken.count == 2, "both are taken")
        publisher.publish(own_event("UserEvent"), 0.0)
        publisher.publish(own_event("UserEvent"), 0.0)
        publisher.tick(0.0)
        received = [wire.unpack(honest.recv_multipart()[1])[0]]
        while received[-1]["event"] != "UserEvent":
            received.append(wire.unpack(honest.recv_multipart()[1])[0])
        second, tick = (wire.unpack(honest.recv_multipart()[1])[0] for _ in range(2))
    first = received[-1]
    assert first["prev"] == 3 * MAX_NAMES, "the last one of the names that are not told apart: rather too great than too small"
    assert second["prev"] == first["seq"] and tick["last"]["UserEvent"] == second["seq"]
    assert len(tick["last"]) == MAX_NAMES + 1


# ── TCP ──


@pytest.fixture
def tcp(tmp_path: Path, daemon_for: StartDaemon) -> Iterator[Tcp]:
    with a_pbx() as pbx:
        yield Tcp(tmp_path, pbx, daemon_for)


CURVE_GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)


@pytest.mark.parametrize("key", ["events_listen", "stream_listen"])
def test_an_unauthenticated_tcp_client_uses_little_memory_for_a_short_time(tcp: Tcp, key: str) -> None:
    host, _, port = tcp.table[key][0].removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port))) as silent, socket.create_connection((host, int(port))) as greedy:
        greedy.sendall(CURVE_GREETING + bytes([COMMAND | 2]) + struct.pack(">Q", 1 << 30))
        sent = 0
        with pytest.raises(OSError):
            while sent < 64 << 20:
                greedy.sendall(bytes(65536))
                sent += 65536
        silent.settimeout(BOUND_S)
        silent.recv(64)  # the daemon's greeting
        assert silent.recv(1) == b"", "libzmq itself gives it 30 s"


def test_a_removed_key_receives_no_more_events(tcp: Tcp) -> None:
    """A key whose rights have changed keeps receiving events, from the same reader."""
    pid = tcp.daemon.pid("reader pbx1")
    with tcp.client() as client, client.events("UserEvent", timeout=0) as events:
        _reload(tcp, {**tcp.tables, "callers__crm": {"key": tcp.crm, "deny": ["Ping"]}})
        _heard(tcp, events, "still")
        assert tcp.daemon.pid("reader pbx1") == pid
        other = {**tcp.tables, "callers__crm": {"key": zmq.curve_keypair()[0].decode()}}
        _reload(tcp, other)
        eventually(lambda: tcp.daemon.pid("reader pbx1") != pid, "its connections end with the reader")
        tcp.daemon.wait_up("pbx1")
        eventually(lambda: _is_refused(client), "the broker, too, has the new configuration")
        with Client(str(tcp.daemon.run_dir)) as local, local.events("UserEvent", timeout=BOUND_S) as heard:
            tcp.daemon.action("UserEvent", {"UserEvent": "not for crm"})
            assert next_event(heard)["UserEvent"] == "not for crm"
        left = []
        with pytest.raises((TimeoutError, AmidError), match=r"no event came|its key was removed"):
            while True:
                left.append(next_event(events)["UserEvent"])
        assert set(left) <= {"still"}, "as often as it was asked for above"


def _is_refused(client: Client) -> bool:
    try:
        client.ping()
    except AmidError:
        return True
    return False


def _heard(tcp: Tcp, events: Any, text: str) -> None:
    def heard() -> bool:
        tcp.daemon.action("UserEvent", {"UserEvent": text})
        return bool(next_event(events)["UserEvent"] == text)

    eventually(heard, text)


def _reload(tcp: Tcp, tables: dict[str, Any]) -> None:
    said = tcp.daemon.log.read_text().count("SIGHUP: configuration read")
    tcp.daemon.configure({"pbx1": tcp.table}, **tables)
    tcp.daemon.signal("supervisor", signal.SIGHUP)
    eventually(lambda: tcp.daemon.log.read_text().count("SIGHUP: configuration read") > said, "the supervisor took it")
