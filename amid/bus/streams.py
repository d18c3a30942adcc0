"""The streams and buckets of the bus: created where it may, and read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BucketNotFoundError, NoStreamResponseError, NotFoundError
from nats.js.kv import KeyValue

from amid.bus.nats_errors import NATS_ERRORS
from amid.bus.protocol.checkpoint import Checkpoint, parse_position
from amid.bus.protocol.subjects import Subjects
from amid.config.tables import Nats

log = logging.getLogger("amid.bus")

MakeBucket = Callable[[], Awaitable[object]]

DUPLICATE_WINDOW_S = 120.0
"""Seconds for which JetStream remembers the ids of messages."""

COMPLETE = ("retention", "discard", "max_msgs_per_subject", "max_msg_size", "no_ack")
"""Settings with which a stream that another program created could lack events."""


async def ensure_stream(jetstream: JetStreamContext, subjects: Subjects, server: str, settings: Nats) -> None:
    """Create the stream of a server, or apply the configured limits to it. Raises JetStream's error.

    With `create_streams` false, the stream is used unchanged.
    """
    if not settings.create_streams:
        return
    wanted = StreamConfig(
        name=subjects.stream(server),
        description=f"events of {server}, published by amid",
        subjects=[subjects.events(server)],
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=settings.max_age,
        max_bytes=settings.max_bytes or -1,
        num_replicas=settings.replicas,
        retention=RetentionPolicy.LIMITS,
        max_msgs_per_subject=-1,
        max_msg_size=-1,
        no_ack=False,
        duplicate_window=min(DUPLICATE_WINDOW_S, settings.max_age or DUPLICATE_WINDOW_S),
    )
    assert wanted.name is not None
    try:
        found = (await jetstream.stream_info(wanted.name)).config
    except NotFoundError:
        await jetstream.add_stream(wanted)
        log.info("%s: created the stream %s", server, wanted.name)
        return
    keys = ("subjects", "max_age", "max_bytes", "num_replicas", *COMPLETE)
    changed = {key: getattr(wanted, key) for key in keys if getattr(found, key) != getattr(wanted, key)}
    if changed:
        await jetstream.update_stream(found.evolve(**changed))
        log.info("%s: changed %s of the stream %s", server, ", ".join(changed), wanted.name)


async def read_checkpoint(jetstream: JetStreamContext, subjects: Subjects, server: str) -> Checkpoint:
    """The end of the stream. Raises JetStream's error."""
    name = subjects.stream(server)
    state = (await jetstream.stream_info(name)).state
    try:
        last = await jetstream.get_last_msg(name, subjects.events(server))
    except NotFoundError:
        return Checkpoint(state.last_seq, None)
    return Checkpoint(max(state.last_seq, last.seq or 0), parse_position(last.headers, last.data or b""))


async def open_bucket(jetstream: JetStreamContext, name: str, ttl_s: float, settings: Nats) -> KeyValue:
    """Open a bucket whose keys expire, and create it where needed. Raises JetStream's error."""
    try:
        return await jetstream.key_value(name)
    except BucketNotFoundError:
        if not settings.create_streams:
            raise
    return await jetstream.create_key_value(KeyValueConfig(bucket=name, ttl=ttl_s, replicas=settings.replicas, history=1))


async def restore_bucket(make_bucket: MakeBucket, error: BaseException) -> None:
    """Make a bucket again if this error of a request shows that it was deleted. If that fails too, the
    next request shows it again."""
    if isinstance(error, NoStreamResponseError):
        with contextlib.suppress(*NATS_ERRORS):
            await make_bucket()
