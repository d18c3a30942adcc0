"""Limits of event streams: their number, their conditions, and their memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from amid.simulator import SimulatedPbx
from amid.simulator.model import Member
from tests.bench.setting import resident
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, Gateway, listening, with_gateway
from tests.processes.pbx import simulated, table

StartGateway = Callable[..., Gateway]


@pytest.fixture
def start(tmp_path: Path, daemon_for: StartDaemon, shared_pbx: SimulatedPbx) -> StartGateway:
    def started(**keys: Any) -> Gateway:
        table_of_gateway = with_gateway(tmp_path, **keys)
        return listening(daemon_for({"pbx1": table(shared_pbx)}, gateway=table_of_gateway), table_of_gateway)

    return started


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[name]}"}


async def statuses(gateway: Gateway, names: list[str]) -> list[int]:
    """Statuses of streams that these tokens open at once, alternately over HTTP and WebSocket, and
    hold open."""
    settled = asyncio.Barrier(len(names))

    async def over_http(client: httpx.AsyncClient, name: str) -> int:
        async with client.stream("GET", "/v1/events", headers=bearer(name)) as answer:
            await settled.wait()
            return answer.status_code

    async def over_websocket(name: str) -> int:
        url = gateway.url.replace("http", "ws", 1)
        try:
            async with connect(f"{url}/v1/events", additional_headers=bearer(name), proxy=None):
                await settled.wait()
                return 200
        except InvalidStatus as refused:
            await settled.wait()
            return refused.response.status_code

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, limits=limits, timeout=BOUND_S) as client:
        opening = [over_websocket(name) if number % 2 else over_http(client, name) for number, name in enumerate(names)]
        return await asyncio.wait_for(asyncio.gather(*opening), 3 * BOUND_S)


def none_open(gateway: Gateway) -> None:
    with gateway.http as http:
        eventually(lambda: "amid_gateway_streams 0.0" in http.get("/metrics").text, "all streams have ended")


def test_simultaneous_streams_are_limited(start: StartGateway) -> None:
    gateway = start(max_streams=3)
    for _ in range(2):  # those that were refused and those that ended leave their places
        got = asyncio.run(statuses(gateway, ["operator"] * 20))
        assert sorted(got) == [200] * 3 + [429] * 17
        none_open(gateway)


def test_one_token_cannot_take_the_streams_of_the_others(start: StartGateway) -> None:
    gateway = start(max_streams=6, max_streams_per_token=4)
    got = asyncio.run(statuses(gateway, ["wallboard"] * 20 + ["operator"] * 2))
    assert sorted(got[:20]) == [200] * 4 + [429] * 16 and got[20:] == [200, 200]
    with gateway.as_("wallboard") as http:
        none_open(gateway)
        assert http.head("/v1/events").status_code == 200
        none_open(gateway)


CHUNKED = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
UPGRADE = (
    "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\nAuthorization: Bearer {TOKENS['wallboard']}\r\n\r\n"
).encode()
FLOODS = {"chunks of one byte": (CHUNKED, b"1\r\nx\r\n"), "empty pings": (UPGRADE, b"\x89\x80" + bytes(4))}


@pytest.mark.parametrize(("head", "piece"), FLOODS.values(), ids=FLOODS)
def test_many_small_pieces_do_not_stop_the_gateway(start: StartGateway, head: bytes, piece: bytes) -> None:
    gateway = start()
    pid = gateway.daemon.pid("gateway")
    address = ("127.0.0.1", int(gateway.url.rpartition(":")[2]))

    def send() -> None:
        with suppress(OSError), socket.create_connection(address, BOUND_S) as connection:
            connection.settimeout(BOUND_S / 4)
            connection.sendall(head)
            assert connection.recv(4096).startswith(b"HTTP/1.1 10"), "it waits for what follows"
            connection.sendall(piece * 200_000)

    with ThreadPoolExecutor() as pool:
        sending = [pool.submit(send) for _ in range(6)]
        while not all(one.done() for one in sending):
            with gateway.http as http:
                assert http.get("/v1/servers").status_code == 200
    assert gateway.daemon.pid("gateway") == pid, "it was not killed"


def test_a_stream_has_a_bounded_number_of_conditions(gateway: Gateway) -> None:
    with gateway.http as http:
        most, more = ("/v1/events?" + "&".join(["where=A=1"] * count) for count in (16, 17))
        assert [http.head(path).status_code for path in (most, more)] == [200, 400]
        assert "16 conditions" in http.get(more).json()["message"]


def unread_streams_mb(gateway: Gateway, path: str, count: int) -> float:
    """The growth of the gateway in MB with so many streams that are not read. It serves others meanwhile."""
    pid = gateway.daemon.pid("gateway")
    before = resident(pid)

    async def ask_and_read_nothing() -> float:
        host, _, port = gateway.url.removeprefix("http://").partition(":")
        head = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {TOKENS['operator']}"]
        connections = [await asyncio.open_connection(host, int(port), limit=4096) for _ in range(count)]
        for reader, writer in connections:
            writer.write("\r\n".join([*head, "", ""]).encode())
            await reader.readexactly(1)
        most = 0.0
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=BOUND_S) as client:
            for _ in range(40):
                answer = await client.post("/v1/servers/pbx1/actions/Ping", headers=bearer("operator"))
                assert answer.status_code == 200
                most = max(most, resident(pid))
                await asyncio.sleep(0.1)  # the pace of looking
        for _, writer in connections:
            writer.close()
        return most

    grown = asyncio.run(ask_and_read_nothing()) - before
    assert gateway.daemon.pid("gateway") == pid, "it was not killed"
    return grown


def test_streams_from_far_back_cost_bounded_memory(own_gateway: Gateway) -> None:
    daemon = own_gateway.daemon
    for number in range(300):
        daemon.action("UserEvent", {"UserEvent": "Large", "Number": number, **{f"Field{one}": "x" * 900 for one in range(40)}})
    epoch = daemon.server("pbx1")["epoch"]
    assert unread_streams_mb(own_gateway, f"/v1/events?after=pbx1:{epoch}:0", 50) < 100


def test_streams_of_a_large_state_cost_bounded_memory(tmp_path: Path, daemon_for: StartDaemon) -> None:
    """Each had its own copy of the state, and three of the message."""
    keys = with_gateway(tmp_path)
    with simulated() as pbx:
        pbx.pbx.queues["sales"].members += [Member("sales", f"Local/{n}@agents", f"Member {n}", 1.0) for n in range(5000)]
        gateway = listening(daemon_for({"pbx1": table(pbx)}, gateway=keys), keys)
        gateway.daemon.result("state", {"timeout": BOUND_S})
        grown = unread_streams_mb(gateway, "/v1/state?kinds=members", 30)
        assert grown < 150, f"{grown:.0f} MB more"
