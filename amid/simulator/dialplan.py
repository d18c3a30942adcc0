"""The dialplan applications, each a generator that a channel's task runs.

A task waits by yielding seconds and is woken when something relevant has happened, so every wait is
a loop around a condition. A wait raises `HungUp` when the channel must end; the `finally` of each
application then restores the state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from amid.simulator import model
from amid.simulator.model import Channel, Parked
from amid.simulator.pbx import HungUp, Pbx, Program
from amid.simulator.tasks import NEVER, Steps


class Redirected(Exception):
    """Raised in a channel's task when the channel is redirected."""

    def __init__(self, context: str, exten: str) -> None:
        super().__init__(f"redirected to {exten}@{context}")
        self.context = context
        self.exten = exten


def enter(pbx: Pbx, channel: Channel, program: Program) -> None:
    """Start a channel in the dialplan. Asterisk counts these channels as calls."""
    channel.in_dialplan = True
    pbx.calls_processed += 1
    pbx.run_on(channel, live(pbx, channel, program))


def live(pbx: Pbx, channel: Channel, steps: Program) -> Steps:
    """Run a channel through a piece of dialplan until its end."""
    try:
        following: Program | None = steps
        while following is not None:
            following = yield from _follow(pbx, channel, following)
    except HungUp as hangup:
        channel.cause = channel.cause or hangup.cause
    finally:
        channel.cause = channel.cause or 16
        pbx.destroy(channel)


def _follow(pbx: Pbx, channel: Channel, steps: Program) -> Generator[float, None, Program | None]:
    """Run the applications in order. Returns the program of a redirect, None at the end."""
    try:
        for priority, (application, data) in enumerate(steps, 1):
            channel.priority = priority
            pbx.set_application(channel, application, data)
            yield from APPLICATIONS.get(application.lower(), no_op)(pbx, channel, data)
    except Redirected as redirected:
        channel.context, channel.exten = redirected.context, redirected.exten
        return pbx.program(channel.context, channel.exten)
    return None


def pause(pbx: Pbx, seconds: float) -> Steps:
    """Wait for the whole time, even if woken."""
    until = pbx.now + seconds
    while pbx.now < until:
        yield until - pbx.now


def no_op(pbx: Pbx, channel: Channel, data: str) -> Steps:
    yield 0


def answer(pbx: Pbx, channel: Channel, data: str) -> Steps:
    pbx.set_state(channel, model.UP)
    yield 0


def ringing(pbx: Pbx, channel: Channel, data: str) -> Steps:
    if channel.half is not None:
        pbx.set_state(channel.half, model.RINGING)
    yield 0


def wait(pbx: Pbx, channel: Channel, data: str) -> Steps:
    yield from pause(pbx, float(data or 0))


def wait_for_ever(pbx: Pbx, channel: Channel, data: str) -> Steps:
    yield from pause(pbx, NEVER)


def assign(pbx: Pbx, channel: Channel, data: str) -> Steps:
    name, _, value = data.partition("=")
    pbx.set_variable(channel, name, value)
    yield 0


def hang_up(pbx: Pbx, channel: Channel, data: str) -> Steps:
    yield 0
    raise HungUp(int(data or 16))


def conference(pbx: Pbx, channel: Channel, data: str) -> Steps:
    room = data.partition(",")[0]
    name = [("Conference", room)]
    bridge = pbx.conferences.get(room)
    if bridge is None:
        bridge = pbx.conferences[room] = pbx.new_bridge("base", "softmix", "ConfBridge", room)
        pbx.emit("ConfbridgeStart", "call", name, bridge.snapshot())
    pbx.enter(channel, bridge)
    pbx.emit(
        "ConfbridgeJoin",
        "call",
        name,
        bridge.snapshot(),
        channel.snapshot(),
        [("Admin", "No"), ("Muted", "No")],
    )
    try:
        yield from pause(pbx, NEVER)
    finally:
        pbx.leave(channel)
        pbx.emit("ConfbridgeLeave", "call", name, bridge.snapshot(), channel.snapshot(), [("Admin", "No")])
        if not bridge.channels:
            del pbx.conferences[room]
            pbx.emit("ConfbridgeEnd", "call", name, bridge.snapshot())
            pbx.end_bridge(bridge)


def park(pbx: Pbx, channel: Channel, data: str) -> Steps:
    taken = {parked.space for parked in pbx.parked.values()}
    space = next((n for n in range(701, 721) if n not in taken), None)
    if space is None:
        return
    parked = pbx.parked[channel.name] = Parked(channel, space, pbx.now)
    pbx.emit("ParkedCall", "call", parked.snapshot(pbx.now))
    pbx.enter(channel, pbx.new_bridge("parking", "holding_bridge"))
    end = "ParkedCallTimeOut"
    try:
        yield from pause(pbx, 45)
    except (HungUp, Redirected):
        end = "ParkedCallGiveUp"
        raise
    finally:
        pbx.leave(channel)
        del pbx.parked[channel.name]
        pbx.emit(end, "call", parked.snapshot(pbx.now))


Application = Callable[[Pbx, Channel, str], Steps]

APPLICATIONS: dict[str, Application] = {
    "answer": answer,
    "ringing": ringing,
    "wait": wait,
    "set": assign,
    "hangup": hang_up,
    "confbridge": conference,
    "park": park,
    "echo": wait_for_ever,
    "musiconhold": wait_for_ever,
}
"""The applications by lower-case name. Unknown ones do nothing, like NoOp. `dialing` adds Dial and
Queue."""
