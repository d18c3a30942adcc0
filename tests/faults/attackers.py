"""Attacks by programs with few rights that try to stop all others: one function for each, running
until it is ended.

They run as a Unix user of their own, so that the kernel distinguishes them from honest callers; all
targets are on this machine.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from tests.processes.zmtp import GREETING, LONG, MORE, RawPeer, frame

UID = 65533
GONE = (OSError, zmq.ZMQError)
"""How a daemon ends the connection of an attacker; it connects again."""

PAUSE_S = 1.0
"""Between two rounds: an attack that takes a whole processor is one on the machine, not on amid."""


class Target(NamedTuple):
    """run_dir: of the daemon. rpc_port, events_port: TCP with CURVE. http_port: the gateway's. token: one that may do little."""

    run_dir: Path
    rpc_port: int
    events_port: int
    http_port: int
    token: str


Round = Callable[[Target], Any]


@contextmanager
def running(target: Target, attacks: Iterable[Round]) -> Iterator[None]:
    """These attacks at once, each in a process of its own."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_attack, args=(round_, target), name=round_.__name__, daemon=True) for round_ in attacks]
    for process in processes:
        process.start()
    try:
        yield
        ended = [process.name for process in processes if not process.is_alive()]
        assert not ended, f"attacks that ended by themselves: {ended}"
    finally:
        for process in processes:
            process.kill()
            process.join(20)


def _attack(round_: Round, target: Target) -> None:
    os.chdir(target.run_dir)  # the way to it is not open to this user
    os.setgroups([])
    os.setuid(UID)
    os.nice(19)  # the machine is not what is attacked
    while True:
        with contextlib.suppress(*GONE):
            round_(target)
        time.sleep(PAUSE_S)


# ── on the ipc sockets ──


def endless_message(target: Target) -> None:
    """Frames of 8 MB of a message that never ends."""
    with RawPeer(Path("rpc")) as peer:
        for _ in range(50):
            peer.socket.sendall(frame(bytes(8 * 1024 * 1024), MORE))


def many_empty_frames(target: Target) -> None:
    """One message of a million empty frames."""
    with RawPeer(Path("rpc")) as peer:
        for _ in range(100):
            peer.socket.sendall(bytes([MORE, 0]) * 10_000)
        peer.socket.sendall(frame(b""))


def long_ids(target: Target) -> None:
    """Twenty connections, 64 pings each with an `id` of 1 MB; no answer is read."""
    request = json.dumps({"id": "x" * 1_000_000, "method": "ping"}).encode()
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(Path("rpc"))) for _ in range(20)]
        for peer in peers:
            peer.socket.settimeout(0.2)
        for peer in peers * 64:
            peer.send(b"", request)


def unread_answers(target: Target) -> None:
    """Pings as fast as they are accepted, on connections that read nothing."""
    request = frame(b"", MORE) + frame(json.dumps({"id": 1, "method": "ping"}).encode())
    with ExitStack() as stack:
        peers = [stack.enter_context(RawPeer(Path("rpc"))) for _ in range(10)]
        for peer in peers:
            peer.socket.settimeout(0.5)
        for peer in peers * 5:
            peer.socket.sendall(request * 500)


def forgotten_calls(target: Target) -> None:
    """Calls with a timeout of an hour, of callers that disconnect."""
    params = {"action": "Originate", "fields": {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Async": True}}
    _send_and_leave({**params, "timeout": 3600, "until": "Nothing"}, 1000)


def slow_actions(target: Target) -> None:
    """Slow actions on every lane."""
    params = {"action": "Originate", "fields": {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Timeout": 3000}}
    _send_and_leave({**params, "timeout": 5}, 20, stay_s=3.0)


def flood_of_pings(target: Target) -> None:
    _send_and_leave({"action": "Ping", "timeout": 1}, 3000, stay_s=0.5)


def heavy_rules(target: Target) -> None:
    """Fields that take a backtracking pattern long."""
    fields = {"Channel": "Local/1@calls", "Variable": "a" * 60_000 + ")=1"}
    _send_and_leave({"action": "Originate", "fields": fields}, 5, stay_s=0.2)


def invented_events(target: Target) -> None:
    """Events of a thousand new names, and texts that a pattern for secrets takes long."""
    for number in range(100):
        name = f"N{random.getrandbits(64):x}{number}"
        _send_and_leave({"action": "UserEvent", "fields": {"UserEvent": name, "X": "secret" * 150}}, 10, stay_s=0.01)


def _send_and_leave(params: dict[str, Any], count: int, stay_s: float = 0.1) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect("ipc://rpc")
        for number in range(count):
            dealer.poll(100, zmq.POLLOUT)
            request = {"id": number, "method": "action", "params": params}
            dealer.send_multipart([b"", json.dumps(request).encode()], zmq.DONTWAIT)
        time.sleep(stay_s)


def subscriptions(target: Target) -> None:
    """Huge ones, many small ones, and the end of one that was never made."""
    for name, size in itertools.product(("events-pbx1", "stream-pbx1"), (2_000_000, 12_000_000)):
        with contextlib.suppress(OSError), RawPeer(Path(name), {"Socket-Type": b"SUB"}) as huge:
            huge.socket.sendall(frame(b"\x01" + bytes(size)))
    with RawPeer(Path("stream-pbx1"), {"Socket-Type": b"SUB"}) as many:
        many.send(b"\x00stream.pbx1.")
        for _ in range(20):
            many.socket.sendall(b"".join(frame(b"\x01" + random.randbytes(8)) for _ in range(1000)))
        time.sleep(0.2)


# ── over TCP ──


def handshakes(target: Target) -> None:
    """Connections that say nothing, and commands of a handshake that never end."""
    with ExitStack() as stack:
        for port, number in itertools.product((target.rpc_port, target.events_port), range(150)):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), 2))
            peer.settimeout(0.2)
            if number % 10 == 0:
                peer.sendall(GREETING + bytes([4 | LONG]) + (1 << 30).to_bytes(8, "big"))
                peer.sendall(bytes(1_000_000))


# ── over HTTP ──


def slow_bodies(target: Target) -> None:
    """Log-ins whose body never comes."""
    _connections(target, b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60\r\n\r\nx", 250, stay_s=4.0)


def large_bodies(target: Target) -> None:
    """With a valid token."""
    head = _head(target, "POST", "/rpc", f"Content-Length: {1024 * 1024}\r\n")
    _connections(target, head + b" " * 1_000_000, 50, stay_s=4.0)


def unread_pages(target: Target) -> None:
    """Responses that are never read."""
    _connections(target, _head(target, "GET", "/openapi.json") * 20, 10, stay_s=4.0)


def guesses(target: Target) -> None:
    head = b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %020d\r\n\r\n"
    for number in range(50):
        _connections(target, head % number, 1, stay_s=0.01)


def many_streams(target: Target) -> None:
    """Event streams with thousands of conditions, from long ago."""
    where = "&".join(f"where=A{n}~b" for n in range(600))
    _connections(target, _head(target, "GET", f"/v1/events?{where}"), 50, stay_s=0.5)
    _connections(target, _head(target, "GET", "/v1/events"), 150, stay_s=4.0)


def calls_of_browsers_that_leave(target: Target) -> None:
    body = json.dumps({"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Async": True}).encode()
    headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    path = "/v1/servers/pbx1/actions/Originate?timeout=3600&until=Nothing"
    _connections(target, _head(target, "POST", path, headers) + body, 100, stay_s=4.0)


def _head(target: Target, method: str, path: str, headers: str = "") -> bytes:
    lines = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {target.token}\r\n{headers}\r\n"
    return lines.encode()


def _connections(target: Target, data: bytes, count: int, stay_s: float) -> None:
    with ExitStack() as stack:
        for _ in range(count):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", target.http_port), 2))
            peer.settimeout(0.2)
            with contextlib.suppress(OSError):
                peer.sendall(data)
        time.sleep(stay_s)


ATTACKS: tuple[Round, ...] = (
    endless_message, many_empty_frames, long_ids, unread_answers, forgotten_calls, slow_actions, flood_of_pings, heavy_rules,
    invented_events, subscriptions, handshakes, slow_bodies, large_bodies, unread_pages, guesses, many_streams,
    calls_of_browsers_that_leave,
)  # fmt: skip
