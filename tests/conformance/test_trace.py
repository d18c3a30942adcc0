"""`amid trace` on each PBX: the packets of an action and its answer, of a caller's own ActionID too, and no secret."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amid.cli.trace import GapCounter
from tests.conformance.pbx import SERVER, Pbx
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.process import pids, sockets

Seen = dict[str, Any]


class Tracing:
    """`amid trace --json` as a process."""

    def __init__(self, daemon: Daemon, file: Path, *options: str) -> None:
        self.file = file
        argv = [sys.executable, "-m", "amid", "--run-dir", str(daemon.run_dir), "trace", "--json", *options]
        with file.open("wb") as out:
            self.process = subprocess.Popen(argv, stdout=out)

    def seen(self) -> list[Seen]:
        return [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@contextmanager
def tracing(daemon: Daemon, tmp_path: Path, *options: str) -> Iterator[Tracing]:
    made = Tracing(daemon, tmp_path / f"trace-{time.monotonic_ns()}", *options)
    try:
        yield made
        made.process.send_signal(signal.SIGINT)
        assert made.process.wait(BOUND_S) == 0
    finally:
        made.process.kill()
        made.process.wait(BOUND_S)


def pinged(daemon: Daemon, tracing: Tracing) -> list[Seen]:
    """The traced Pings, which show that the trace is in effect."""
    daemon.action("Ping", {"ActionID": "mine"}, server=SERVER)
    return [seen for seen in tracing.seen() if seen["own_id"] == "mine"]


def test_an_action_is_traced_by_the_callers_action_id(daemon: Daemon, tmp_path: Path) -> None:
    before = pids(daemon)
    with tracing(daemon, tmp_path, "--action", "mine") as trace:
        eventually(lambda: pinged(daemon, trace), "the trace is in effect")
        count = len(trace.seen())
        listed = daemon.action("CoreShowChannels", {"ActionID": "mine"})
        daemon.action("CoreStatus", {"ActionID": "another"})
        eventually(lambda: len(pinged(daemon, trace)) >= count + 5, "what came after it is there")
        mine = [seen for seen in trace.seen() if seen["action_id"] == listed["action_id"]]
        assert {seen["own_id"] for seen in trace.seen()} == {"mine"}
    sent, *received = mine
    assert sent["data"].startswith(f"Action: CoreShowChannels\r\nActionID: {listed['action_id']}\r\n")
    assert sent["direction"] == "sent" and sent["data"].endswith("\r\n\r\n") and sent["session"].startswith("lane-")
    assert [seen["direction"] for seen in received] == ["received"] * (2 + len(listed["events"]))
    assert received[0]["data"].startswith("Response: Success\r\n") and "CoreShowChannelsComplete" in received[-1]["data"]
    assert pids(daemon) == before, "no process was restarted"


def test_a_traced_login_hides_its_secrets(daemon_for: Any, pbx: Pbx, tmp_path: Path) -> None:
    own = daemon_for({SERVER: {**pbx.table, "auth": "plain"}})
    with tracing(own, tmp_path) as trace:
        eventually(lambda: pinged(own, trace), "the trace is in effect")
        own.result("restart", {"server": SERVER})
        eventually(lambda: [s for s in trace.seen() if s["data"].startswith("Action: Logoff")], "the old reader's end is seen")
        own.wait_up(SERVER)
        eventually(lambda: len({s["epoch"] for s in pinged(own, trace)}) == 2, "the successor is seen too")
    assert pbx.secret not in trace.file.read_text()


def test_tracing_requires_admin(daemon_for: Any, pbx: Pbx) -> None:
    own = daemon_for({SERVER: pbx.table}, callers__local={"admin": False})
    argv = [sys.executable, "-m", "amid", "--run-dir", str(own.run_dir), "trace"]
    assert f"trace-{SERVER}" not in sockets(own)
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=BOUND_S)
    assert refused.returncode == 5 and "admin = true" in refused.stderr
    before = pids(own)
    own.configure({SERVER: pbx.table}, callers__local={"admin": True})
    own.signal("supervisor", signal.SIGHUP)
    eventually(lambda: f"trace-{SERVER}" in sockets(own), "it may be traced now")
    own.configure({SERVER: pbx.table}, callers__local={"admin": False})
    own.signal("supervisor", signal.SIGHUP)
    eventually(lambda: f"trace-{SERVER}" not in sockets(own), "and now not any more")
    assert own.action("Ping")["response"]["Response"] == "Success" and pids(own) == before


@pytest.mark.parametrize(
    ("numbers", "said"),
    [([(1, 5), (1, 6)], ""), ([(1, 5), (1, 9)], "3 packets were lost"), ([(1, 5), (2, 6)], "the reader was replaced")],
)
def test_dropped_packets_are_counted(numbers: list[tuple[int, int]], said: str) -> None:
    known = GapCounter()
    gaps = [known.before({"server": "pbx1", "epoch": epoch, "seq": seq}) for epoch, seq in numbers]
    assert gaps[0] == "" and (said in gaps[1] if said else gaps[1] == "")
