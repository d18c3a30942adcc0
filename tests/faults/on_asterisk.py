"""Faults of Asterisk itself: it freezes, dies, restarts, loads its manager anew, and forgets the user that amid is."""

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
    """Calls end as `timeout` at their deadline; what had reached Asterisk (`sent: true`) is carried out when it goes on, and its
    late answer is dropped. A session that is silent for 15 s would be closed."""
    stop(world.asterisk.pid)
    mark = world.load.mark()
    try:
        eventually(lambda: world.load.kinds(since=mark)["timeout"] >= ENOUGH, "calls have timed out")
    finally:
        world.asterisk.kill(signal.SIGCONT)


@fault("asterisk", "SIGKILL, then started again")
def killed(world: World) -> None:
    """Calls in flight get `connection_lost`; others wait up to 3 s for a session, then get `not_connected`; a new epoch."""
    epoch = view(world)["epoch"]
    mark = world.load.mark()
    world.asterisk.kill()
    eventually(lambda: world.load.kinds(since=mark)["not_connected"] >= ENOUGH, "calls are refused")
    world.asterisk.stop()
    world.asterisk.start()
    up_again(world, epoch)


@fault("asterisk", "`core restart now`")
def restarted(world: World) -> None:
    """The same; who logs in while it shuts down is told so, and that is no wrong secret: it is tried again at once."""
    epoch = view(world)["epoch"]
    world.asterisk.command("core restart now")
    eventually(lambda: view(world)["state"] != "up" or view(world)["epoch"] > epoch, "its sessions are gone")
    world.asterisk.wait_booted()
    up_again(world, epoch)


@fault("asterisk", "`module reload manager`")
def manager_reloaded(world: World) -> None:
    """Nothing: sessions go on."""
    epoch = view(world)["epoch"]
    world.asterisk.command("module reload manager")
    world.load.well()
    assert view(world)["epoch"] == epoch


@fault("asterisk", "its user is removed while logged in")
def user_removed(world: World) -> None:
    """Nothing as long as the sessions last, for Asterisk lets them go on. The next login is refused: state `rejected`, an error in
    the log, calls get `not_connected` with the reason; once the user is back it takes 30 s at most."""
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
