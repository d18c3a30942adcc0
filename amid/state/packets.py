"""Splits raw packets into events for the fold, only those that it uses."""

from __future__ import annotations

from amid.ami.packet import parse_headers
from amid.state.fold import EVENTS
from amid.state.headers import EventHeaders, Fields

_END = "\r\n\r\n"
_NAME = len("Event: ")
_OWN_EVENTS = {"amid:connected", "amid:booted", "amid:disconnected", "amid:rejected"}
_WANTED = frozenset(EVENTS) | {"Reload", "FullyBooted"} | _OWN_EVENTS


def split_events(data: bytes) -> list[tuple[str, Fields]]:
    """The name and headers of each event that is used. data: whole packets, as published on the
    topic of raw events."""
    try:
        block = data.decode()
    except UnicodeDecodeError:
        return [event for packet in data.split(_END.encode()) for event in _split_alone(packet)]
    events: list[tuple[str, Fields]] = []
    for packet in block.split(_END):
        end = packet.find("\r\n")  # amid:booted has no headers
        name = packet[_NAME:end] if end >= 0 else packet[_NAME:]
        if name in _WANTED:
            events.append((name, EventHeaders(packet)))
    return events


def _split_alone(packet: bytes) -> list[tuple[str, Fields]]:
    """One packet of a read in which some are not UTF-8; values that are not stay bytes."""
    try:
        packet.decode()
    except UnicodeDecodeError:
        fields = parse_headers(packet)
        name = str(fields.get("Event", ""))
        return [(name, fields)] if name in _WANTED else []
    return split_events(packet + _END.encode())
