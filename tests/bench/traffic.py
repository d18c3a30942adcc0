"""Realistic events for the benchmarks: the lives of calls, event by event, as Asterisk 22 tells them.

A call through a Local channel makes some 38 events of 17 kinds, most of them a snapshot of a channel and a few headers more. Every
call has its own channels, numbers and ids, so nothing can be cached that could not be cached of a real PBX.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

Header = tuple[str, str]

EPOCH = 17953931
"""What the Uniqueids begin with: seconds since 1970, without the last two digits."""


class Leg:
    """A channel, and what every event about it says of it."""

    def __init__(self, chance: random.Random, linkedid: str | None = None) -> None:
        unique = f"{EPOCH}{chance.randrange(100):02}.{chance.randrange(10**6)}"
        self.number = f"{chance.randrange(10**9):09}"
        self.channel = f"PJSIP/trunk-{chance.randrange(2**32):08x}"
        self.uniqueid, self.linkedid = unique, linkedid or unique
        self.state, self.exten, self.priority = (0, "Down"), "s", 1

    def snapshot(self, prefix: str = "") -> list[Header]:
        headers = [
            ("Channel", self.channel), ("ChannelState", str(self.state[0])), ("ChannelStateDesc", self.state[1]),
            ("CallerIDNum", self.number), ("CallerIDName", f"Caller {self.number[-4:]}"), ("ConnectedLineNum", self.number[::-1]),
            ("ConnectedLineName", f"Customer {self.number[:4]}"), ("Language", "en"), ("AccountCode", "sales-7"),
            ("Context", "from-trunk"), ("Exten", self.exten), ("Priority", str(self.priority)), ("Uniqueid", self.uniqueid),
            ("Linkedid", self.linkedid),
        ]  # fmt: skip
        return [(prefix + name, value) for name, value in headers]


def call(chance: random.Random) -> Iterator[list[Header]]:
    """The events of one call: two channels, a few steps of a dialplan, a bridge, and the end."""
    caller = Leg(chance)
    callee = Leg(chance, caller.linkedid)
    yield from _comes(chance, caller)
    for step in range(6):
        caller.exten, caller.priority = "100", step + 1
        yield _event("Newexten", "dialplan,all", caller, ("Extension", "100"), ("Application", "Set"), ("AppData", f"STEP={step}"))
        yield _event("VarSet", "dialplan,all", caller, ("Variable", "STEP"), ("Value", str(step)))
    yield from _comes(chance, callee)
    dial = [*caller.snapshot(), *callee.snapshot("Dest")]
    yield [("Event", "DialBegin"), ("Privilege", "call,all"), *dial, ("DialString", "trunk/100")]
    for leg in (callee, caller):
        leg.state = (6, "Up")
        yield _event("Newstate", "call,all", leg)
    yield [("Event", "DialEnd"), ("Privilege", "call,all"), *dial, ("DialStatus", "ANSWER")]
    yield from _bridged(chance, caller, callee)
    for leg in (caller, callee):
        yield _event("HangupRequest", "call,all", leg, ("Cause", "16"))
        yield _event("RTCPSent", "reporting,all", leg, ("SSRC", f"0x{chance.randrange(2**32):08x}"), ("SentPackets", "1200"))
        yield _event("Hangup", "call,all", leg, ("Cause", "16"), ("Cause-txt", "Normal Clearing"))


def _comes(chance: random.Random, leg: Leg) -> Iterator[list[Header]]:
    yield _event("Newchannel", "call,all", leg)
    yield _event("DeviceStateChange", "call,all", None, ("Device", leg.channel.partition("-")[0]), ("State", "INUSE"))
    yield _event("NewCallerid", "call,all", leg, ("CID-CallingPres", "0 (Presentation Allowed, Not Screened)"))
    yield _event("VarSet", "dialplan,all", leg, ("Variable", "SIPCALLID"), ("Value", f"{chance.randrange(2**64):016x}@10.0.0.1"))


def _bridged(chance: random.Random, *legs: Leg) -> Iterator[list[Header]]:
    bridge = [
        ("BridgeUniqueid", f"{chance.randrange(2**64):016x}"), ("BridgeType", "basic"), ("BridgeTechnology", "simple_bridge"),
        ("BridgeCreator", "<unknown>"), ("BridgeName", "<unknown>"), ("BridgeNumChannels", "2"), ("BridgeVideoSourceMode", "none"),
    ]  # fmt: skip
    yield _event("BridgeCreate", "call,all", None, *bridge)
    for name in ("BridgeEnter", "BridgeLeave"):
        for leg in legs:
            yield [("Event", name), ("Privilege", "call,all"), *bridge, *leg.snapshot()]
    yield _event("BridgeDestroy", "call,all", None, *bridge)


def _event(name: str, privilege: str, leg: Leg | None, *more: Header) -> list[Header]:
    return [("Event", name), ("Privilege", privilege), *(leg.snapshot() if leg else []), *more]


def packets(count: int, seed: int = 1) -> list[bytes]:
    """So many events as Asterisk sends them, their closing blank lines included."""
    chance = random.Random(seed)
    out: list[bytes] = []
    while len(out) < count:
        out += [_packet(event) for event in call(chance)]
    return out[:count]


def wide_packets(count: int, seed: int = 1) -> list[bytes]:
    """Events of 520 bytes with 22 headers each."""
    chance = random.Random(seed)
    return [_packet(_bridge_enter(chance)) for _ in range(count)]


def channel_lists(count: int, seed: int = 1) -> dict[bytes, list[bytes]]:
    """The items of CoreShowChannels, so many channels, and of BridgeList, where each two of them
    talk. `%b` stands for the ActionID."""
    chance = random.Random(seed)
    channels: list[bytes] = []
    bridges: list[bytes] = []
    for number in range(0, count, 2):
        legs = Leg(chance), Leg(chance)
        bridge = [("BridgeUniqueid", f"bridge-{number}"), ("BridgeType", "basic"), ("BridgeTechnology", "simple_bridge")]
        bridges.append(_item("BridgeListItem", bridge))
        for leg_number, leg in enumerate(legs, number):
            leg.uniqueid, leg.linkedid = f"1795393100.{leg_number}", f"1795393100.{number}"
            leg.state = (6, "Up")
            more = [("Application", "AppDial"), ("Duration", "00:01:00"), ("BridgeId", f"bridge-{number}")]
            channels.append(_item("CoreShowChannel", [*leg.snapshot(), *more]))
    return {b"coreshowchannels": channels[:count], b"bridgelist": bridges}


def _item(name: str, headers: list[Header]) -> bytes:
    return f"Event: {name}\r\n".encode() + b"%b" + _packet(headers)


def _bridge_enter(chance: random.Random) -> list[Header]:
    return next(event for event in _bridged(chance, Leg(chance)) if event[0][1] == "BridgeEnter")[:22]


def _packet(event: list[Header]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in event).encode() + b"\r\n"
