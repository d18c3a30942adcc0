"""Children that die of any signal or do not read must not affect the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from amid import Client
from amid.config.tables import Caller, Config, Server
from amid.process.settings import broker_settings
from amid.simulator import SimulatedPbx
from amid.supervisor.child_process import Process
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.processes.on_loop import FACTORIES, Loop
from tests.processes.pbx import table
from tests.processes.process import pids
from tests.processes.test_reload import reload


def test_a_child_that_dies_of_any_signal_is_replaced(daemon: Daemon) -> None:
    supervisor = daemon.pid("supervisor")
    exits = set()
    for number in (signal.SIGRTMIN + 6, signal.SIGRTMIN, signal.SIGRTMAX, signal.SIGSEGV):
        before = daemon.pid("reader pbx1")
        os.kill(before, number)
        eventually(lambda before=before: daemon.pid("reader pbx1") not in (0, before), "a successor runs")  # type: ignore[misc]
        daemon.wait_up("pbx1")
        exits.add(daemon.processes()["reader pbx1"]["last_exit"])
    assert len(exits) == 4 and all(reason.startswith("signal ") for reason in exits)
    assert daemon.pid("supervisor") == supervisor


def test_a_configuration_larger_than_a_pipe_is_received(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """For a running child, and for a starting one."""
    daemon = daemon_for({"pbx1": table(pbx)})
    before = pids(daemon)
    rules = [f"{number:x<250}" for number in range(500)]
    daemon.configure({"pbx1": table(pbx)}, callers__local={"admin": True, "allow": rules})
    reload(daemon)
    eventually(lambda: daemon.failure("Ping")["data"]["kind"] == "denied", "the new rights are in effect")
    assert pids(daemon) == before
    pid = daemon.kill("broker")
    eventually(lambda: daemon.pid("broker") not in (0, pid), "a successor runs")
    assert daemon.failure("Ping")["data"]["kind"] == "denied"


def test_a_configuration_that_comes_with_the_first_one_is_applied(loop: Loop, tmp_path: Path) -> None:
    """A reload while a child starts, which had no effect until the next one."""
    both = {name: Server(host="127.0.0.1", port=1, username="u", secret="s") for name in ("pbx1", "pbx2")}
    first, second = (
        msgspec.json.encode(broker_settings(Config(run_dir=str(tmp_path), servers=servers, callers={"local": Caller()}))) + b"\n"
        for servers in ({"pbx1": both["pbx1"]}, both)
    )

    async def start() -> Process:
        return Process(["broker"], first + second, lambda: None, lambda: None)

    process = loop.run(start())
    try:
        with Client(str(tmp_path)) as client:
            eventually(lambda: [one["name"] for one in client.servers()] == ["pbx1", "pbx2"], "the second one is in effect")
    finally:
        process.signal(signal.SIGKILL)
        loop.eventually(process.poll, "it has ended")
        process.close()


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_unread_messages_for_a_child_are_buffered(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    sent = b"x" * 300_000 + b"\n"

    async def start() -> Process:
        return Process(["broker"], b"{}\n", lambda: None, lambda: None)

    with Loop(factory) as loop:
        process = loop.run(start())
        process.signal(signal.SIGSTOP)
        process.send(sent)
        assert 0 < len(process._unsent) < len(sent), "its pipe is full, and the supervisor did not wait"
        process.signal(signal.SIGKILL)
        loop.eventually(lambda: process.poll() and not process._unsent, "it has ended, and what it did not read is dropped")
        assert process.close() == "signal SIGKILL"


FAILING = """
import amid.__main__
from amid.config import load as configuration
load = configuration.load
def failing(path, *rest):
    if path.with_name("fail").exists():
        raise RuntimeError("a fault of the new configuration's")
    return load(path, *rest)
configuration.load = failing
amid.__main__.main()
"""
"""A daemon whose next reload raises what no reload should."""


def test_a_failed_reload_does_not_affect_running_processes(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    daemon = daemon_for({"pbx1": table(pbx)}, start=False)
    daemon.launch(["-c", FAILING, "run", "-c", str(daemon.file)])
    daemon.wait_up("pbx1")
    before = pids(daemon)
    fail = daemon.directory / "fail"
    fail.touch()
    reload(daemon)
    assert "a fault of the new configuration's" in daemon.log.read_text()
    fail.unlink()
    daemon.configure({"pbx1": table(pbx)}, callers__local={"deny": ["Ping"]})
    reload(daemon)
    eventually(lambda: daemon.failure("Ping")["data"]["kind"] == "denied", "the next one is in effect")
    assert pids(daemon) == before
