"""Parses raw packets for the fold: only the events that it uses, and of VarSet only two headers."""

from __future__ import annotations

import re

from amid.ami.packet import parse_headers
from amid.state.fold import EVENTS
from amid.state.model import Fields

_END = "\r\n\r\n"
_NAME = len("Event: ")
_OWN_EVENTS = {"amid:connected", "amid:booted", "amid:disconnected", "amid:rejected"}
_WANTED = frozenset(EVENTS) | {"Reload", "FullyBooted"} | _OWN_EVENTS
_VARSET = re.compile(r"\r\nUniqueid: (.*)\r\nLinkedid: (.*)\r\n")
"""The headers that are used of VarSet, which is a third of all events."""
_BARRIER = "\r\nVariable: AMID_BARRIER\r\n"


def parse_events(data: bytes) -> list[tuple[str, Fields]]:
    """The name and headers of each event that is used. data: whole packets, as published on the
    topic of raw events."""
    try:
        packets = data.decode().split(_END)
    except UnicodeDecodeError:
        return [event for packet in data.split(_END.encode()) for event in _parse_alone(packet)]
    events: list[tuple[str, Fields]] = []
    for packet in packets:
        name = packet[_NAME : packet.find("\r\n")]
        if name not in _WANTED:
            continue
        if name == "VarSet" and _BARRIER not in packet:
            found = _VARSET.search(packet)
            if found:
                events.append((name, {"Uniqueid": found[1], "Linkedid": found[2]}))
            continue
        try:
            events.append((name, dict([line.split(": ", 1) for line in packet.split("\r\n")])))
        except ValueError:  # a line without ": "
            events.append((name, parse_headers(packet.encode())))
    return events


def _parse_alone(packet: bytes) -> list[tuple[str, Fields]]:
    """One packet of a read in which some are not UTF-8; values that are not stay bytes."""
    try:
        packet.decode()
    except UnicodeDecodeError:
        fields = parse_headers(packet)
        name = str(fields.get("Event", ""))
        return [(name, fields)] if name in _WANTED else []
    return parse_events(packet + _END.encode()) if packet else []
