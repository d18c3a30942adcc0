"""Several servers, each with its own fault: the healthy one is not affected, and each fault is
reported."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from amid.simulator import SimulatedPbx, User
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import SECRET, simulated, table
from tests.processes.process import Listener

IMPATIENT = {"username": "amid", "secret": SECRET, "login_timeout": 0.5, "reconnect_max": 0.5, "host": "127.0.0.1"}


@pytest.fixture
def down() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def hung() -> Iterator[int]:
    """A port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
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


@pytest.fixture
def motley(daemon_for: StartDaemon, down: int, hung: int, garbage: int) -> Iterator[Daemon]:
    """A PBX with calls beside three failing ones and one that rejects the login."""
    with simulated() as stranger, SimulatedPbx(users=[User("amid", SECRET)], calls_per_minute=600) as pbx:
        troubled = {name: {**IMPATIENT, "port": port} for name, port in (("down", down), ("hung", hung), ("garbage", garbage))}
        servers = {"fine": table(pbx), **troubled, "stranger": table(stranger, username="nobody")}
        daemon = daemon_for(servers, start=False).start(wait=False)
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


NAMES: dict[str, tuple[dict[str, Any], str]] = {
    "no such name": ({"host": "no-such-host.invalid"}, "name"),
    "not a name at all": ({"host": "a..b"}, "a..b"),
    "a name with a long label": ({"host": "x" * 70 + ".example"}, "not a valid host name"),
}


@pytest.mark.parametrize(("keys", "said"), NAMES.values(), ids=NAMES)
def test_an_unresolvable_name_is_reported_and_retried(daemon_for: StartDaemon, keys: dict[str, Any], said: str) -> None:
    daemon = daemon_for({"pbx1": {**IMPATIENT, **keys}}, start=False).start(wait=False)
    eventually(lambda: said in daemon.server("pbx1")["detail"].lower(), "the detail says so")
    assert daemon.server("pbx1")["state"] == "connecting"
    assert daemon.log.read_text().count("Traceback") == 0


def test_a_resolvable_name_is_connected(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx, host="localhost")})
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
