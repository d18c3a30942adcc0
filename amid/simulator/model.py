"""The state of a PBX: channels, bridges and queues, and how each is written as headers.

Plain data. The code that changes it also reports an event (`pbx.py`), so that a client that follows
the events has the same state. Header names and their order are those of a real Asterisk 22.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amid.simulator.wire import Header

if TYPE_CHECKING:
    from amid.simulator.tasks import Task

DOWN, RING, RINGING, UP = 0, 4, 5, 6
STATES = {DOWN: "Down", RING: "Ring", RINGING: "Ringing", UP: "Up"}
CAUSES = {
    0: "Unknown",
    16: "Normal Clearing",
    17: "User busy",
    19: "User alerting, no answer",
    21: "Call Rejected",
}
UNKNOWN = "<unknown>"


@dataclass(eq=False)
class Channel:
    """A leg of a call. Times are in seconds since 1970."""

    name: str
    uniqueid: str
    linkedid: str
    state: int
    context: str
    exten: str
    created: float
    number: str = ""
    caller_name: str = ""
    connected_number: str = ""
    connected_name: str = ""
    priority: int = 1
    application: str = ""
    data: str = ""
    cause: int = 0
    answered: float | None = None
    bridge: Bridge | None = None
    task: Task | None = None
    """The task that runs it; None for a leg whose dialler controls it."""
    watcher: Task | None = None
    """The task that dialled it, woken when the leg rings, answers or ends."""
    half: Channel | None = None
    """The other end of a Local channel."""
    recorder: str | None = None
    """The application that records it: MixMonitor or Monitor."""
    variables: dict[str, str] = field(default_factory=dict)
    in_dialplan: bool = False
    alive: bool = True

    @property
    def device(self) -> str:
        """The device of the channel's name, such as PJSIP/alice."""
        return self.name.rpartition("-")[0]

    def snapshot(self, prefix: str = "") -> list[Header]:
        """The fourteen headers that describe a channel in every event about it."""
        return [
            (prefix + name, value)
            for name, value in (
                ("Channel", self.name),
                ("ChannelState", str(self.state)),
                ("ChannelStateDesc", STATES[self.state]),
                ("CallerIDNum", self.number or UNKNOWN),
                ("CallerIDName", self.caller_name or UNKNOWN),
                ("ConnectedLineNum", self.connected_number or UNKNOWN),
                ("ConnectedLineName", self.connected_name or UNKNOWN),
                ("Language", "en"),
                ("AccountCode", ""),
                ("Context", self.context),
                ("Exten", self.exten),
                ("Priority", str(self.priority)),
                ("Uniqueid", self.uniqueid),
                ("Linkedid", self.linkedid),
            )
        ]


@dataclass(eq=False)
class Bridge:
    """A bridge: two channels in `basic`, any number in a conference (`base`) or a parking lot."""

    uniqueid: str
    kind: str = "basic"
    technology: str = "simple_bridge"
    creator: str = UNKNOWN
    name: str = UNKNOWN
    channels: list[Channel] = field(default_factory=list)

    def snapshot(self) -> list[Header]:
        return [
            ("BridgeUniqueid", self.uniqueid),
            ("BridgeType", self.kind),
            ("BridgeTechnology", self.technology),
            ("BridgeCreator", self.creator),
            ("BridgeName", self.name),
            ("BridgeNumChannels", str(len(self.channels))),
            ("BridgeVideoSourceMode", "none"),
        ]


@dataclass(eq=False)
class Member:
    """An agent of a queue; `status` is a device state: 1 not in use, 2 in use, 6 ringing."""

    queue: str
    interface: str
    name: str
    login: float
    penalty: int = 0
    membership: str = "static"
    status: int = 1
    paused: bool = False
    reason: str = ""
    in_call: bool = False
    calls: int = 0
    last_call: int = 0
    last_pause: int = 0

    @property
    def device(self) -> str:
        return self.interface.removesuffix("/n")

    @property
    def available(self) -> bool:
        return not self.paused and self.status == 1

    def _counts(self, *, ring_in_use: bool) -> list[Header]:
        headers = [
            ("Membership", self.membership),
            ("Penalty", str(self.penalty)),
            ("CallsTaken", str(self.calls)),
            ("LastCall", str(self.last_call)),
            ("LastPause", str(self.last_pause)),
            ("LoginTime", str(int(self.login))),
            ("InCall", str(int(self.in_call))),
            ("Status", str(self.status)),
            ("Paused", str(int(self.paused))),
            ("PausedReason", self.reason),
        ]
        return [*headers, *([("Ringinuse", "1")] if ring_in_use else []), ("Wrapuptime", "0")]

    def snapshot(self) -> list[Header]:
        """As in events about a member."""
        return [
            ("Queue", self.queue),
            ("MemberName", self.name),
            ("Interface", self.interface),
            ("StateInterface", self.interface),
            *self._counts(ring_in_use=True),
        ]

    def item(self) -> list[Header]:
        """As in QueueStatus, under other names."""
        return [
            ("Queue", self.queue),
            ("Name", self.name),
            ("Location", self.interface),
            ("StateInterface", self.interface),
            *self._counts(ring_in_use=False),
        ]


@dataclass(eq=False)
class Queue:
    """The waiting callers in order, with the time when each joined, and the members."""

    name: str
    members: list[Member] = field(default_factory=list)
    callers: list[tuple[Channel, float]] = field(default_factory=list)
    completed: int = 0
    abandoned: int = 0
    hold_time: int = 0
    talk_time: int = 0

    def position(self, channel: Channel) -> int:
        """The position of a caller from 1; 0 when it is not in this queue."""
        return next((n for n, (waiting, _) in enumerate(self.callers, 1) if waiting is channel), 0)

    def params(self) -> list[Header]:
        return [
            ("Queue", self.name),
            ("Max", "0"),
            ("Strategy", "ringall"),
            ("Calls", str(len(self.callers))),
            ("Holdtime", str(self.hold_time)),
            ("TalkTime", str(self.talk_time)),
            ("Completed", str(self.completed)),
            ("Abandoned", str(self.abandoned)),
            ("ServiceLevel", "0"),
            ("ServicelevelPerf", "0.0"),
            ("ServicelevelPerf2", "0.0"),
            ("Weight", "0"),
        ]


@dataclass(eq=False)
class Parked:
    """A call in the parking lot, at a space, since a time."""

    channel: Channel
    space: int
    since: float

    def snapshot(self, now: float) -> list[Header]:
        waited = int(now - self.since)
        return [
            *self.channel.snapshot("Parkee"),
            ("ParkerDialString", self.channel.device),
            ("Parkinglot", "default"),
            ("ParkingSpace", str(self.space)),
            ("ParkingTimeout", str(45 - waited)),
            ("ParkingDuration", str(waited)),
        ]
