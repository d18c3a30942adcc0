"""Announces one server on NATS: a tick each second, and its state under a key that expires."""

from __future__ import annotations

import logging
from typing import Any

from nats.js.kv import KeyValue

from amid import wire
from amid.bus.connection import Connection
from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol.subjects import Subjects
from amid.bus.server_states import ServerStates
from amid.bus.stream_publisher import StreamPublisher
from amid.bus.streams import MakeBucket, restore_bucket
from amid.process.loop import clock

log = logging.getLogger("amid.bus")

TTL_S = 30.0
"""Seconds after which the key of a server expires."""
RENEW_S = 10.0


class Announcer:
    """make_bucket: makes the bucket again if it was deleted."""

    def __init__(
        self,
        connection: Connection,
        bucket: KeyValue,
        make_bucket: MakeBucket,
        states: ServerStates,
        publisher: StreamPublisher,
        server: str,
        prefix: str,
    ) -> None:
        self._connection = connection
        self._bucket = bucket
        self._make_bucket = make_bucket
        self._states = states
        self._publisher = publisher
        self._server = server
        self._subjects = Subjects(prefix)
        self._put_at = 0.0
        self._put_state = ""

    async def run(self) -> None:
        """Announce the server until cancelled."""
        while True:
            await self._states.updated.wait()
            try:
                await self._tick()
                await self._put()
            except NATS_ERRORS as error:
                log.warning("%s: cannot announce it on NATS, retrying: %s", self._server, describe(error))
                await restore_bucket(self._make_bucket, error)

    async def _tick(self) -> None:
        """Publish the position in the stream, in the form of the daemon's own tick."""
        position = self._publisher.position
        if position is None:
            return
        numbers: dict[str, Any] = {"epoch": position.epoch, "seq": position.seq, "prev": 0, "time": clock.wall()}
        tick = {"server": self._server, **numbers, "event": wire.TICK, "fields": {}, "last": self._publisher.last}
        await self._connection.publish(self._subjects.tick(self._server), wire.pack_json(tick))

    async def _put(self) -> None:
        """Write the server's state when it has changed, and every RENEW_S."""
        view = self._states.views.get(self._server)
        now = clock.monotonic()
        if view is None or (view["state"] == self._put_state and now < self._put_at + RENEW_S):
            return
        await self._bucket.put(self._server, wire.pack_json(view))
        self._put_at, self._put_state = now, view["state"]
