"""A port in use: local callers are served, the error is reported once, and amid listens when the
port is free. The same in all processes that listen on TCP."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

from amid.process import bindings
from amid.process.bindings import Bindings, describe_bind_error
from tests.asterisk.server import free_port
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.gateway.conftest import with_gateway
from tests.listener.conftest import USERS
from tests.listener.setting import listener_table
from tests.processes.pbx import simulated, table
from tests.processes.test_tcp import make_keys

IN_USE = "address already in use"
KEYS = {
    "broker": "listen in [rpc]",
    "reader pbx1 events": "events_listen in [servers.pbx1]",
    "reader pbx1 stream": "stream_listen in [servers.pbx1]",
    "gateway": "listen in [gateway] (8088 is also the port of Asterisk's HTTP server)",
    "listener": "listen in [listener] (5038 is also Asterisk's own port)",
}
"""What listens, and the key that an operator has to change."""


def taken(stack: ExitStack) -> str:
    """The address of a port that another program has."""
    other = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return f"127.0.0.1:{other.getsockname()[1]}"


def tables_on_tcp(folder: Path, addresses: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keys of the server, and tables, with which everything listens on these addresses."""
    make_keys(folder / "server.key")
    server = {f"{kind}_listen": [f"tcp://{addresses[f'reader pbx1 {kind}']}"] for kind in ("events", "stream")}
    return server, {
        "rpc": {"listen": [f"tcp://{addresses['broker']}"]},
        "curve": {"secret_key_file": str(folder / "server.key")},
        "callers__crm": {"key": make_keys(folder / "crm.key")},
        "gateway": with_gateway(folder, listen=addresses["gateway"]),
        "listener": listener_table(folder, USERS, listen=addresses["listener"]),
    }


def problems(daemon: Daemon) -> str:
    return "\n".join(process["problem"] for process in daemon.processes().values() if process["problem"])


def expected(addresses: dict[str, str]) -> list[str]:
    return [f"{address}: {IN_USE}; change {KEYS[what]}" for what, address in addresses.items()]


def check_reported(daemon: Daemon, addresses: dict[str, str]) -> None:
    """Each address is in the status, with the key, and once in the log; no process was restarted."""
    eventually(lambda: all(text in problems(daemon) for text in expected(addresses)), "all are in the status")
    eventually(
        lambda: all(text in daemon.log.read_text() for text in expected(addresses)), "all are in the log, which a thread writes"
    )
    log = daemon.log.read_text()
    assert [log.count(text) for text in expected(addresses)] == [1] * len(addresses)


def is_open(address: str) -> bool:
    host, _, port = address.partition(":")
    socket.create_connection((host, int(port))).close()
    return True


def check_reachable(daemon: Daemon, addresses: dict[str, str]) -> None:
    """Something listens on each address, and no problem is left."""
    for address in addresses.values():
        eventually(partial(is_open, address), address)
    eventually(lambda: not problems(daemon), "no problem is left")


