"""Faults of the network between amid and Asterisk, and of impostors at Asterisk's address.

A relay in front of a real Asterisk causes them. Where answers are mangled, calls fail that would
have succeeded; the promise is that each ends by its deadline and that none gets another's answer.
"""

from __future__ import annotations

from typing import Any

from tests.daemon import eventually
from tests.faults.faults import fault
from tests.faults.on_clients import memory
from tests.faults.world import READER, SERVER, World

ENOUGH = 30
"""Calls until a fault has shown what it does."""
MANGLED = 10
"""Answers mangled until it has: each may hold its lane to the call's deadline, and then to that of the Ping."""
MANY = 300
"""Calls where it costs none of them anything."""
DETECTED_S = 45.0
"""Seconds for silence (10), the Ping (5), the dialling and the greeting (10) to have their ends, and some to spare."""
BACKED_OFF_S = 120.0
"""Seconds where logins fail by chance as well: each try that fails may come up to 30 s after the one before."""
READER_MAX = 120e6
"""Bytes: a reader in the worst place, see the table in etc/doc/performance.md, and some to spare."""


@fault("network", "200 ms latency, each way")
def latency(world: World) -> None:
    """Each action takes 0.4 s longer, so 4 lanes carry 10 a second; calls that wait beyond their
    deadline end with `timeout`, `sent: false`."""
    with world.relay.behaving("latency"):
        answered(world, ENOUGH)
    assert world.relay.acted() > ENOUGH


@fault("network", "one byte a segment")
def single_bytes(world: World) -> None:
    """A slower PBX, nothing else."""
    with world.relay.behaving("bytes"):
        answered(world, MANY)
    assert world.relay.acted() > MANY


@fault("network", "a listener that accepts and says nothing")
def silent_listener(world: World) -> None:
    """Sessions are pinged after 10 s of silence and closed 5 s later; a new session has 10 s for
    its greeting. Calls end at their deadline, and without a session with `not_connected` and the
    reason."""
    impostor(world, "silent", "no greeting within 10 s")


@fault("network", "a listener that speaks garbage")
def garbage(world: World) -> None:
    """The same; a new session ends at its first line: not an Asterisk manager port."""
    impostor(world, "garbage", "not an Asterisk manager port")


@fault("network", "a listener that sends an endless line")
def endless_line(world: World) -> None:
    """The same; the line is abandoned at 512 bytes before a greeting, at 1 MiB in an event, and at
    16 MiB in an answer."""
    impostor(world, "endless_line", "not an Asterisk manager port")
    assert memory(world.daemon.pid(READER)) < READER_MAX


@fault("network", "each action is answered twice")
def answered_twice(world: World) -> None:
    """Nothing: the second answer is dropped and counted in `late_packets`."""
    before = strays(world)
    with world.relay.behaving("twice"):
        answered(world, MANY)
    eventually(lambda: strays(world) > before, "second answers were counted")
    assert world.relay.acted() > MANY / 2, "one that comes just before the next answer is not counted by itself"


@fault("network", "answers out of order")
def out_of_order(world: World) -> None:
    """A call whose answer is missing ends with `timeout` at its deadline; an answer after another
    call's is dropped and counted."""
    mangled(world, "swapped")


@fault("network", "answers after the deadline")
def late(world: World) -> None:
    """`timeout` at the deadline, `sent: true`. The late answer is dropped and counted, and its lane
    is used again only after it."""
    mangled(world, "late")


@fault("network", "answers with another action's ActionID")
def renamed(world: World) -> None:
    """`timeout` at the deadline, `sent: true`. An answer with the id of an ended action, of another
    session's action, or of none is dropped and counted."""
    mangled(world, "renamed")


@fault("network", "connections cut by RST")
def reset(world: World) -> None:
    """Open calls get `connection_lost`, queued calls are answered by the new session; a new epoch
    starts."""
    cut(world, reset=True)


@fault("network", "connections cut by FIN")
def finished(world: World) -> None:
    """The same."""
    cut(world, reset=False)


def answered(world: World, count: int) -> None:
    """This many calls are answered during the fault."""
    mark = world.load.mark()
    eventually(lambda: world.load.kinds(since=mark)["ok"] >= count, "calls are answered", DETECTED_S)


def impostor(world: World, behaviour: str, detail: str) -> None:
    reader, epoch = world.daemon.pid(READER), view(world)["epoch"]
    with world.relay.behaving(behaviour):
        eventually(lambda: failing(view(world), detail), f"the event session failed: {detail}", DETECTED_S)
    eventually(lambda: view(world)["epoch"] > epoch, "a session with Asterisk again", DETECTED_S)
    assert world.daemon.pid(READER) == reader, "no process was replaced"


def failing(server: dict[str, Any], detail: str) -> bool:
    """Whether the event session is down for this reason; `detail` may be about a lane while it is up."""
    return server["state"] == "connecting" and detail in server["detail"]


def mangled(world: World, behaviour: str) -> None:
    before = strays(world)
    mark = world.load.mark()
    with world.relay.behaving(behaviour):
        eventually(lambda: world.relay.acted() > MANGLED, "answers were mangled", BACKED_OFF_S)
        eventually(lambda: world.load.kinds(since=mark)["timeout"] > 0, "calls have timed out")
        eventually(lambda: world.load.kinds(since=mark)["ok"] > ENOUGH, "others are answered", BACKED_OFF_S)
        eventually(lambda: strays(world) > before, "answers were dropped and counted", BACKED_OFF_S)
    if world.ami is not None:
        world.ami.reconnect()


def cut(world: World, reset: bool) -> None:
    epoch = view(world)["epoch"]
    assert world.relay.cut(reset) > 0
    eventually(lambda: view(world)["epoch"] > epoch and view(world)["state"] == "up", "a new session")


def view(world: World) -> dict[str, Any]:
    """What amid says of the server."""
    return world.daemon.server(SERVER)


def strays(world: World) -> int:
    """Packets that belong to no call."""
    (server,) = world.daemon.result("status")["servers"]
    return int(server["counters"]["late_packets"]) + int(server["counters"]["unknown_packets"])
