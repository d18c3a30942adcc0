"""Several servers, each with its own fault: the healthy one is not affected, and each fault is
reported."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from amid.simulator import SimulatedPbx, User
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import SECRET, simulated, table
from tests.processes.process import Listener

IMPATIENT = {"username": "amid", "secret": SECRET, "login_timeout": 0.5, "reconnect_max": 0.5, "host": "127.0.0.1"}


@pytest.fixture(scope="module")
def down() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def hung() -> Iterator[int]:
    """A port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def garbage() -> Iterator[int]:
    """A port that sends endless noise."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_babble, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(BOUND_S)


def _babble(listener: socket.socket) -> None:
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, contextlib.suppress(OSError):
            peer.settimeout(1.0)
            peer.sendall(os.urandom(1 << 20))


@pytest.fixture(scope="module")
def motley(tmp_path_factory: pytest.TempPathFactory, down: int, hung: int, garbage: int) -> Iterator[Daemon]:
    """A PBX with calls beside three failing ones and one that rejects the login. Shared: leave it as it was."""
    with simulated() as stranger, SimulatedPbx(users=[User("amid", SECRET)], calls_per_minute=600) as pbx:
        troubled = {name: {**IMPATIENT, "port": port} for name, port in (("down", down), ("hung", hung), ("garbage", garbage))}
        servers = {"fine": table(pbx), **troubled, "stranger": table(stranger, username="nobody")}
        with contextlib.closing(Daemon(tmp_path_factory.mktemp("amid"), servers)) as daemon:
            daemon.start(wait=False)
            daemon.wait_up("fine")
            yield daemon


@pytest.mark.alone
def test_failing_servers_do_not_affect_a_healthy_one(motley: Daemon) -> None:
    states = {"down": ("connecting", "refused"), "hung": ("connecting", "greeting"), "garbage": ("connecting", "")}
    states["stranger"] = ("rejected", "authentication failed")

    def told() -> bool:
        views = {name: motley.server(name) for name in states}
        return all(view["state"] == states[name][0] and states[name][1] in view["detail"].lower() for name, view in views.items())

    with Listener(motley, "fine") as listener:
        elapsed = []
        eventually(told, "each says what its trouble is")
        for _ in range(100):
            began = time.monotonic()
            assert motley.action("Ping", server="fine")["response"]["Ping"] == "Pong"
            elapsed.append(time.monotonic() - began)
        listener.more(10)
        assert listener.gaps() == 0
    assert sorted(elapsed)[50] < 0.05 and max(elapsed) < 1.0, sorted(elapsed)[-5:]
    assert motley.server("garbage")["detail"]
    for name in states:
        assert motley.failure("Ping", server=name)["data"]["kind"] == "not_connected"
    restarts = {name: process["restarts"] for name, process in motley.processes().items()}
    assert not any(restarts.values()), "trouble with a PBX is no trouble with a process"


def test_the_server_must_be_named_when_there_are_several(motley: Daemon) -> None:
    failure = motley.failure("Ping")
    assert (failure["data"]["kind"], failure["data"]["sent"]) == ("invalid_params", False)
    assert "`server`" in failure["message"] and "fine" in failure["message"]


def test_status_lists_every_process_and_server(motley: Daemon) -> None:
    status = motley.result("status")
    names = ["fine", "down", "hung", "garbage", "stranger"]
    assert [server["name"] for server in status["servers"]] == names
    assert {process["name"] for process in status["processes"]} == {
        "supervisor",
        "broker",
        "state",
        *(f"reader {n}" for n in names),
    }
    assert all(process["uptime"] > 0 for process in status["processes"])


NAMES: dict[str, tuple[str, str]] = {
    "no-such-name": ("no-such-host.invalid", "name"),
    "not-a-name": ("a..b", "a..b"),
    "long-label": ("x" * 70 + ".example", "not a valid host name"),
}


def test_an_unresolvable_name_is_reported_and_retried(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    troubled = {server: {**IMPATIENT, "host": host} for server, (host, _) in NAMES.items()}
    daemon = daemon_for({"pbx1": table(pbx, host="localhost"), **troubled}, start=False).start(wait=False)
    for server, (_, said) in NAMES.items():
        eventually(lambda server=server, said=said: said in daemon.server(server)["detail"].lower(), f"{server} is reported")  # type: ignore[misc]
        assert daemon.server(server)["state"] == "connecting"
    daemon.wait_up("pbx1")
    assert daemon.action("Ping", server="pbx1")["response"]["Ping"] == "Pong", "a name that can be resolved is connected"
    assert daemon.log.read_text().count("Traceback") == 0
