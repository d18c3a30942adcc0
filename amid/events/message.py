"""An event as published, and its MessagePack encoding.

Separate from `wire`, because importing the encoder takes as long as all of `amid action`.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, gc=False):
    """prev: the `seq` of the previous event of this name in this epoch, 0 for none.
    time: when it was read, in seconds since 1970."""

    server: str
    epoch: int
    seq: int
    prev: int
    time: float
    event: str
    fields: dict[Any, Any] | msgspec.Struct


class Tick(Event):
    """The last numbers: `seq` of all events, and in `last` that of each name."""

    last: dict[str, int]


class RawEvents(msgspec.Struct, gc=False):
    """The events of one read as Asterisk sent them: `count` packets, numbered from `first`."""

    server: str
    epoch: int
    first: int
    count: int
    time: float
    data: bytes


pack = msgspec.msgpack.Encoder().encode
"""Encodes the body of a message, a list of events or `RawEvents`."""
