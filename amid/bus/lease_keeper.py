"""Takes and renews the lease of one server (`amid.bus.protocol.lease`) in a bucket of NATS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol.lease import Create, Lease
from amid.bus.streams import MakeBucket, restore_bucket
from amid.process.loop import clock

log = logging.getLogger("amid.bus")

RELEASE_TIMEOUT_S = 1.0


class LeaseLost(Exception):
    """Another instance may serve the server now."""


class LeaseKeeper:
    """make_bucket: makes the bucket again if it was deleted."""

    def __init__(self, bucket: KeyValue, make_bucket: MakeBucket, ttl_s: float, server: str, instance: str) -> None:
        self._bucket = bucket
        self._make_bucket = make_bucket
        self._ttl_s = ttl_s
        self._server = server
        self._instance = instance
        self._value = json.dumps({"instance": instance, "process": secrets.token_hex(8)}).encode()
        self._lease = Lease(ttl_s, clock.monotonic())
        self._owner = ""
        self.problem = ""
        """Why the last request failed, "" if it did not."""

    @property
    def owner(self) -> str:
        """The instance that serves the server, as far as this one knows; empty if unknown. Another
        one may have taken a lease that this one could not renew."""
        return "" if self._owner == self._instance and not self.holds() else self._owner

    def holds(self) -> bool:
        """Whether this instance may publish and answer now."""
        return self._lease.holds(clock.monotonic())

    async def acquire(self) -> None:
        """Return when this instance has the lease."""
        while not self.holds():
            await asyncio.sleep(self._lease.next_at - clock.monotonic())
            await self._attempt()

    async def keep(self) -> None:
        """Renew the lease. Raises `LeaseLost`."""
        while self.holds():
            await asyncio.sleep(min(self._lease.next_at, self._lease.fence_at) - clock.monotonic())
            if self.holds():
                await self._attempt()
        raise LeaseLost

    async def release(self) -> None:
        """Delete the key, so that another instance can take the lease at once."""
        revision = self._lease.revision
        if revision is None or not self.holds():
            return
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._bucket.delete(self._server, last=revision)
        except NATS_ERRORS as error:
            log.debug("%s: cannot release the lease, which expires instead: %s", self._server, describe(error))

    async def _attempt(self) -> None:
        """Send one request. A renewal has time until the fence."""
        sent_at = clock.monotonic()
        limit_s = self._lease.fence_at - sent_at if self.holds() else self._ttl_s
        try:
            async with asyncio.timeout(limit_s):
                revision = await self._request()
        except KeyWrongLastSequenceError:
            held = self.holds()
            self._lease.refused(clock.monotonic())
            if held:
                await self._report_equal_names()
        except NATS_ERRORS as error:
            self.problem = f"cannot take or renew the lease: {describe(error)}"
            log.warning("%s: %s; retrying", self._server, self.problem)
            self._lease.failed(clock.monotonic())
            await restore_bucket(self._make_bucket, error)
        else:
            self.problem = ""
            self._owner = self._instance
            self._lease.granted(revision, sent_at)

    async def _report_equal_names(self) -> None:
        """Log an error if another daemon with the name of this instance took the lease from it."""
        with contextlib.suppress(*NATS_ERRORS):
            async with asyncio.timeout(self._ttl_s):
                value = (await self._bucket.get(self._server)).value or b""
            if value != self._value and _instance_of(value) == self._instance:
                advice = "set another instance in [nats] of one of them"
                log.error("%s: two amids have the instance name %s; %s", self._server, self._instance, advice)

    async def _request(self) -> int:
        """Create or update the key. Return its revision."""
        step = self._lease.step()
        if not isinstance(step, Create):
            return await self._bucket.update(self._server, self._value, last=step.revision)
        try:
            return await self._bucket.create(self._server, self._value)
        except KeyWrongLastSequenceError:
            return await self._adopt()

    async def _adopt(self) -> int:
        """Renew an existing key if it is of an earlier process of this instance."""
        try:
            entry = await self._bucket.get(self._server)
        except KeyNotFoundError:
            raise KeyWrongLastSequenceError from None
        owner = _instance_of(entry.value or b"")
        if owner not in (self._owner, self._instance):
            log.info("%s: %s holds the lease; this amid is on standby", self._server, owner or "an unknown instance")
        self._owner = owner
        if owner != self._instance:
            raise KeyWrongLastSequenceError
        return await self._bucket.update(self._server, self._value, last=entry.revision)


def _instance_of(value: bytes) -> str:
    try:
        return str(json.loads(value)["instance"])
    except (ValueError, KeyError, TypeError):
        return ""
