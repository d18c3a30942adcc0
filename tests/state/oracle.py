"""Compares amid's live state with Asterisk's own lists during a storm.

The lists are requested between two barriers, which are events in the stream, and the state after
them. A thing without an event between the first barrier and the event `seq` of the state must be in
both, and equal. The oracle uses only RPC, as any program does, and shares no code with the state.

The priority of a channel grows without an event when its Dial is answered. A list with another
priority is right if the next event of the channel shows the same one.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from amid import AmidError, Client

SERVER = "pbx1"
VARIABLE = "ORACLE"

CHANNEL = {
    "name": "Channel",
    "linkedid": "Linkedid",
    "state": "ChannelStateDesc",
    "caller": "CallerIDNum",
    "caller_name": "CallerIDName",
    "connected": "ConnectedLineNum",
    "connected_name": "ConnectedLineName",
    "account": "AccountCode",
    "context": "Context",
    "exten": "Exten",
    "priority": "Priority",
    "bridge": "BridgeId",
}
MEMBER = {"status": "Status", "paused": "Paused", "penalty": "Penalty", "name": "Name"}
CALLER = {"position": "Position"}
STATUS = ("unknown", "not in use", "in use", "busy", "invalid", "unavailable", "ringing", "ring in use", "on hold")

BEHIND_S = 10.0
"""Seconds by which the state may be behind the stream."""


class Interrupted(Exception):
    """A comparison is void: an epoch ended, or a process was not available."""


@dataclass
class Findings:
    """compared: things by kind. wrong: the differences, in words. inexact: states with `exact`
    false. interrupted: void comparisons."""

    compared: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    inexact: int = 0
    interrupted: int = 0


class Oracle:
    """For one server. Each `compare` compares everything that is comparable at that moment."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._numbers = itertools.count(1)
        page = client.pull(SERVER, timeout=0.0)
        self._after = {"epoch": page["epoch"], "seq": page["seq"]}
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._left: dict[str, str] = {}
        self._ahead: dict[str, str] = {}
        """Uniqueid -> the priority in a list, which the next event of the channel must show."""
        self.findings = Findings()

    def compare(self) -> None:
        try:
            self._compare()
        except (Interrupted, AmidError):
            self.findings.interrupted += 1

    def _compare(self) -> None:
        first = self._barrier()
        channels = self._client.action("CoreShowChannels", server=SERVER)["events"]
        queues = self._client.action("QueueStatus", server=SERVER)["events"]
        second = self._barrier()
        begin = self._until_value(first)
        state = self._state(self._until_value(second))
        self._until_seq(state["seq"])
        if state["epoch"] != self._after["epoch"]:
            raise Interrupted
        self.findings.inexact += not state["exact"]
        after = [one for one in self._events if one[0] > begin]
        busy = {value for _, _, fields in after for name, value in fields.items() if name.endswith("niqueid")}
        busy_queues = {fields["Queue"] for _, _, fields in after if "Queue" in fields}
        self._check("channel", CHANNEL, {one["Uniqueid"]: one for one in channels}, by(state["channels"], "uniqueid"), busy)
        self._check_queues(queues, state, busy, busy_queues)
        self._events = [one for one in self._events if one[0] > state["seq"]]

    def _state(self, seq: int) -> dict[str, Any]:
        """The state, which includes this event. On a machine with other load the process may be behind."""
        end = time.monotonic() + BEHIND_S
        while True:
            state: dict[str, Any] = {**self._client.state(SERVER, kinds=["channels", "queues", "members", "callers"])}
            if state["seq"] >= seq or state["epoch"] != self._after["epoch"]:
                return state
            if time.monotonic() > end:
                raise AssertionError(f"the state is at event {state['seq']}, and event {seq} came {BEHIND_S:g} s ago")

    # ── the stream ──

    def _barrier(self) -> str:
        value = f"{os.getpid()}-{id(self)}-{next(self._numbers)}"
        self._client.action("Setvar", Variable=VARIABLE, Value=value, server=SERVER)
        return value

    def _pull(self) -> None:
        page = self._client.pull(SERVER, self._after, timeout=5.0)
        self._after = {"epoch": page["epoch"], "seq": page["seq"]}
        if page["missed"] != 0:
            self._events.clear()
            self._left.clear()
            self._ahead.clear()
            raise Interrupted
        if not page["events"] and not page["more"]:
            raise Interrupted
        for event in page["events"]:
            fields = event["fields"]
            self._events.append((event["seq"], event["event"], fields))
            if event["event"] == "BridgeLeave":
                self._left[fields["Uniqueid"]] = fields["BridgeUniqueid"]
            elif event["event"] == "BridgeEnter":
                self._left.pop(fields["Uniqueid"], None)
            if "Priority" in fields and fields.get("Uniqueid") in self._ahead:
                self._check_priority(self._ahead.pop(fields["Uniqueid"]), event["event"], fields)

    def _check_priority(self, listed: str, name: str, fields: dict[str, Any]) -> None:
        if fields["Priority"] != listed:
            self.findings.wrong.append(f"priority {listed} in a list, and then {name} {fields}")

    def _until_value(self, value: str) -> int:
        """Pull until this barrier has arrived, and return its number."""
        seen = 0
        while True:
            for seq, name, fields in self._events[seen:]:
                if name == "VarSet" and fields.get("Value") == value:
                    return seq
            seen = len(self._events)
            self._pull()
            seen = min(seen, len(self._events))

    def _until_seq(self, seq: int) -> None:
        while self._after["seq"] < seq:
            self._pull()

    # ── comparison ──

    def _check(self, kind: str, members: dict[str, str], listed: dict[str, Any], known: dict[str, Any], busy: set[str]) -> None:
        for thing in {*listed, *known} - busy:
            self.findings.compared[kind] += 1
            if thing not in listed or thing not in known:
                where = "not in the list" if thing not in listed else "not in the state"
                self.findings.wrong.append(f"{kind} {thing} is {where}: {known.get(thing) or listed.get(thing)}")
                continue
            for member, header in members.items():
                expected, has = (
                    self._plain(thing, member, listed[thing].get(header, "")),
                    self._plain(thing, member, known[thing][member]),
                )
                if expected != has and member == "priority":
                    self._ahead[thing] = expected
                elif expected != has:
                    self.findings.wrong.append(f"{kind} {thing} {member}: {has!r}, in Asterisk's list {expected!r}")

    def _plain(self, thing: str, member: str, value: Any) -> str:
        if member == "bridge" and self._left.get(thing) == value:
            return ""  # a list may name a bridge that the channel has left, until it hangs up
        if member == "status" and str(value).isdigit():
            return STATUS[int(value)]
        if isinstance(value, bool):
            return str(int(value))
        return "" if value == "<unknown>" else str(value)

    def _check_queues(self, items: list[Any], state: dict[str, Any], busy: set[str], busy_queues: set[str]) -> None:
        quiet = {one["Queue"] for one in items if one["Event"] == "QueueParams"} - busy_queues
        listed = {
            f"{one['Queue']}/{one['Location']}": one for one in items if one["Event"] == "QueueMember" and one["Queue"] in quiet
        }
        known = {one["id"]: one for one in state["members"] if one["queue"] in quiet}
        self._check("member", MEMBER, listed, known, set())
        entries = [one for one in items if one["Event"] == "QueueEntry"]
        quiet -= {one["Queue"] for one in entries if one["Channel"].startswith("Surrogate/")}  # of a caller that Bridge took away
        moving = {one["Queue"] for one in entries if one["Uniqueid"] in busy}
        moving |= {one["queue"] for one in state["callers"] if one["uniqueid"] in busy}
        quiet -= moving
        listed = {f"{one['Queue']}/{one['Uniqueid']}": one for one in entries if one["Queue"] in quiet}
        known = {one["id"]: one for one in state["callers"] if one["queue"] in quiet}
        self._check("caller", CALLER, listed, known, set())
        params = {one["Queue"]: one for one in items if one["Event"] == "QueueParams" and one["Queue"] in quiet}
        queues = {one["name"]: one for one in state["queues"] if one["name"] in quiet}
        self._check("queue", {"abandoned": "Abandoned", "waiting": "Calls"}, params, queues, set())


def by(things: list[dict[str, Any]], member: str) -> dict[str, dict[str, Any]]:
    return {one[member]: one for one in things}
