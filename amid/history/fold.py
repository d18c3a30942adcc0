"""Folds events into calls. Pure: events and gaps go in, in order; `calls` are what they say.

Two facts are in no single event. Who talks to whom follows from the parties of the bridges, of
which a pair of Local channels connects two. Who ended a call is the first party that requested the
end after everything else that happened in it. A channel that is called and not answered cannot end
a call, and neither can the far half of a Local pair: its HangupRequest repeats the end of the near
half.

Most events only count. The headers of an event are decoded only if it can change a call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amid.history.bridges import Bridges
from amid.history.consequences import CONSEQUENCES, hide_recent, stop_waiting
from amid.history.event import (
    DialHeaders,
    Event,
    Moment,
    Packed,
    all_headers,
    bridge_headers,
    channel_headers,
    dial_headers,
    hangup_headers,
    known,
    linkedids_of,
    text,
)
from amid.history.legs import Legs
from amid.history.model import Call, Leg, Step
from amid.history.rules import DIAL_ENDS, PRELIMINARY, RULES, TONES, VOICEMAIL


class Fold:
    """`calls` by Linkedid; a call that was joined to another is found by both."""

    def __init__(self) -> None:
        self._legs = Legs()
        self._calls = self._legs.calls
        self._bridges = Bridges()
        self._disconnected_at = 0.0
        self._at = Moment(0, 0, 0.0)

    @property
    def calls(self) -> dict[str, Call]:
        return self._calls

    @property
    def live_channels(self) -> frozenset[str]:
        """Uniqueids of the channels that have not hung up."""
        return frozenset(self._legs.live)

    def feed(self, event: Event, packed: Packed) -> Sequence[str]:
        """Fold one event; its number is greater than that of the event before. packed: its bytes.
        Returns the Linkedids of its calls."""
        handler = _HANDLERS.get(event.event)
        if handler is not None:
            self._at = event
            handler(self, event, packed)
        linkedids = linkedids_of(event, packed)
        for linkedid in linkedids:
            call = self._calls.get(linkedid)
            if call is not None:
                call.events += 1
                call.last = event
                if call.ended:
                    call.changed = True
        return linkedids

    def add_gap(self, epoch: int, seq: int, missed: int | None, time: float) -> None:
        """Note that events are missing after this number; None: their number is unknown. The open
        calls may have lost some."""
        self._at = Moment(epoch, seq, time)
        for call in self._open_calls():
            call.has_gap = True
            if call.outcome in PRELIMINARY:
                call.outcome = ""
            self._add(call, "gap", (), missed=missed)

    def hang_up_unlisted(self, listed: frozenset[str], time: float) -> None:
        """After a gap: end the channels that Asterisk does not list, because they have hung up in
        it. listed: Uniqueids."""
        self._at = Moment(self._at.epoch, self._at.seq, time)
        for uniqueid in [one for one in self._legs.live if one not in listed]:
            self._hang_up(uniqueid, 0, "")

    def expire(self, now: float) -> None:
        """Forget calls that have ended and are stored. now: the time of the last event."""
        self._legs.expire(now)

    # ── channels ──

    def _on_new_channel(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        if leg is None:
            return
        call = leg.call
        if call.first is event and text(event.fields.Uniqueid) == call.linkedid:
            call.late = False
        if event.fields.ChannelStateDesc != "Ring" or leg.local:
            return
        to = text(channel_headers(packed).Exten)
        leg.up = True  # it began the call, so it may end it
        self._add(call, "call", (leg,), to=to)
        if not call.dialled:
            call.dialled = to
        call.numbers |= {leg.number, to} - {""}

    def _on_state(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        if leg is not None and event.fields.ChannelStateDesc == "Ringing" and not leg.local and not leg.rang_at:
            leg.rang_at = event.time
            self._add(leg.call, "ring", (leg,))

    def _on_caller_id(self, event: Event, packed: Packed) -> None:
        """Only the Linkedid and the caller id of a live channel matter."""
        leg = self._legs.live.get(text(event.fields.Uniqueid))
        if leg is not None and not (leg.number and leg.name and leg.call.linkedid == event.fields.Linkedid):
            self._find(event, packed)

    def _on_variable(self, event: Event, packed: Packed) -> None:
        """The value is ignored. No other event reports that the Linkedid of a channel changed."""
        fields = event.fields
        leg = self._legs.live.get(fields.Uniqueid) if type(fields.Uniqueid) is str else None
        if leg is not None and leg.call.linkedid != fields.Linkedid:
            self._find(event, packed)

    def _on_extension(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        application = event.fields.Application
        if leg is None or type(application) is not str or not (application in VOICEMAIL or application in TONES):
            return
        call = leg.call
        call.first_end = ""
        if application in VOICEMAIL:
            mailbox = text(all_headers(packed).get("AppData")).partition(",")[0]
            call.outcome = "voicemail"
            self._add(call, "voicemail", (leg,), mailbox=mailbox)
        else:
            call.outcome = call.outcome or "busy"
            self._add(call, "tone", (leg,), tone=TONES[application])

    def _on_dial_begin(self, event: Event, packed: Packed) -> None:
        caller, leg = self._leg_of(event, packed), self._find_dialled(dial_headers(packed))
        if leg is None:
            return
        call = leg.call
        leg.caller, leg.dialled, leg.called_at = caller, True, event.time
        call.first_end = ""
        if caller is not None and caller.local:
            caller.connects = True
            leg.agent = leg.agent or caller.agent
        call.numbers |= {leg.number} - {""}
        self._add(call, "dial" if caller else "pbx_call", (caller, leg) if caller else (leg,))

    def _on_dial_end(self, event: Event, packed: Packed) -> None:
        headers = dial_headers(packed)
        caller, leg = self._leg_of(event, packed), self._find_dialled(headers)
        if leg is None or leg.dialling_ended or not leg.dialled:
            return
        leg.dialling_ended = True
        status, forward = text(headers.DialStatus), text(headers.Forward)
        call = leg.call
        seconds = round(event.time - leg.called_at)
        if status == "ANSWER":
            leg.up = True
            call.first_end = ""
            self._add(call, "answer", (caller, leg), seconds=seconds)
        elif forward:
            self._add(call, "forward", (caller, leg), to=forward.partition("@")[0])
        elif status in DIAL_ENDS:
            kind, outcome = DIAL_ENDS[status]
            call.outcome = outcome or call.outcome
            self._add(call, kind, (caller, leg), seconds=seconds)

    def _on_queue_leave(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        if leg is None or not leg.waits_since:
            return
        stop_waiting(leg.call, leg, event.time)
        self._add(leg.call, "queue_exit", (leg,), queue=text(all_headers(packed).get("Queue")))

    # ── bridges ──

    def _on_bridge_enter(self, event: Event, packed: Packed) -> None:
        leg, bridge = self._leg_of(event, packed), bridge_headers(packed)
        if leg is None or bridge.BridgeTechnology == "holding_bridge":
            return
        leg.up = True
        parties = self._bridges.enter(leg, text(bridge.BridgeUniqueid))
        if len(parties) < 2:
            return
        together = frozenset(parties)
        call = parties[0].call
        call.first_end = ""
        call.outcome = "answered"
        call.answered_at = call.answered_at or event.time
        call.talks_since = call.talks_since or event.time
        call.changed = True
        is_shown = all(one.announced == together for one in parties) or bridge.BridgeCreator == "ConfBridge"
        for one in parties:
            one.talks_with = one.announced = together
        if not is_shown:
            self._add(call, "talk", tuple(parties))

    def _on_bridge_leave(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        if leg is not None:
            self._bridges.leave(leg, text(bridge_headers(packed).BridgeUniqueid), event.time)

    # ── the end ──

    def _on_hangup_request(self, event: Event, packed: Packed) -> None:
        leg = self._leg_of(event, packed)
        if leg is None or leg.asked_to_end or leg.connects:
            return
        if leg.local and text(channel_headers(packed).Channel).endswith(";2"):
            return
        leg.up = leg.up or event.fields.ChannelStateDesc in ("Ring", "Up")  # it may have answered in a gap
        if not leg.up:
            return
        leg.asked_to_end = True
        leg.call.first_end = leg.call.first_end or leg
        step = self._add(leg.call, "hang_up", (leg,))
        hide_recent(leg.call, "conference_leave", step)

    def _on_hangup(self, event: Event, packed: Packed) -> None:
        if self._leg_of(event, packed) is not None:
            headers = hangup_headers(packed)
            cause = text(headers.Cause)
            self._hang_up(text(event.fields.Uniqueid), int(cause) if cause.isdecimal() else 0, known(headers.cause_text))

    def _hang_up(self, uniqueid: str, cause: int, cause_text: str) -> None:
        leg = self._legs.remove(uniqueid)
        if leg is None or leg.live:
            return
        call = leg.call
        leg.cause, leg.cause_text = cause, cause_text
        for bridge in tuple(leg.bridges):
            self._bridges.leave(leg, bridge, self._at.time)
        stop_waiting(call, leg, self._at.time)
        call.changed = True
        if call.is_over:
            call.ended = self._at.time
            call.last = max(call.last, self._at, key=lambda at: at.number)
            call.first_end = call.first_end or ("" if call.has_gap or call.late else "pbx")

    def _on_disconnected(self, event: Event, packed: Packed) -> None:
        self._disconnected_at = event.time

    def _on_booted(self, event: Event, packed: Packed) -> None:
        """Each session begins with the uptime of Asterisk. Calls whose last event is older have
        ended with the Asterisk before."""
        uptime, disconnected_at = text(all_headers(packed).get("Uptime")), self._disconnected_at
        self._disconnected_at = 0.0
        if not uptime.isdecimal():
            return
        for call in [call for call in self._open_calls() if call.last.time < event.time - int(uptime)]:
            self._at = Moment(event.epoch, event.seq, max(disconnected_at, call.last.time))
            call.first_end = "restart"
            self._add(call, "restart", ())
            for uniqueid in [one for one, leg in self._legs.live.items() if leg.call is call]:
                self._hang_up(uniqueid, 0, "")

    # ── events whose meaning is in their own headers ──

    def _on_rule(self, event: Event, packed: Packed) -> None:
        rule, headers = RULES[event.event], all_headers(packed)
        parties = tuple(self._find_by_prefix(headers, prefix) for prefix in rule.parties)
        first = parties[0]
        if first is None:
            return
        call = first.call
        if rule.goes_on:
            call.first_end = ""
        details = {name: known(headers.get(header)) for name, header in rule.details.items()}
        step = self._add(call, rule.kind, parties, **details)
        if rule.kind in CONSEQUENCES:
            CONSEQUENCES[rule.kind](call, step)

    # ── helpers ──

    def _leg_of(self, event: Event, packed: Packed) -> Leg | None:
        """The leg of the channel that an event is about. Its headers are not decoded if it is known
        with its number: NewCallerid and dialling bring what is missing later."""
        leg = self._legs.current(event.fields.Uniqueid, event.fields.Linkedid)
        return leg if leg is not None and leg.number else self._find(event, packed)

    def _find(self, event: Event, packed: Packed) -> Leg | None:
        h = channel_headers(packed)
        return self._legs.find(event.fields.Uniqueid, event.fields.Linkedid, h.Channel, h.CallerIDNum, h.CallerIDName, self._at)

    def _find_dialled(self, headers: DialHeaders) -> Leg | None:
        h = headers
        return self._legs.find(h.DestUniqueid, h.DestLinkedid, h.DestChannel, h.DestCallerIDNum, h.DestCallerIDName, self._at)

    def _find_by_prefix(self, headers: Mapping[Any, Any], prefix: str) -> Leg | None:
        get = headers.get
        linkedid, name = get(f"{prefix}Linkedid"), get(f"{prefix}Channel")
        number, caller_name = get(f"{prefix}CallerIDNum"), get(f"{prefix}CallerIDName")
        return self._legs.find(get(f"{prefix}Uniqueid"), linkedid, name, number, caller_name, self._at)

    def _open_calls(self) -> list[Call]:
        return [call for call in dict.fromkeys(self._calls.values()) if not call.ended]

    def _add(self, call: Call, kind: str, parties: tuple[Leg | None, ...], **details: Any) -> Step:
        step = Step(self._at, kind, parties, details)
        call.add(step)
        return step


_HANDLERS: dict[str, Callable[[Fold, Event, Packed], None]] = {
    "Newchannel": Fold._on_new_channel,
    "Newstate": Fold._on_state,
    "NewCallerid": Fold._on_caller_id,
    "VarSet": Fold._on_variable,
    "Newexten": Fold._on_extension,
    "DialBegin": Fold._on_dial_begin,
    "DialEnd": Fold._on_dial_end,
    "BridgeEnter": Fold._on_bridge_enter,
    "BridgeLeave": Fold._on_bridge_leave,
    "QueueCallerLeave": Fold._on_queue_leave,
    "HangupRequest": Fold._on_hangup_request,
    "Hangup": Fold._on_hangup,
    "FullyBooted": Fold._on_booted,
    "amid:disconnected": Fold._on_disconnected,
    **dict.fromkeys(RULES, Fold._on_rule),
}
"""All other events only count."""
