"""Floods of connections, bodies, calls and guesses: they cost bounded memory, and who has a token is served meanwhile."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from amid.gateway import gateway
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, Gateway, listening, with_gateway
from tests.processes.pbx import arm, simulated, table


@pytest.fixture
def own_gateway(tmp_path_factory: pytest.TempPathFactory, daemon_for: StartDaemon) -> Iterator[Gateway]:
    """A flood may take the machine's time as well; that a busy gateway is replaced is not what is asked here."""
    keys = with_gateway(tmp_path_factory.mktemp("tokens"))
    with simulated() as pbx:
        yield listening(daemon_for({"pbx1": table(pbx)}, gateway=keys, supervision={"silence": 20}), keys)


MEMORY_MB = 64
"""Megabytes that no flood here adds to the gateway."""


def memory_mb(gateway: Gateway) -> float:
    status = Path(f"/proc/{gateway.daemon.pid('gateway')}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


@contextmanager
def flood(gateway: Gateway, request: bytes, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections on which this was sent, and nothing is read."""
    target = urlsplit(gateway.url)
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.create_connection((target.hostname or "", target.port or 0), BOUND_S)
            connections.append(connection)
            connection.sendall(request)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def head(method: str, path: str, length: int, token: str = "") -> bytes:
    bearer = f"Authorization: Bearer {TOKENS[token]}\r\n" if token else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{bearer}Content-Length: {length}\r\n\r\n".encode()


def statuses(connections: list[socket.socket]) -> Counter[int]:
    """Of those that are answered by now; 0 for one that was closed without an answer."""
    found: Counter[int] = Counter()
    for connection in connections:
        connection.setblocking(False)
        try:
            answer = connection.recv(65536)
        except BlockingIOError:
            continue
        except ConnectionResetError:
            answer = b""
        found[int(answer.split()[1]) if answer else 0] += 1
    return found


def metric(gateway: Gateway, name: str) -> float:
    with gateway.as_("wallboard") as http:
        lines = http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"amid_gateway_{name} ")).split()[1])


def serves(gateway: Gateway) -> bool:
    """A token is served on a new connection, and so is the page's log-in."""
    with gateway.as_("wallboard") as http, gateway.nobody as page:
        served = http.post("/v1/servers/pbx1/actions/Ping").status_code
        return (served, page.post("/login", content=TOKENS["wallboard"].encode()).status_code) == (200, 200)


def test_strangers_with_slow_bodies_keep_no_token_out(own_gateway: Gateway) -> None:
    before = memory_mb(own_gateway)
    with flood(own_gateway, head("POST", "/login", 4000) + b"x", 800):
        assert serves(own_gateway)
        assert metric(own_gateway, "connections_strangers") <= 200
        assert metric(own_gateway, "evicted_connections_total") >= 600
        assert memory_mb(own_gateway) < before + MEMORY_MB
    assert serves(own_gateway)


def test_bodies_that_never_end_are_bounded_for_each_token(own_gateway: Gateway) -> None:
    before = memory_mb(own_gateway)
    with flood(own_gateway, head("POST", "/rpc", 1_000_000, "operator") + b" " * 900_000, 90) as connections:
        assert serves(own_gateway)
        assert memory_mb(own_gateway) < before + MEMORY_MB
        assert statuses(connections) == {429: 90 - 16 * 1024 * 1024 // 900_000}
    with own_gateway.http as http:
        eventually(lambda: http.post("/rpc", content=b"{}" + b" " * 900_000).status_code == 400, "the share is given back")


LONG = {"method": "action", "params": {"action": "Ping", "until": "Never", "timeout": 3600}}


def long_call(token: str) -> bytes:
    body = json.dumps(LONG).encode()
    return head("POST", "/rpc", len(body), token) + body


def test_long_calls_of_one_token_leave_room_for_others_and_end_with_their_callers(own_gateway: Gateway) -> None:
    with flood(own_gateway, long_call("operator"), 250) as connections:
        eventually(lambda: metric(own_gateway, "requests_total") > 250, "all have come")
        refused = Counter[int]()

        def over_the_share() -> bool:
            refused.update(statuses(connections))
            return refused[429] >= 150

        eventually(over_the_share, "what is over the share is refused")
        assert serves(own_gateway) and set(refused) == {429}
    eventually(lambda: metric(own_gateway, "abandoned_calls_total") == 100, "the others are noticed to have left")
    eventually(lambda: own_gateway.daemon.result("status")["counters"]["open_calls"] == 0, "the daemon ends them too")
    with own_gateway.http as http:
        assert http.post("/rpc", json={"method": "ping"}).status_code == 200, "and their share is given back"


def test_parallel_guesses_are_as_slow_as_one_after_the_other(own_gateway: Gateway) -> None:
    assert serves(own_gateway)
    guess = head("POST", "/login", 20) + b"0123456789abcdefghi!"
    with flood(own_gateway, guess, 150) as connections:
        answered = Counter[int]()

        def refused() -> bool:
            answered.update(statuses(connections))
            return answered[429] >= 130

        eventually(refused, "most guesses are refused without a look")
        assert serves(own_gateway), "a token that was right from there before is served"
        assert answered[401] < 15
    assert metric(own_gateway, "refused_tokens_total") < 15


def test_answers_that_are_not_read_end_their_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "UNREAD_S", 1)
    with gateway._listener("127.0.0.1:0", []) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            connection.setblocking(False)

            def ended() -> bool:
                try:
                    connection.send(b"x" * 65536)
                except BlockingIOError:
                    return False
                except TimeoutError:
                    return True
                return False

            eventually(ended, "the kernel gives up on it")


def test_logging_out_ends_the_streams_of_the_session(own_gateway: Gateway) -> None:
    with own_gateway.nobody as http:
        key = http.post("/login", content=TOKENS["operator"].encode()).json()["session"]
        with http.stream("GET", "/v1/events", headers={"Amid-Session": key}) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            with own_gateway.nobody as other, ThreadPoolExecutor() as pool:
                other.cookies = http.cookies
                assert other.post("/logout", headers={"Amid-Session": key}).status_code == 204
                pool.submit(_drain, lines).result(BOUND_S)


def _drain(lines: Iterator[str]) -> None:
    with suppress(httpx.TransportError):
        for _ in lines:
            pass


def test_what_was_not_sent_when_its_client_leaves_is_not_sent(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """A client posts eight actions on one lane, the first of which takes long, and leaves. A retry would repeat the others."""
    with simulated() as pbx:
        keys = with_gateway(tmp_path)
        gateway = listening(daemon_for({"pbx1": table(pbx, lanes=1)}, gateway=keys), keys)
        daemon = gateway.daemon
        arm(daemon, "delay", "Setvar", Seconds=2)

        def lanes_and_queue() -> tuple[int, int]:
            server = daemon.server("pbx1")
            return server["lanes"]["busy"], server["queued"]

        with flood(gateway, b"", 8) as connections:
            for number, connection in enumerate(connections):
                body = json.dumps({"Variable": f"SENT{number}", "Value": "yes"}).encode()
                connection.sendall(head("POST", "/v1/servers/pbx1/actions/Setvar?timeout=60", len(body), "operator") + body)
                eventually(lambda number=number: lanes_and_queue() == (1, number), "it is under way, or waits")  # type: ignore[misc]
        eventually(lambda: lanes_and_queue()[1] == 0, "what waited is given up")
        variables = [daemon.action("Getvar", {"Variable": f"SENT{number}"}, timeout=20)["response"] for number in range(1, 8)]
        assert [one["Value"] for one in variables] == [""] * 7  # the first one was under way


def test_what_of_a_batch_was_not_sent_when_its_client_leaves_is_not_sent(tmp_path: Path, daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        keys = with_gateway(tmp_path)
        gateway = listening(daemon_for({"pbx1": table(pbx)}, gateway=keys), keys)
        daemon = gateway.daemon
        arm(daemon, "delay", "Setvar", Seconds=1)
        fields = [{"Variable": f"SENT{number}", "Value": "yes"} for number in range(8)]
        batch = [{"method": "action", "params": {"action": "Setvar", "fields": each}} for each in fields]
        body = json.dumps(batch).encode()
        with flood(gateway, head("POST", "/rpc", len(body), "operator") + body, 1):
            eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 1, "its first request is under way")
        eventually(lambda: not daemon.result("status")["counters"]["open_calls"], "it is given up")
        variables = [daemon.action("Getvar", {"Variable": f"SENT{number}"}, timeout=20)["response"] for number in range(1, 8)]
        assert [one["Value"] for one in variables] == [""] * 7
