"""An Asterisk that takes logins before its modules are loaded: `booting`, and no action is refused as unknown.

Its dialplan waits for the test while it is loaded. Real Asterisks only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.asterisk.server import Asterisk
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.caller import Caller
from tests.processes.process import Listener

WAIT = '\n#exec "while [ -e {}/hold ] \\; do sleep 0.05 \\; done"\n'
USERS = {"all": ("all", "all"), "event only": ("system,call", "call"), "command only": ("call", "call,command")}


@pytest.fixture
def slow(own_asterisk: Callable[[], Asterisk]) -> Asterisk:
    """One that boots until `finish_boot` when it starts the next time."""
    asterisk = own_asterisk()
    etc = asterisk.private / "etc"
    with (etc / "asterisk.conf").open("a") as file:
        file.write("\n[options](+)\nexecincludes = yes\n")
    with (etc / "extensions.conf").open("a") as file:
        file.write(WAIT.format(f"/{asterisk.private.relative_to(asterisk.root)}"))
    (asterisk.private / "hold").touch()
    with (etc / "manager.conf").open("a") as file:
        for name, (read, write) in USERS.items():
            file.write(f"\n[{name}]\nsecret = {asterisk.secret}\nread = {read}\nwrite = {write}\n")
    asterisk.command("module reload manager")
    return asterisk


def finish_boot(asterisk: Asterisk) -> None:
    (asterisk.private / "hold").unlink()


def in_front(daemon_for: StartDaemon, asterisk: Asterisk, user: str) -> Daemon:
    keys = {"host": asterisk.host, "port": asterisk.port, "username": user, "secret": asterisk.secret}
    return daemon_for({"pbx1": {**keys, "reconnect_min": 0.05, "reconnect_max": 0.2}}, start=False).start(wait=False)


def state(daemon: Daemon) -> str:
    found: str = daemon.server("pbx1")["state"]
    return found


def assert_waits_for_boot(daemon: Daemon, asterisk: Asterisk) -> None:
    eventually(lambda: state(daemon) == "booting", "it is seen to boot")
    failure = daemon.failure("QueueStatus", timeout=10)
    assert (failure["data"]["kind"], failure["data"]["sent"]) == ("not_connected", False)
    assert "Asterisk is booting" in failure["message"]
    finish_boot(asterisk)
    eventually(lambda: state(daemon) == "up", "it has booted", 120)


@pytest.mark.parametrize("user", USERS)
def test_calls_are_not_sent_before_it_has_booted(slow: Asterisk, daemon_for: StartDaemon, user: str) -> None:
    daemon = in_front(daemon_for, slow, user)
    eventually(lambda: state(daemon) == "up", "it is up")
    with Listener(daemon, "pbx1") as listener:
        slow.command("core restart now")
        assert_waits_for_boot(daemon, slow)
        eventually(lambda: listener.heard() and "amid:booted" in [event["event"] for event in listener.events], "it is published")
    answer = daemon.request("action", {"action": "QueueStatus", "timeout": 10})
    assert "Invalid/unknown" not in str(answer)


def test_no_action_is_unknown_while_asterisk_boots(slow: Asterisk, daemon_for: StartDaemon) -> None:
    """Callers that repeat an action of another module while Asterisk restarts."""
    daemon = in_front(daemon_for, slow, "all")
    daemon.wait_up("pbx1")
    over = threading.Event()
    actions = ("QueueStatus", "CoreShowChannels", "DBGetTree", "ConfbridgeListRooms", "ParkedCalls")
    with ThreadPoolExecutor(len(actions)) as threads:
        asked = [threads.submit(_answers, daemon, action, over) for action in actions]
        slow.command("core restart now")
        try:
            assert_waits_for_boot(daemon, slow)
            daemon.wait_up("pbx1")
        finally:
            over.set()
        said = [answer for answers in asked for answer in answers.result(BOUND_S)]
    assert not [answer for answer in said if "nknown" in answer]
    assert any("Asterisk is booting" in answer for answer in said) and len(said) > len(actions)


def _answers(daemon: Daemon, action: str, over: threading.Event) -> list[str]:
    """The replies to a caller that repeats its call until Asterisk has restarted, and once afterwards."""
    said = []
    with Caller(daemon) as caller:
        while True:
            last = over.is_set()
            answer = caller.reply(caller.action(action, timeout=10))
            said.append(answer["error"]["message"] if "error" in answer else "")
            if last:
                return said


def test_a_daemon_started_while_asterisk_boots_waits(slow: Asterisk, daemon_for: StartDaemon) -> None:
    slow.command("core restart now")
    daemon = in_front(daemon_for, slow, slow.username)
    assert_waits_for_boot(daemon, slow)
    daemon.wait_up("pbx1")  # the session for events is up first, those for actions follow
    assert daemon.action("QueueStatus")["response"]["Response"] == "Success"


def test_a_user_who_cannot_see_booting_is_not_delayed(slow: Asterisk, daemon_for: StartDaemon) -> None:
    daemon = in_front(daemon_for, slow, "limited")
    eventually(lambda: state(daemon) == "up", "it is up")
    assert "user limited cannot see whether Asterisk has booted" in daemon.log.read_text()
