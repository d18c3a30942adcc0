"""The live state compared with Asterisk's own lists, in storms on real Asterisks, with faults.

A comparison is of one thing: a channel, a queue, a member or a caller. Each version makes 300 in the
undisturbed storm, or as many as AMID_ORACLE_COMPARISONS says; a full run has 20,000 (some 20 minutes
a version).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amid import AmidError, Client
from tests.asterisk.server import Asterisk
from tests.conformance.pbx import SERVER, of
from tests.daemon import Daemon, eventually
from tests.state.oracle import CHANNEL, Oracle
from tests.state.storm import Storm, configure

COMPARISONS = int(os.environ.get("AMID_ORACLE_COMPARISONS", "300"))
RATE = float(os.environ.get("AMID_ORACLE_RATE", "15"))
"""Actions of the storm per second."""
BOUND_S = 60.0 + COMPARISONS / 10
PACE_S = 0.05
"""Time between two rounds of comparisons."""


class Setting:
    """An Asterisk with a storm's dialplan, amid in front of it, and the oracle."""

    def __init__(self, asterisk: Asterisk, directory: Path, **table: Any) -> None:
        self.asterisk = asterisk
        configure(asterisk)
        self.daemon = Daemon(
            directory, {SERVER: {**of(asterisk).table, "lanes": 8, **table}}, log_level="info", state={"reconcile": 2.0}
        )
        self.client = Client(str(self.daemon.run_dir))

    def start(self) -> Setting:
        self.daemon.start()
        self.client.state(SERVER, timeout=20.0)
        self.oracle = Oracle(self.client)
        return self

    def close(self) -> None:
        self.client.close()
        self.daemon.close()

    def compare(self, comparisons: int) -> None:
        """Compare at least so many more things."""
        findings = self.oracle.findings
        goal, end = findings.compared.total() + comparisons, time.monotonic() + BOUND_S
        while findings.compared.total() < goal and not findings.wrong:
            assert time.monotonic() < end, f"only {findings}"
            self.oracle.compare()
            time.sleep(PACE_S)
        assert not findings.wrong, findings.wrong[:10]

    def corrections(self) -> int:
        report = eventually(lambda: self.client.status()["services"]["state"][SERVER], "it reports once a second")
        return int(report["corrections"])

    def corrected(self) -> list[str]:
        """The log's lines about corrections."""
        return [line for line in self.daemon.log.read_text().splitlines() if "corrected" in line]

    def check_at_rest(self) -> None:
        """Everything is equal after all calls have ended."""
        with contextlib.suppress(AmidError):
            self.client.action("Hangup", Channel="/^Local.*/", server=SERVER)
        eventually(lambda: not self.client.action("CoreShowChannels", server=SERVER)["events"], "all calls are over", 60.0)

        def surplus() -> dict[str, Any]:
            state: Any = self.client.state(SERVER)
            found = {kind: state[kind] for kind in ("channels", "calls", "parked", "conferences") if state[kind]}
            bridges = {one["BridgeUniqueid"] for one in self.client.action("BridgeList", server=SERVER)["events"]}
            return found | ({"bridges": bridges} if bridges != {one["uniqueid"] for one in state["bridges"]} else {})

        try:
            eventually(lambda: not surplus(), "the state has nothing that Asterisk does not have")
        except AssertionError as error:
            raise AssertionError(f"{error}: {surplus()}") from None
        self.oracle.compare()
        assert not self.oracle.findings.wrong, self.oracle.findings.wrong[:10]


@pytest.fixture
def setting(own_asterisk: Callable[[], Asterisk], tmp_path: Path) -> Iterator[Callable[..., Setting]]:
    made: list[Setting] = []

    def make(**table: Any) -> Setting:
        made.append(Setting(own_asterisk(), tmp_path, **table))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


