"""An event as it is published, and its MessagePack.

A module of its own beside `wire`, because the encoder's package takes as long to import as `amid action` has for its whole work.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, gc=False):
    """`time` is when it was read, in seconds since 1970."""

    server: str
    epoch: int
    seq: int
    nth: int
    time: float
    event: str
    fields: dict[Any, Any] | msgspec.Struct


class Tick(Event):
    """The last numbers: `seq`, and in `counts` the last `nth` of each name."""

    counts: dict[str, int]


_ENCODER = msgspec.msgpack.Encoder()


def pack(event: Event) -> bytes:
    return _ENCODER.encode(event)


def pack_all(events: list[Event]) -> bytes:
    """The body of a message."""
    return _ENCODER.encode(events)
