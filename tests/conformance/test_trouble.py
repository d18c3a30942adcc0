"""Faults of a real PBX: restart, freeze, crash, rejected login. Every call is answered once and in
time with a correct `sent`, and amid recovers with the PBX."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import pytest

from amid.ami.session import REJECTED_ADVICE
from tests.asterisk.server import Asterisk
from tests.conformance.callers import Action, Answered, Dealer
from tests.conformance.listeners import Listener
from tests.conformance.pbx import SERVER, Pbx, of
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually

pytestmark = pytest.mark.alone

OPEN = 40
"""Calls that are open at any time."""

AT_ONCE = 5
"""Calls that are sent between two looks for answers, so that this process itself is never late."""

SLACK = 0.5
"""Seconds over its deadline that a call's answer may take here: 50 ms are promised, and the machine has other things to do."""

SLOW = Action("Originate", {"Channel": "Local/noanswer@calls", "Application": "Wait", "Timeout": 30_000}, {"timeout": 30})
"""In flight for as long as a test needs it to be."""

MakeAsterisk = Callable[[], Asterisk]


class Load:
    """A continuous load of calls. `deadlines` has each call's timeout, `answers` its outcome."""

    def __init__(self, daemon: Daemon, actions: Iterator[Action]) -> None:
        self.daemon = daemon
        self.dealer = Dealer(daemon)
        self.timeouts: list[float] = []
        self._actions = actions

    @property
    def answers(self) -> dict[int, Answered]:
        return self.dealer.replies

    def until(self, fact: Callable[[], object], what: str, bound: float = 40.0) -> None:
        end = time.monotonic() + bound
        while not fact():
            assert time.monotonic() < end, f"not within {bound:g} s: {what}; {self.daemon.server(SERVER)}"
            for _ in range(min(AT_ONCE, OPEN - self.dealer.open)):
                action = next(self._actions)
                self.dealer.send(len(self.timeouts), action)
                self.timeouts.append(action.more["timeout"])
            self.dealer.take(0.02)
            time.sleep(0.002)  # the pace of asking, not a wait for a fact

    def for_seconds(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "the time is over", seconds + 1)

    def goes_well(self, count: int) -> Callable[[], bool]:
        """Whether this many calls, from now on, succeeded."""
        begin = len(self.timeouts)
        return lambda: sum(answer.kind == "ok" for number, answer in self.answers.items() if number >= begin) >= count

    def end(self) -> None:
        """Every call was answered, and in time."""
        self.dealer.all()
        with self.dealer:
            kinds = [answer.kind for answer in self.answers.values()]
            worst = max(answer.seconds - self.timeouts[number] for number, answer in self.answers.items())
            counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        print(f"\n{len(kinds)} calls: {counts}; the worst {worst * 1000:+.0f} ms from its deadline")
        assert len(self.answers) == len(self.timeouts)
        assert worst < SLACK


def puts() -> Iterator[Action]:
    """Actions whose effects can be checked afterwards."""
    for number in range(1_000_000):
        yield Action("DBPut", {"Family": "load", "Key": number, "Val": number}, {"timeout": 0.5 + number % 10 * 0.3})


def pings() -> Iterator[Action]:
    for number in range(1_000_000):
        yield Action("Ping", {"ActionID": number}, {"timeout": 0.2 + number % 15 * 0.2})


def up_again(daemon: Daemon, epoch: int) -> Callable[[], bool]:
    def fact() -> bool:
        view = daemon.server(SERVER)
        return bool(view["state"] == "up" and view["epoch"] > epoch)

    return fact


def test_restart_under_load(own_asterisk: MakeAsterisk, daemon_for: StartDaemon) -> None:
    server = own_asterisk()
    daemon = daemon_for({SERVER: of(server).table})
    epoch = daemon.server(SERVER)["epoch"]
    load = Load(daemon, puts())
    with Listener(daemon, "stream", f"stream.{SERVER}.") as stream:
        load.until(load.goes_well(300), "calls go well")
        began = time.monotonic()
        load.dealer.send("restart", Action("Command", {"Command": "core restart now"}))
        load.until(lambda: "restart" in load.dealer.replies, "the restart is answered")
        restart = load.dealer.replies.pop("restart")
        assert (restart.kind, restart.sent) == ("connection_lost", True)
        load.until(up_again(daemon, epoch), "up again")
        print(f"\nup again after {time.monotonic() - began:.1f} s")
        load.until(load.goes_well(300), "calls go well again")
        load.end()
        stream.until_event("amid:connected")
    names = [event["event"] for event in stream.events]
    assert names.index("Shutdown") < names.index("amid:disconnected") < names.index("amid:connected")
    assert {answer.kind for answer in load.answers.values()} <= {
        "ok",
        "action_failed",
        "connection_lost",
        "not_connected",
        "timeout",
    }
    server.wait_booted()
    done = {item["Key"] for item in daemon.action("DBGetTree", {"Family": "load"}, timeout=20)["events"]}
    for number, answer in load.answers.items():
        if not answer.sent:
            assert f"/load/{number}" not in done, "it was said not to have been sent, and it was carried out"
        if answer.kind == "ok":
            assert f"/load/{number}" in done, "it was said to have gone well, and it was not carried out"


