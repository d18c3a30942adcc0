"""Idle connections, missing bodies, what it listens on, and its end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket
from uvicorn.server import ServerState
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from amid.gateway import bodies, gateway
from amid.gateway.connections import Connections
from tests.asterisk.server import free_port
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.gateway.conftest import Gateway, with_gateway
from tests.processes.pbx import simulated, table

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("sent", [b"", REQUEST, REQUEST + b"\r\n" + REQUEST], ids=["nothing", "half", "one-and-a-half"])
def test_a_connection_without_a_complete_request_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(gateway, "HEAD_S", 0.1)
    asyncio.run(_closed(sent))


async def _closed(sent: bytes) -> None:
    config = uvicorn.Config(PlainTextResponse("done"), lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    made = partial(gateway.Connection, Connections(10, 10), config, state, {})
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1")
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with closing(writer):  # the server waits for it
            writer.write(sent)
            answers = await asyncio.wait_for(reader.read(), BOUND_S)
    assert answers.count(b"200 OK") == sent.count(b"\r\n\r\n") and not state.connections


def test_pongs_that_are_not_read_use_bounded_memory() -> None:
    unread = asyncio.run(_unread_pongs(100_000))
    assert unread < 2 * gateway.MAX_UNREAD_BYTES  # one read may bring many pings


async def _unread_pongs(pings: int) -> int:
    """Bytes that a WebSocket keeps for a peer that sends pings and reads nothing."""
    served = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        await websocket.receive_text()  # behind all pings
        served.set_result(websocket.state.transport.get_write_buffer_size())

    config = uvicorn.Config(app, ws=gateway.WebSocketConnection, lifespan="off", log_config=None)
    config.load()
    made = partial(gateway.Connection, Connections(10, 10), config, ServerState(), {})
    async with await asyncio.get_running_loop().create_server(made, "127.0.0.1") as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b==\r\n\r\n"
        with closing(writer):
            writer.write(REQUEST + upgrade % (b"A" * 22))
            await reader.readuntil(b"\r\n\r\n")
            mask = bytes(4)
            writer.write((b"\x89\xfd" + mask + bytes(125)) * pings + b"\x81\x80" + mask)
            unread: int = await asyncio.wait_for(served, BOUND_S)
    return unread


LISTENING = {
    "a list": (["127.0.0.1:PORT", "[::1]:PORT"]),
    "all of IPv6, and so of IPv4 too": "[::]:PORT",
    "all of both": ["[::]:PORT", "0.0.0.0:PORT"],
}


@pytest.mark.parametrize("listen", LISTENING.values(), ids=LISTENING)
def test_it_listens_on_every_configured_address(tmp_path: Path, daemon_for: StartDaemon, listen: Any) -> None:
    """Local programs need no token for /healthz on any of the addresses."""
    port = free_port()
    named = [one.replace("PORT", str(port)) for one in listen] if isinstance(listen, list) else listen.replace("PORT", str(port))
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)}, gateway=with_gateway(tmp_path, listen=named))
        for host in ("127.0.0.1", "[::1]"):
            assert health(daemon, f"http://{host}:{port}") == 200, host


def health(daemon: Daemon, url: str) -> int:
    with httpx.Client(trust_env=False) as http:
        answer = eventually(lambda: http.get(f"{url}/healthz"), f"{url} answers; log:\n{daemon.log.read_text()[-2000:]}")
    return answer.status_code


def test_a_burst_of_connections_waits_in_the_kernel() -> None:
    """A pass of the loop accepts a few connections. The kernel would hold no more than that many either, and the others would try
    again only after a second."""
    asyncio.run(_connected_while_none_is_accepted(10 * gateway.ACCEPTED_AT_ONCE))


async def _connected_while_none_is_accepted(count: int) -> None:
    config = uvicorn.Config(PlainTextResponse("done"), lifespan="off", log_config=None)
    config.load()
    address = "127.0.0.1", free_port()
    server = gateway.Server(config, lambda *problem: None, [f"127.0.0.1:{address[1]}"])
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    while not server.servers:
        await asyncio.sleep(0)
    with ExitStack() as stack:
        for _ in range(count):  # the loop does not turn meanwhile
            stack.enter_context(socket.create_connection(address, timeout=BOUND_S))
    await server.shutdown()


def test_a_request_body_has_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.1)

    async def never() -> MutableMapping[str, Any]:
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def read() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, never)
        await asyncio.wait_for(bodies.read_body(request, 10), BOUND_S)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(read())
    assert refused.value.status_code == 408


def test_open_requests_end_in_order_with_the_process(own_gateway: Gateway) -> None:
    """They ended with a broken connection or status 500, and with a traceback each in the log."""
    daemon = own_gateway.daemon
    daemon.result("state", {"timeout": BOUND_S})  # a load is a change that ends the call
    waiting = {"id": 1, "method": "events", "params": {"kinds": ["calls"], "timeout": 60}}
    with own_gateway.http as http, ThreadPoolExecutor() as pool:
        url, token = own_gateway.url.replace("http", "ws", 1), http.headers["Authorization"]
        with connect(f"{url}/v1/events", additional_headers={"Authorization": token}, proxy=None) as websocket:
            streams = [pool.submit(http.get, path) for path in ("/v1/events", "/v1/state")]
            pull = pool.submit(http.post, "/rpc", json=waiting)
            eventually(lambda: "amid_gateway_streams 3.0" in http.get("/metrics").text, "all streams are open")
            eventually(lambda: daemon.result("status")["callers"], "the call waits")
            daemon.signal("gateway", signal.SIGTERM)
            assert [stream.result(BOUND_S).status_code for stream in streams] == [200, 200]
            answer = pull.result(BOUND_S)
            assert (answer.status_code, answer.json()["error"]["data"]["kind"]) == (502, "connection_lost")
            with pytest.raises(ConnectionClosed):
                while True:
                    websocket.recv(BOUND_S)
    assert "level=error" not in daemon.log.read_text()
