"""The simulated PBX: its channels, bridges, queues and database, and the only place that changes
them.

Each change is made and reported together, so lists (CoreShowChannels, QueueStatus) and events
always agree. Pure: time is `tasks.now`, and sessions subscribe to events.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from amid.simulator import model
from amid.simulator.event import Event
from amid.simulator.model import Bridge, Channel, Member, Parked, Queue
from amid.simulator.tasks import Steps, Task, Tasks
from amid.simulator.wire import Header

PHONES = {"alice": "Alice Martin", "bob": "Bob Okafor", "chloe": "Chloé Lefèvre", "juergen": "Jürgen Weiß"}
"""The endpoints PJSIP/<name>, with the display name of each."""

Program = Sequence[tuple[str, str]]
"""Applications to run in order, each with its arguments."""

DIALPLAN: dict[str, dict[str, Program]] = {
    "default": {
        "100": [("Answer", ""), ("Set", "GREET=hello"), ("Wait", "2"), ("Hangup", "")],
        "200": [("NoOp", "phone"), ("Wait", "0.5"), ("Answer", ""), ("Wait", "3")],
        "300": [("Answer", ""), ("Queue", "support")],
        "400": [("Answer", ""), ("ConfBridge", "room1")],
        "500": [("Answer", ""), ("Park", "")],
        "600": [("Dial", "Local/200@default/n,10")],
        "700": [("Ringing", ""), ("Wait", "60")],
        **{str(6001 + n): [("Dial", f"PJSIP/{phone},25")] for n, phone in enumerate(PHONES)},
    }
}


class HungUp(Exception):
    """Raised in a channel's task when the channel must end. cause: as in Q.850."""

    def __init__(self, cause: int) -> None:
        super().__init__(f"hung up with cause {cause}")
        self.cause = cause


