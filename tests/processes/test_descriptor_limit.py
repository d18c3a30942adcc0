"""At the descriptor limit, new connections are refused and existing ones are served.

libzmq aborts its process when it cannot accept a connection on ipc.
"""

from __future__ import annotations

import os
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from amid.process.acceptor import Acceptor
from amid.simulator import SimulatedPbx
from tests.asterisk.server import free_port
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.on_loop import Loop
from tests.processes.pbx import table
from tests.processes.process import Listener
from tests.processes.test_tcp import make_keys
from tests.processes.zmtp import RawPeer

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
sys.argv = ["amid", "run", "-c", sys.argv[1]]
from amid.__main__ import main
main()
"""
FLOOD = 2500


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For the test itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(endpoint: str) -> socket.socket:
    transport, _, address = endpoint.partition("://")
    host, _, port = address.partition(":")
    family, where = (socket.AF_UNIX, address) if transport == "ipc" else (socket.AF_INET, (host, int(port)))
    peer = socket.socket(family)
    with suppress(ConnectionRefusedError):
        peer.connect(where)
    return peer


@contextmanager
def flood(endpoint: str) -> Iterator[None]:
    """Connections of which some are refused. The log may not show it: a process that still refuses those of an earlier flood
    goes on."""
    with ExitStack() as stack:
        peers = [stack.enter_context(connect(endpoint)) for _ in range(FLOOD)]
        eventually(lambda: any(map(was_refused, peers)), "some are refused")
        yield


def was_refused(peer: socket.socket) -> bool:
    """Whether the connection was closed without a greeting."""
    try:
        return peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("limit", [512, 65_536, 1_048_576])
def test_half_of_the_descriptors_are_kept_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """libzmq used up 4,096 of them in 0.1 s, in which the process had no CPU, and aborted it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))

    async def free() -> int:
        acceptor = Acceptor(str(tmp_path), Counter())
        count = acceptor.free_descriptors()
        acceptor.close()
        return count

    with Loop() as loop:
        assert 0 < limit / 2 - loop.run(free()) < 200


def tables_with_keys(folder: Path) -> dict[str, Any]:
    """Tables for TCP, with a key of the daemon and one of a caller."""
    make_keys(folder / "server.key")
    return {"callers__crm": {"key": make_keys(folder / "crm.key")}, "curve": {"secret_key_file": str(folder / "server.key")}}


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_new_connections_are_refused_when_descriptors_run_short(daemon_for: StartDaemon, pbx: SimulatedPbx, transport: str) -> None:
    """The broker crashed repeatedly and no caller was served."""
    daemon = daemon_for({}, start=False)
    listen = f"tcp://127.0.0.1:{free_port()}"
    daemon.configure({"pbx1": table(pbx)}, rpc={"listen": [listen]}, **tables_with_keys(daemon.directory))
    daemon.launch(["-c", LIMITED, str(daemon.file)])
    daemon.wait_up("pbx1")
    pid = daemon.pid("broker")
    with Caller(daemon) as connected, ExitStack() as stack:
        connected.result(connected.send("ping"))
        for _ in range(FLOOD):
            stack.enter_context(connect(daemon.rpc if transport == "ipc" else listen))
        for _ in range(8):
            assert connected.result(connected.action("Ping"))["response"]["Ping"] == "Pong"
        eventually(lambda: "refusing new connections" in daemon.log.read_text(), "it is logged")
    eventually(lambda: daemon.request("ping", wait=0.5)["result"] == {}, "newcomers are accepted again")
    assert daemon.pid("broker") == pid
    with flood(daemon.rpc if transport == "ipc" else listen):
        assert daemon.stop() == 0
    assert "SIGABRT" not in daemon.log.read_text(), "it ended while it refused connections"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as another user")
@pytest.mark.usefixtures("many_descriptors")
def test_one_unix_user_cannot_take_all_connections(limited: Daemon) -> None:
    """All other users were refused."""
    with ExitStack() as stack:
        for _ in range(800):
            with suppress(ConnectionError):
                stack.enter_context(RawPeer.of_user(65533, limited.run_dir))
        assert limited.request("ping")["result"] == {}
        assert limited.result("status")["counters"]["refused_connections"] > 100
        with RawPeer.of_user(65532, limited.run_dir) as other:
            other.send(b"", b'{"id": 1, "method": "ping"}')
            assert b"result" in other.receive()[1]
    assert "refused a connection of uid:65533" in limited.log.read_text()


@pytest.fixture
def limited(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Daemon:
    """Its processes have 2048 descriptors each. With 512, libzmq could accept as many before the reader looked, on a busy
    machine."""
    daemon = daemon_for({}, start=False)
    listen = [f"tcp://127.0.0.1:{free_port()}"]
    daemon.configure({"pbx1": table(pbx, events_listen=listen)}, **tables_with_keys(daemon.directory))
    daemon.launch(["-c", LIMITED, str(daemon.file)])
    daemon.wait_up("pbx1")
    return daemon


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("name", ["events-pbx1", "stream-pbx1", "trace-pbx1", "tcp"])
def test_a_reader_without_descriptors_refuses_only_new_subscribers(limited: Daemon, name: str) -> None:
    """libzmq repeatedly aborted the reader and with it the sessions with Asterisk."""
    pid = limited.pid("reader pbx1")
    endpoint = limited.servers["pbx1"]["events_listen"][0] if name == "tcp" else f"ipc://{limited.run_dir / name}"
    with Listener(limited, "pbx1") as subscriber:
        with ExitStack() as stack:
            for _ in range(FLOOD):
                stack.enter_context(connect(endpoint))
            eventually(lambda: "refusing new connections" in limited.log.read_text(), "it is logged")
            for number in range(8):
                limited.action("UserEvent", {"UserEvent": f"{number}"})
                subscriber.more(1)
            eventually(lambda: limited.result("status")["servers"][0]["counters"]["refused_connections"], "they are counted")
        with Listener(limited, "pbx1") as newcomer:
            limited.action("UserEvent", {"UserEvent": "to both"})
            newcomer.more(1)
            subscriber.more(1)
        assert subscriber.gaps() == 0
    assert limited.pid("reader pbx1") == pid
    with flood(endpoint):
        assert limited.stop() == 0
    assert "SIGABRT" not in limited.log.read_text(), "it ended while it refused connections"