def test_with_all_ports_in_use_local_callers_are_served(tmp_path: Path, daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        with ExitStack() as others:
            addresses = {what: taken(others) for what in KEYS}
            server, tables = tables_on_tcp(tmp_path, addresses)
            daemon = daemon_for({"pbx1": table(pbx, **server)}, **tables)
            assert daemon.action("Ping")["response"]["Ping"] == "Pong"
            check_reported(daemon, addresses)
        check_reachable(daemon, addresses)
        assert {process["restarts"] for process in daemon.processes().values()} == {0}
        assert daemon.log.read_text().count(IN_USE) == len(addresses)


def test_a_reload_may_add_a_port_in_use(tmp_path: Path, daemon_for: StartDaemon) -> None:
    with simulated() as pbx:
        daemon = daemon_for({"pbx1": table(pbx)})
        with ExitStack() as others:
            addresses = {what: taken(others) for what in KEYS}
            server, tables = tables_on_tcp(tmp_path, addresses)
            daemon.configure({"pbx1": table(pbx, **server)}, **tables)
            assert daemon.process is not None
            os.kill(daemon.process.pid, signal.SIGHUP)
            check_reported(daemon, addresses)
            assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        check_reachable(daemon, addresses)


HANGING = """
import socket, time
real = socket.getaddrinfo
def getaddrinfo(host, *rest, **keys):
    if host == "hanging.example":
        time.sleep(60)
    return real(host, *rest, **keys)
socket.getaddrinfo = getaddrinfo
if hasattr(socket, "create_server"):
    create_server = socket.create_server
    def resolving(address, **keys):
        return create_server((getaddrinfo(address[0], None)[0][4][0], *address[1:]), **keys)
    socket.create_server = resolving
"""
"""As with a name server that does not answer."""


@pytest.mark.parametrize("name", ["hanging.example", f"{'a' * 64}.example", "nowhere.invalid"])
def test_a_name_without_an_address_ends_no_process(
    tmp_path: Path, daemon_for: StartDaemon, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    gateway, listener = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with simulated() as pbx:
        daemon = daemon_for(
            {"pbx1": table(pbx)},
            gateway=with_gateway(tmp_path, listen=[f"{name}:8088", gateway]),
            listener=listener_table(tmp_path, USERS, listen=[f"{name}:5038", listener]),
        )
        for address in (gateway, listener):
            eventually(partial(is_open, address), address)
        for port in (8088, 5038):
            eventually(partial(lambda text: text in problems(daemon), f"cannot listen on {name}:{port}: "), "it is in the status")
        assert {process["restarts"] for process in daemon.processes().values()} == {0}
        assert daemon.stop() == 0
    assert "SIGKILL" not in daemon.log.read_text()


class Port:
    """`bind` fails with `number` until that is 0. reported: what `Bindings` has reported."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.binds = 0
        self.reported: list[str] = []

    async def bind(self, address: str) -> None:
        self.binds += 1
        if self.number:
            raise OSError(self.number, "")

    def bindings(self) -> Bindings:
        return Bindings(self.bind, "listen", lambda address, problem: self.reported.append(problem))

    async def until(self, binds: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while self.binds < binds:
                await asyncio.sleep(0.001)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "RETRY_MIN_S", 0.001)
    monkeypatch.setattr(bindings, "RETRY_MAX_S", 0.002)


@pytest.mark.usefixtures("quick")
def test_a_failure_is_reported_once_and_so_is_another_one(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        port = Port(errno.EADDRINUSE)
        port.bindings().listen(["a:1"])
        await asyncio.sleep(0)
        assert port.binds == 1 and port.reported == [], "libzmq may still be closing the socket that had the port"
        await port.until(5)
        port.number = errno.EACCES
        await port.until(10)
        port.number = 0
        await port.until(11)
        in_use, denied, none = port.reported
        assert "already in use; change listen" in in_use and "permission denied" in denied and none == ""

    caplog.set_level(logging.INFO)
    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]


@pytest.mark.usefixtures("quick")
def test_a_reload_does_not_report_a_failure_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        port = Port(errno.EADDRINUSE)
        listening = port.bindings()
        listening.listen(["a:1"])
        await port.until(3)
        listening.listen(["a:1", "a:2"])
        await port.until(20)
        listening.listen(["a:1"])
        port.number = 0
        async with asyncio.timeout(BOUND_S):
            while port.reported.count("") < 2:
                await asyncio.sleep(0.001)

    asyncio.run(scenario())
    messages = [record.getMessage().split(":")[0] for record in caplog.records if "a:1" in record.getMessage()]
    assert messages == ["cannot listen on a", "listening on a"]


@pytest.mark.usefixtures("quick")
def test_an_address_that_was_removed_is_tried_no_more() -> None:
    async def scenario() -> None:
        port = Port(errno.EADDRINUSE)
        listening = port.bindings()
        listening.listen(["a:1"])
        await port.until(3)
        listening.listen([])
        binds = port.binds
        another = Port(errno.EADDRINUSE)
        another.bindings().listen(["a:2"])
        await another.until(5)
        assert port.binds == binds and port.reported[-1] == "", "the problem went with the address"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EADDRINUSE, ""), "address already in use; change listen in [rpc]"),
        (OSError(errno.EADDRNOTAVAIL, ""), "this machine does not have the address; change listen in [rpc]"),
        (zmq.ZMQError(errno.ENODEV), "this machine does not have the address; change listen in [rpc]"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known; change listen in [rpc]"),
        (OSError(errno.EACCES, ""), "permission denied, as for ports below 1024 without root; change listen in [rpc]"),
        (OSError(errno.EMFILE, ""), "Too many open files"),
    ],
)
def test_a_failed_bind_is_described(error: OSError | zmq.ZMQError, words: str) -> None:
    assert describe_bind_error(error, "listen in [rpc]") == words
