"""Faults of Asterisk: it freezes, dies, restarts, reloads its manager, and loses amid's user."""

from __future__ import annotations

import re
import signal

from tests.daemon import eventually
from tests.faults.faults import fault
from tests.faults.on_network import ENOUGH, view
from tests.faults.world import World
from tests.processes.process import stop


@fault("asterisk", "SIGSTOP for some seconds, then SIGCONT")
def stopped(world: World) -> None:
    """Calls end with `timeout` at their deadline. Actions that Asterisk had received (`sent: true`)
    run when it continues, and their late answers are dropped. A session that is silent for 15 s
    would be closed."""
    stop(world.asterisk.pid)
    mark = world.load.mark()
    try:
        eventually(lambda: world.load.kinds(since=mark)["timeout"] >= ENOUGH, "calls have timed out")
    finally:
        world.asterisk.kill(signal.SIGCONT)


@fault("asterisk", "SIGKILL, then started again")
def killed(world: World) -> None:
    """Open calls get `connection_lost`; others wait up to 3 s for a session, then get
    `not_connected`; a new epoch starts."""
    epoch = view(world)["epoch"]
    mark = world.load.mark()
    world.asterisk.kill()
    eventually(lambda: world.load.kinds(since=mark)["not_connected"] >= ENOUGH, "calls are refused")
    world.asterisk.stop()
    world.asterisk.start()
    up_again(world, epoch)


@fault("asterisk", "`core restart now`")
def restarted(world: World) -> None:
    """The same. A login during the shutdown is refused with that reason and retried at once."""
    epoch = view(world)["epoch"]
    world.asterisk.command("core restart now")
    eventually(lambda: view(world)["state"] != "up" or view(world)["epoch"] > epoch, "its sessions are gone")
    world.asterisk.wait_booted()
    up_again(world, epoch)


@fault("asterisk", "`module reload manager`")
def manager_reloaded(world: World) -> None:
    """Nothing: sessions continue."""
    epoch = view(world)["epoch"]
    world.asterisk.command("module reload manager")
    world.load.well()
    assert view(world)["epoch"] == epoch


@fault("asterisk", "its user is removed while logged in")
def user_removed(world: World) -> None:
    """Nothing while the sessions last, because Asterisk keeps them open. The next login is refused:
    the state is `rejected`, the log has an error, and calls get `not_connected` with the reason.
    Once the user exists again, recovery takes at most 30 s."""
    file = world.asterisk.private / "etc" / "manager.conf"
    text = file.read_text()
    epoch = view(world)["epoch"]
    file.write_text(re.sub(rf"(?m)^\[{world.asterisk.username}\]\n(.+\n)+", "", text))
    try:
        world.asterisk.command("manager reload")
        world.load.well()
        world.relay.cut(reset=True)
        eventually(lambda: view(world)["state"] == "rejected", "the login is refused", 40.0)  # back-off included
        failure = world.daemon.failure("Ping", timeout=4)["data"]
        assert (failure["kind"], failure["sent"]) == ("not_connected", False)
    finally:
        file.write_text(text)
        world.asterisk.command("manager reload")
    up_again(world, epoch)


def up_again(world: World, epoch: int) -> None:
    eventually(lambda: view(world)["epoch"] > epoch and view(world)["state"] == "up", "up again", 60.0)