def test_a_frozen_pbx_is_noticed_and_recovers(own_asterisk: MakeAsterisk, daemon_for: StartDaemon) -> None:
    """For 20 s: longer than it takes to notice (10 s of silence and 5 s for a Ping)."""
    server = own_asterisk()
    daemon = daemon_for({SERVER: of(server).table})
    epoch = daemon.server(SERVER)["epoch"]
    load = Load(daemon, pings())
    load.until(load.goes_well(300), "calls go well")
    server.kill(signal.SIGSTOP)
    try:
        load.for_seconds(20)
        assert daemon.server(SERVER)["state"] == "connecting" and daemon.server(SERVER)["detail"]
    finally:
        server.kill(signal.SIGCONT)
    load.until(up_again(daemon, epoch), "up again")
    load.until(load.goes_well(300), "calls go well again")
    load.end()
    assert {answer.kind for answer in load.answers.values()} <= {"ok", "timeout", "connection_lost", "not_connected"}


def test_a_killed_pbx_is_noticed_and_recovers(own_asterisk: MakeAsterisk, daemon_for: StartDaemon) -> None:
    server = own_asterisk()
    daemon = daemon_for({SERVER: of(server).table})
    epoch = daemon.server(SERVER)["epoch"]
    load = Load(daemon, pings())
    load.until(load.goes_well(300), "calls go well")
    load.dealer.send("slow", SLOW)
    eventually(lambda: daemon.action("CoreShowChannels")["events"], "it rings")
    server.kill(signal.SIGKILL)
    slow = load.dealer.reply("slow")
    assert (slow.kind, slow.sent) == ("connection_lost", True)
    del load.dealer.replies["slow"]
    load.until(lambda: daemon.server(SERVER)["state"] == "connecting", "its end is seen")
    load.for_seconds(4)
    error = daemon.failure("Ping")
    assert (error["data"]["kind"], error["data"]["sent"]) == ("not_connected", False)
    assert "refused" in error["message"]
    load.dealer.all()  # the answers are not read while this test starts an Asterisk
    server.stop()
    server.start()
    load.until(up_again(daemon, epoch), "up again")
    load.until(load.goes_well(300), "calls go well again")
    load.end()
    assert {answer.kind for answer in load.answers.values()} <= {"ok", "timeout", "connection_lost", "not_connected"}


@pytest.mark.parametrize("wrong", [{"secret": "wrong"}, {"username": "nobody", "auth": "plain"}], ids=["secret", "user"])
def test_a_rejected_login_is_reported(pbx: Pbx, daemon_for: StartDaemon, wrong: dict[str, str]) -> None:
    daemon = daemon_for({SERVER: {**pbx.table, **wrong}}, start=False).start(wait=False)
    eventually(lambda: daemon.server(SERVER)["state"] == "rejected", "the login is rejected")
    assert daemon.server(SERVER)["detail"] == f"{pbx.host}:{pbx.port}: login rejected: Authentication failed; {REJECTED_ADVICE}"
    error = daemon.failure("Ping")
    assert (error["data"]["kind"], error["data"]["sent"]) == ("not_connected", False)
    assert "login rejected: Authentication failed" in error["message"]
    assert pbx.secret not in daemon.log.read_text()


def test_plain_login(pbx: Pbx, daemon_for: StartDaemon) -> None:
    daemon = daemon_for({SERVER: {**pbx.table, "auth": "plain"}})
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    assert pbx.secret not in daemon.log.read_text()


def test_a_removed_user_is_reported_until_it_is_back(own_asterisk: MakeAsterisk, daemon_for: StartDaemon) -> None:
    """A reload does not end the sessions there are; the next login is refused, and after another reload it is not."""
    server = own_asterisk()
    daemon = daemon_for({SERVER: of(server).table})
    file = server.private / "etc" / "manager.conf"
    whole = file.read_text()
    file.write_text(whole.replace(f"[{server.username}]", "[another]"))
    server.command("manager reload")
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
    daemon.result("restart", {"server": SERVER})
    eventually(lambda: daemon.server(SERVER)["state"] == "rejected", "the login is rejected")
    file.write_text(whole)
    server.command("manager reload")
    daemon.result("restart", {"server": SERVER})
    daemon.wait_up(SERVER)
    assert daemon.action("Ping")["response"]["Ping"] == "Pong"
