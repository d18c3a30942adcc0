"""Floods of connections, bodies, calls and guesses use bounded memory, and valid tokens are served
meanwhile."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from amid.gateway import gateway
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.gateway.conftest import TOKENS, Gateway, listening, with_gateway
from tests.processes.pbx import arm, simulated, table


@pytest.fixture
def own_gateway(tmp_path_factory: pytest.TempPathFactory, daemon_for: StartDaemon) -> Iterator[Gateway]:
    """A flood may use the whole processor; that the gateway is replaced then is not tested here."""
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
    """`count` connections that send this and read nothing."""
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
    """The statuses of answered connections; 0 for one closed without a response."""
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
    """Whether a token is served on a new connection, and the page's log-in as well."""
    with gateway.as_("wallboard") as http, gateway.anonymous as page:
        served = http.post("/v1/servers/pbx1/actions/Ping").status_code
        return (served, page.post("/login", content=TOKENS["wallboard"].encode()).status_code) == (200, 200)


def test_slow_bodies_do_not_block_valid_tokens(own_gateway: Gateway) -> None:
    before = memory_mb(own_gateway)
    with flood(own_gateway, head("POST", "/login", 4000) + b"x", 800):
        assert serves(own_gateway)
        assert metric(own_gateway, "connections_strangers") <= 200
        assert metric(own_gateway, "evicted_connections_total") >= 600
        assert memory_mb(own_gateway) < before + MEMORY_MB
    assert serves(own_gateway)


def test_endless_bodies_are_limited_for_each_token(own_gateway: Gateway) -> None:
    before = memory_mb(own_gateway)
    with flood(own_gateway, head("POST", "/rpc", 1_000_000, "operator") + b" " * 900_000, 40) as connections:
        assert serves(own_gateway)
        assert memory_mb(own_gateway) < before + MEMORY_MB
        answered: Counter[int] = Counter()

        def refused() -> int:
            answered.update(statuses(connections))
            return answered[429]

        eventually(lambda: refused() >= 40 - 16 * 1024 * 1024 // 900_000, "all bodies over the limit are refused")
        assert refused() == 40 - 16 * 1024 * 1024 // 900_000 and not answered[200]
    with own_gateway.http as http:
        eventually(lambda: http.post("/rpc", content=b"{}" + b" " * 900_000).status_code == 400, "the share is given back")


LONG = {"method": "action", "params": {"action": "Ping", "until": "Never", "timeout": 3600}}


def long_call(token: str) -> bytes:
    body = json.dumps(LONG).encode()
    return head("POST", "/rpc", len(body), token) + body


def open_calls(daemon: Daemon) -> int:
    """Those of tokens. The gateway has one of its own, which waits for events."""
    callers = daemon.result("status")["callers"]
    return sum(caller["open_calls"] for caller in callers if caller["name"].startswith("token:"))


def test_long_calls_of_one_token_are_limited_and_end_with_their_clients(own_gateway: Gateway) -> None:
    with flood(own_gateway, long_call("operator"), 250) as connections:
        eventually(lambda: metric(own_gateway, "requests_total") > 250, "all have come")
        refused = Counter[int]()

        def over_the_share() -> bool:
            refused.update(statuses(connections))
            return refused[429] >= 150

        eventually(over_the_share, "what is over the share is refused")
        assert serves(own_gateway) and set(refused) == {429}
    eventually(lambda: metric(own_gateway, "abandoned_calls_total") == 100, "the others are noticed to have left")
    eventually(lambda: open_calls(own_gateway.daemon) == 0, "the daemon ends them too")
    with own_gateway.http as http:
        assert http.post("/rpc", json={"method": "ping"}).status_code == 200, "and their share is given back"


def test_parallel_guesses_are_as_slow_as_sequential_ones(own_gateway: Gateway) -> None:
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


def test_a_connection_with_unread_responses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "UNREAD_S", 1)
    with asyncio.run(gateway._listener("127.0.0.1:0", [])) as listening, socket.create_connection(listening.getsockname()):
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


def test_logging_out_closes_the_streams_of_the_session(own_gateway: Gateway) -> None:
    with own_gateway.anonymous as http:
        key = http.post("/login", content=TOKENS["operator"].encode()).json()["session"]
        with http.stream("GET", "/v1/events", headers={"Amid-Session": key}) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("retry")
            with own_gateway.anonymous as other, ThreadPoolExecutor() as pool:
                other.cookies = http.cookies
                assert other.post("/logout", headers={"Amid-Session": key}).status_code == 204
                pool.submit(_drain, lines).result(BOUND_S)


def _drain(lines: Iterator[str]) -> None:
    with suppress(httpx.TransportError):
        for _ in lines:
            pass


def test_queued_actions_of_a_disconnected_client_are_not_sent(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """A client sends eight actions for one lane, the first of which is slow, and disconnects. A
    retry would repeat the others. A Setvar of a function is not quick, so none is sent behind another."""
    with simulated() as pbx:
        keys = with_gateway(tmp_path)
        gateway = listening(daemon_for({"pbx1": table(pbx, lanes=1)}, gateway=keys), keys)
        daemon = gateway.daemon
        arm(daemon, "delay", "Setvar", Seconds=4)

        def lanes_and_queue() -> tuple[int, int]:
            server = daemon.server("pbx1")
            return server["lanes"]["busy"], server["queued"]

        with flood(gateway, b"", 8) as connections:
            for number, connection in enumerate(connections):
                body = json.dumps({"Variable": f"GLOBAL(SENT{number})", "Value": "yes"}).encode()
                connection.sendall(head("POST", "/v1/servers/pbx1/actions/Setvar?timeout=60", len(body), "operator") + body)
                eventually(lambda number=number: lanes_and_queue() == (1, number), "it is under way, or waits")  # type: ignore[misc]
        eventually(lambda: lanes_and_queue()[1] == 0, "what waited is given up")

        def value(number: int) -> Any:
            return daemon.action("Getvar", {"Variable": f"GLOBAL(SENT{number})"}, timeout=20)["response"]["Value"]

        eventually(lambda: value(0) == "yes", "the first one, which was under way, is carried out")
        assert [value(number) for number in range(1, 8)] == [""] * 7


def test_the_rest_of_a_batch_of_a_disconnected_client_is_not_sent(tmp_path: Path, daemon_for: StartDaemon) -> None:
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
        eventually(lambda: not open_calls(daemon), "it is given up")
        variables = [daemon.action("Getvar", {"Variable": f"SENT{number}"}, timeout=20)["response"] for number in range(1, 8)]
        assert [one["Value"] for one in variables] == [""] * 7