def test_a_storm(setting: Callable[..., Setting]) -> None:
    at = setting()
    with Storm(at.client, at.asterisk.sip_port, 1, RATE) as storm:
        at.compare(COMPARISONS)
        end = time.monotonic() + BOUND_S
        while not storm.transferred and storm.failure is None and time.monotonic() < end:  # the parties of some hang up first
            at.compare(10)
    assert storm.failure is None and storm.transferred
    findings = at.oracle.findings
    assert findings.compared["channel"] and not findings.inexact
    at.check_at_rest()
    assert at.corrections() == 0, at.corrected()


def _kill_reader(at: Setting) -> None:
    at.daemon.kill(f"reader {SERVER}")


def _kill_state(at: Setting) -> None:
    pid = at.daemon.kill("state")
    eventually(lambda: at.daemon.pid("state") not in (0, pid), "a successor runs")


def _stop_state(at: Setting) -> None:
    """For less than the supervisor waits: the process continues and catches up."""
    pid = at.daemon.signal("state", signal.SIGSTOP)
    time.sleep(1.0)  # the duration of the fault
    os.kill(pid, signal.SIGCONT)


def _reload_queues(at: Setting) -> None:
    at.asterisk.command("module reload app_queue.so")


def _restart_asterisk(at: Setting) -> None:
    at.asterisk.command("core restart now")
    at.asterisk.wait_booted()


@pytest.mark.parametrize("disturb", [_kill_reader, _kill_state, _stop_state, _reload_queues, _restart_asterisk])
def test_a_storm_with_a_fault(setting: Callable[..., Setting], disturb: Callable[[Setting], None]) -> None:
    at = setting()
    share = max(COMPARISONS // 10, 40)
    with Storm(at.client, at.asterisk.sip_port, 2, RATE):
        at.compare(share)
        disturb(at)
        at.compare(share)
        disturb(at)
        at.compare(share)
    at.check_at_rest()
    assert at.corrections() == 0, at.corrected()


def test_a_loss_of_events(setting: Callable[..., Setting]) -> None:
    """The state process is stopped until the reader no longer holds the events that it misses."""
    at = setting(replay_bytes=128 * 1024)
    with Storm(at.client, at.asterisk.sip_port, 3, RATE):
        at.compare(40)
        before = at.client.state(SERVER)["seq"]
        pid = at.daemon.signal("state", signal.SIGSTOP)
        try:
            _flood(at.client)
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: at.client.state(SERVER, timeout=10.0)["seq"] > before, "the state continues")
        at.compare(40)
    at.check_at_rest()


def _flood(client: Client) -> None:
    """Send over 128 KiB of events, for less time than the supervisor waits for a beat."""
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        client.action("UserEvent", UserEvent="Flood", Text="x" * 900, server=SERVER)


def test_a_user_without_the_class_dialplan(own_asterisk: Callable[[], Asterisk], tmp_path: Path) -> None:
    """Without VarSet there are no barriers: the state converges, with the reason."""
    asterisk = own_asterisk()
    with (asterisk.private / "etc" / "manager.conf").open("a") as file:
        file.write(
            f"\n[watcher]\nsecret = {asterisk.secret}\nread = system,call,agent,user\nwrite = call,agent,user,reporting,originate\n"
        )
    asterisk.command("manager reload")
    daemon = Daemon(tmp_path, {SERVER: {**of(asterisk).table, "username": "watcher"}}, state={"reconcile": 1.0})
    try:
        daemon.start()
        client = Client(str(daemon.run_dir))
        state = client.state(SERVER, timeout=20.0)
        assert not state["exact"] and "dialplan" in state["detail"]
        client.action("Originate", Channel="Local/answer@calls", Context="calls", Exten="answer", Priority="1", Async="true")
        eventually(lambda: len(client.state(SERVER)["channels"]) == 2, "both channels are known")
        known = {one["uniqueid"]: one for one in client.state(SERVER)["channels"]}
        for one in client.action("CoreShowChannels")["events"]:
            assert known[one["Uniqueid"]]["name"] == one[CHANNEL["name"]]
        report = client.status()["services"]["state"][SERVER]
        assert report["corrections"] == 0 and not report["exact"]
        client.close()
    finally:
        daemon.close()
