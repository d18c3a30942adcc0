"""The position in a stream, read from its last message.

The publisher keeps no other checkpoint. A restarted bus, another instance, and a NATS that lost
acknowledged messages are the same case: read the last message of the stream, and request the events
after it from the daemon.

An event has the same `seq` in the stream as in the daemon. Its `epoch` may be greater: two daemons
of one PBX number their epochs by their own clocks, and in the stream epochs only grow. So each
message names its origin in the header `Amid-Origin`: the daemon's own epoch, and the instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

ORIGIN = "Amid-Origin"


class StreamPosition(NamedTuple):
    """The position after event `seq` of `epoch`, as numbered in the stream.

    local_epoch: the epoch in the daemon that published the event. instance: the name of that daemon.
    """

    epoch: int
    seq: int
    local_epoch: int
    instance: str


class Checkpoint(NamedTuple):
    """last_sequence: JetStream's sequence of the last message ever stored. position: None when the
    stream is empty."""

    last_sequence: int
    position: StreamPosition | None


NOTHING_STORED = Checkpoint(0, None)


class _Numbers(msgspec.Struct):
    epoch: int
    seq: int


def format_origin(local_epoch: int, instance: str) -> str:
    """The value of the header `Amid-Origin`."""
    return f"{local_epoch} {instance}"


def parse_position(headers: Mapping[str, str] | None, body: bytes) -> StreamPosition:
    """The position after a message of the stream. A message of another program counts as before all
    epochs, of no instance."""
    try:
        epoch, seq = msgspec.structs.astuple(msgspec.json.decode(body, type=_Numbers))
        local_epoch, _, instance = (headers or {})[ORIGIN].partition(" ")
        return StreamPosition(epoch, seq, int(local_epoch), instance)
    except (msgspec.MsgspecError, UnicodeError, KeyError, ValueError):
        return StreamPosition(0, 0, 0, "")
