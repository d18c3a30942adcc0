"""A name with two addresses and an Asterisk behind each: all sessions use the same one, and a
switch is a new epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amid.simulator import SimulatedPbx, User
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.pbx import SECRET, arm, table
from tests.processes.process import Listener
from tests.simulator.faults import faulty_pbx
from tests.simulator.releases import ASTERISK_16

USERS = [User("amid", SECRET)]

ALTERNATING = """
import itertools, socket
real, turns = socket.getaddrinfo, itertools.count()
def getaddrinfo(host, port, *rest, **keys):
    if host != "two.example":
        return real(host, port, *rest, **keys)
    both = [real(address, port, *rest, **keys)[0] for address in ("127.0.0.1", "127.0.0.2")]
    return both[:: -1 if next(turns) % 2 else 1]
socket.getaddrinfo = getaddrinfo
"""
"""As a name server does: the addresses are in turn the first."""


@pytest.fixture
def one() -> Iterator[SimulatedPbx]:
    with faulty_pbx(users=USERS) as pbx:
        yield pbx


@pytest.fixture
def other(one: SimulatedPbx) -> Iterator[SimulatedPbx]:
    with faulty_pbx("127.0.0.2", one.port, users=USERS, release=ASTERISK_16) as pbx:
        yield pbx


@pytest.fixture
def daemon(
    daemon_for: StartDaemon, one: SimulatedPbx, other: SimulatedPbx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Daemon:
    (tmp_path / "sitecustomize.py").write_text(ALTERNATING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return daemon_for({"pbx1": table(one, host="two.example", lanes=4)})


def versions(daemon: Daemon) -> set[str]:
    """The versions of the Asterisks that actions reach when all lanes are open."""
    with Caller(daemon) as caller:
        arm(daemon, "delay", "CoreStatus", Seconds=0.3, Count=4)
        slow = [caller.action("CoreStatus") for _ in range(4)]
        eventually(lambda: daemon.server("pbx1")["lanes"]["busy"] == 4, "all lanes are open")
        assert all("result" in caller.reply(number) for number in slow)
        asked = [caller.action("CoreSettings") for _ in range(16)]
        return {caller.result(number)["response"]["AsteriskVersion"] for number in asked}


def test_actions_and_events_use_the_same_address(daemon: Daemon) -> None:
    with Listener(daemon, "pbx1") as listener:
        seen = versions(daemon)
        assert len(seen) == 1
        daemon.action("UserEvent", {"UserEvent": "Here"})
        eventually(lambda: listener.heard() and "UserEvent" in [event["event"] for event in listener.events], "it is published")


def test_a_switch_to_another_address_is_a_new_epoch(daemon: Daemon, one: SimulatedPbx, other: SimulatedPbx) -> None:
    before: dict[str, Any] = daemon.server("pbx1")
    (here,) = versions(daemon)
    (one if before["asterisk"].startswith("22") else other).stop()
    eventually(lambda: daemon.server("pbx1")["epoch"] > before["epoch"], "a new epoch")
    daemon.wait_up("pbx1")
    (there,) = versions(daemon)
    assert there != here
