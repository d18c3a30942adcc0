"""The current calls, derived from events. Pure: no socket, clock or terminal.

Channels of one call share their Linkedid. Bridges show who talks to whom, queues who is waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from amid.cli.text import printable
from amid.client.event import Event


@dataclass(slots=True)
class Channel:
    """A leg of a call. `since` is in seconds since 1970."""

    name: str
    linkedid: str
    number: str
    person: str
    dialled: str
    state: str
    since: float
    place: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A call as a line: caller, callee or place, state, and start of the state in seconds since 1970."""

    who: str
    whom: str
    state: str
    since: float


@dataclass
class LiveCalls:
    """The current calls, oldest first in `rows`. `ended` counts calls that have ended."""

    ended: int = 0
    _channels: dict[str, Channel] = field(default_factory=dict)

    def apply(self, event: Event) -> None:
        """Process an event. Events that do not concern calls are ignored."""
        match event.event:
            case "Newchannel":
                self._new(event)
            case "Newstate" | "NewCallerid" | "NewConnectedLine":
                self._change(event, state=_text(event, "ChannelStateDesc"))
            case "BridgeEnter":
                self._change(event, state="Talking", place=f"bridge {_text(event, 'BridgeUniqueid')[:8]}")
            case "BridgeLeave":
                self._change(event, state=_text(event, "ChannelStateDesc"), place="")
            case "QueueCallerJoin":
                self._change(event, state="Waiting", place=f"queue {_text(event, 'Queue')}")
            case "QueueCallerLeave":
                self._change(event, place="")
            case "Hangup":
                self._hang_up(event)

    def clear(self) -> None:
        """Discard all calls after a gap."""
        self._channels.clear()

    def rows(self) -> list[Row]:
        calls: dict[str, list[Channel]] = {}
        for channel in self._channels.values():
            calls.setdefault(channel.linkedid, []).append(channel)
        return sorted((_row(channels) for channels in calls.values()), key=lambda row: row.since)

    def _new(self, event: Event) -> None:
        uniqueid = _text(event, "Uniqueid")
        self._channels[uniqueid] = Channel(
            _text(event, "Channel"),
            _text(event, "Linkedid") or uniqueid,
            _known(event, "CallerIDNum"),
            _known(event, "CallerIDName"),
            _text(event, "Exten"),
            _text(event, "ChannelStateDesc"),
            event.time,
        )

    def _change(self, event: Event, *, state: str = "", place: str | None = None) -> None:
        channel = self._channels.get(_text(event, "Uniqueid"))
        if channel is None:
            return
        channel.state = state or channel.state
        channel.place = channel.place if place is None else place
        channel.linkedid = _text(event, "Linkedid") or channel.linkedid
        channel.number = _known(event, "CallerIDNum") or channel.number
        channel.person = _known(event, "CallerIDName") or channel.person

    def _hang_up(self, event: Event) -> None:
        channel = self._channels.pop(_text(event, "Uniqueid"), None)
        if channel is not None and all(other.linkedid != channel.linkedid for other in self._channels.values()):
            self.ended += 1


def _row(channels: list[Channel]) -> Row:
    first, *others = channels
    whom = ", ".join(_name(other) for other in others if other.number) or first.dialled
    shown = [channel for channel in channels if channel.place] or [c for c in reversed(channels) if c.state != "Down"] or channels
    state, place = shown[0].state, shown[0].place
    return Row(_name(first), whom, f"{state}, {place}" if place else state, first.since)


def _name(channel: Channel) -> str:
    return f"{channel.person} {channel.number}".strip() or channel.name


def _known(event: Event, header: str) -> str:
    """A header's value; "" for `<unknown>`."""
    value = _text(event, header)
    return "" if value == "<unknown>" else value


def _text(event: Event, header: str) -> str:
    value = event.get(header)
    if isinstance(value, list):
        value = value[0]
    return printable(value)