class Pbx:
    """A PBX without calls. now: seconds since 1970. The same seed and requests give the same events."""

    def __init__(self, now: float, seed: int = 1, phones: Mapping[str, str] = PHONES) -> None:
        self.tasks = Tasks(now)
        self.random = random.Random(seed)
        self.started = now
        self.phones = dict(phones)
        self.dialplan = {context: dict(extens) for context, extens in DIALPLAN.items()}
        self.channels: dict[str, Channel] = {}
        self.bridges: dict[str, Bridge] = {}
        self.conferences: dict[str, Bridge] = {}
        self.parked: dict[str, Parked] = {}
        self.devices: dict[str, str] = {}
        self.database: dict[str, str] = {}
        self.globals: dict[str, str] = {}
        self.calls_processed = 0
        self._channel_number = self._name_number = 0
        self._listeners: list[Callable[[Event], None]] = []
        self.queues = {"support": Queue("support"), "sales": Queue("sales")}
        for phone, name in list(self.phones.items())[:3]:
            self.queues["support"].members.append(Member("support", f"PJSIP/{phone}", name, now))

    @property
    def now(self) -> float:
        return self.tasks.now

    def program(self, context: str, exten: str) -> Program:
        """The program of an extension; empty if it does not exist."""
        return self.dialplan.get(context, {}).get(exten, ())

    # -- events
    # -------------------------------------------------------------------------------------------
    def subscribe(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[Event], None]) -> None:
        self._listeners.remove(listener)

    def emit(self, name: str, classes: str, *parts: Iterable[Header]) -> None:
        """Send an event to every listener. classes: separated by commas, without `all`."""
        self._publish(Event(name, classes.split(","), [header for part in parts for header in part]))

    def emit_lines(self, name: str, classes: str, lines: Iterable[str]) -> None:
        """The same for lines that are sent unchanged."""
        self._publish(Event.of_lines(name, classes.split(","), lines))

    def _publish(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(event)

    # -- channels -----------------------------------------------------------------------------------------
    def new_channel(
        self,
        device: str,
        state: int,
        exten: str,
        context: str = "default",
        *,
        suffix: str = "",
        linked: Channel | None = None,
        number: int | None = None,
        caller: tuple[str, str] = ("", ""),
    ) -> Channel:
        """Create a channel `device`-<8 hex digits>`suffix`; both halves of a Local channel have the
        same `number`. caller: number and name of the party at its end."""
        if number is None:
            number, self._name_number = self._name_number, self._name_number + 1
        uniqueid = f"{int(self.now)}.{self._channel_number}"
        self._channel_number += 1
        channel = Channel(
            f"{device}-{number:08x}{suffix}",
            uniqueid,
            linked.linkedid if linked else uniqueid,
            state,
            context,
            exten,
            self.now,
        )
        channel.number, channel.caller_name = caller
        self.channels[channel.name] = channel
        self.emit("Newchannel", "call", channel.snapshot())
        return channel

    def new_local(self, exten: str, context: str, linked: Channel | None) -> Channel:
        """Create both halves of Local/exten@context and return the first; the second runs the
        dialplan."""
        device, number = f"Local/{exten}@{context}", self._name_number
        self._name_number += 1
        one = self.new_channel(device, model.DOWN, exten, context, suffix=";1", linked=linked, number=number)
        two = self.new_channel(device, model.RING, exten, context, suffix=";2", linked=one, number=number)
        one.half, two.half = two, one
        return one

    def set_state(self, channel: Channel, state: int) -> None:
        if channel.state == state or not channel.alive:
            return
        channel.state = state
        if state == model.UP:
            channel.answered = self.now
        self.emit("Newstate", "call", channel.snapshot())
        self.set_device(channel.device, "RINGING" if state == model.RINGING else "INUSE")
        self.tasks.wake(channel.watcher)
        if channel.half is not None and channel.half.state < state and channel.name.endswith(";2"):
            self.set_state(channel.half, state)

    def set_application(self, channel: Channel, application: str, data: str) -> None:
        channel.application, channel.data = application, data
        self.emit(
            "Newexten",
            "dialplan",
            channel.snapshot(),
            [("Extension", channel.exten), ("Application", application), ("AppData", data)],
        )

    def set_caller(self, channel: Channel, number: str, name: str) -> None:
        channel.number, channel.caller_name = number, name
        self.emit(
            "NewCallerid",
            "call",
            channel.snapshot(),
            [("CID-CallingPres", "0 (Presentation Allowed, Not Screened)")],
        )

    def set_connected(self, channel: Channel, number: str, name: str) -> None:
        channel.connected_number, channel.connected_name = number, name
        self.emit("NewConnectedLine", "call", channel.snapshot())

    def set_variable(self, channel: Channel | None, name: str, value: str) -> None:
        (channel.variables if channel else self.globals)[name] = value
        whose = channel.snapshot() if channel else [("Channel", "none"), ("Uniqueid", "none")]
        self.emit("VarSet", "dialplan", whose, [("Variable", name), ("Value", value)])

    def run_on(self, channel: Channel, steps: Steps) -> Task:
        """Give the channel its own task, which receives a hangup as `HungUp`."""
        channel.task = self.tasks.start(steps)
        return channel.task

    def request_hangup(self, channel: Channel, cause: int = 16) -> None:
        """Report that a party, or an action, ends the channel."""
        channel.cause = channel.cause or cause
        self.emit("HangupRequest", "call", channel.snapshot(), [("Cause", str(channel.cause))])

    def hang_up(self, channel: Channel, cause: int = 16, *, requested: bool = True) -> None:
        """End a channel. One with a task ends when the task has cleaned up.

        requested: by a party or an action; the PBX itself ends a leg that it has dialled without a
        request.
        """
        if not channel.alive or (channel.task and channel.task.interruption):
            return
        channel.cause = channel.cause or cause
        if requested:
            self.request_hangup(channel)
        if channel.task is None or channel.task.ended:
            self.destroy(channel)
        else:
            self.tasks.interrupt(channel.task, HungUp(cause))

    def destroy(self, channel: Channel) -> None:
        """Remove a channel, and the other half of a Local channel."""
        if not channel.alive:
            return
        self.leave(channel)
        channel.alive = False
        del self.channels[channel.name]
        self.emit("SoftHangupRequest", "call", channel.snapshot(), [("Cause", str(channel.cause))])
        self.emit(
            "Hangup",
            "call",
            channel.snapshot(),
            [("Cause", str(channel.cause)), ("Cause-txt", model.CAUSES.get(channel.cause, "Unknown"))],
        )
        self._free_device(channel.device)
        self.tasks.wake(channel.watcher)
        if channel.half is not None:
            self.hang_up(channel.half, channel.cause)

    # -- devices ------------------------------------------------------------------------------------------
    def set_device(self, device: str, state: str) -> None:
        """Report a device state, and the status of queue members with that device."""
        if self.devices.get(device, "NOT_INUSE") == state:
            return
        self.devices[device] = state
        self.emit("DeviceStateChange", "call", [("Device", device), ("State", state)])
        status = {"INUSE": 2, "RINGING": 6}.get(state, 1)
        for member in (m for queue in self.queues.values() for m in queue.members if m.device == device):
            member.status = status
            self.emit("QueueMemberStatus", "agent", member.snapshot())

    def _free_device(self, device: str) -> None:
        if not any(channel.device == device for channel in self.channels.values()):
            self.set_device(device, "NOT_INUSE")

    # -- bridges ------------------------------------------------------------------------------------------
    def new_bridge(
        self,
        kind: str = "basic",
        technology: str = "simple_bridge",
        creator: str = model.UNKNOWN,
        name: str = model.UNKNOWN,
    ) -> Bridge:
        digits = f"{self.random.getrandbits(128):032x}"
        uniqueid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        bridge = self.bridges[uniqueid] = Bridge(uniqueid, kind, technology, creator, name)
        self.emit("BridgeCreate", "call", bridge.snapshot())
        return bridge

    def enter(self, channel: Channel, bridge: Bridge) -> None:
        bridge.channels.append(channel)
        channel.bridge = bridge
        self.emit("BridgeEnter", "call", bridge.snapshot(), channel.snapshot())

    def leave(self, channel: Channel) -> None:
        """Remove a channel from its bridge. A basic bridge ends with its last channel."""
        bridge, channel.bridge = channel.bridge, None
        if bridge is None:
            return
        bridge.channels.remove(channel)
        self.emit("BridgeLeave", "call", bridge.snapshot(), channel.snapshot())
        if not bridge.channels and bridge.kind != "base":
            self.end_bridge(bridge)

    def end_bridge(self, bridge: Bridge) -> None:
        del self.bridges[bridge.uniqueid]
        self.emit("BridgeDestroy", "call", bridge.snapshot())
