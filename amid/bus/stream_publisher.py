"""Publishes the events of one server to its stream: pulls them from the daemon, stores them in groups,
and reads the stream again after any unexpected answer.

A group is what one pull returned. JetStream acknowledges its last message only, which proves the
others (`protocol.messages`); an acknowledgement for each would cost twenty times as much. While
events arrive, a pull starts GROUP_S after the previous one, so that a group is worth its
acknowledgement. After a pause the first event is published without a delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from amid.bus.connection import Connection
from amid.bus.lease_keeper import LeaseLost
from amid.bus.local_broker import LocalBroker
from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol.acks import Outcome, Verdict, check_ack
from amid.bus.protocol.checkpoint import Checkpoint, StreamPosition
from amid.bus.protocol.messages import Group, Page, StreamWriter
from amid.bus.protocol.subjects import Subjects
from amid.bus.streams import ensure_stream, read_checkpoint
from amid.client.event import PAUSE_S, TEMPORARY_ERRORS, WAIT_S
from amid.config.tables import Nats
from amid.errors import AmidError
from amid.events.sequence import MAX_NAMES
from amid.outage import WITHIN_DAEMON_S, no_events
from amid.process.loop import clock

log = logging.getLogger("amid.bus")

GROUP_S = 0.05
"""Seconds from the start of one pull to that of the next, while pulls return few events."""
MAX_GROUP = 1000
"""Maximum number of events in a group."""
FULL_GROUP = 250
"""A group of this many events does not wait for more."""


class StreamPublisher:
    """position: after the last event that is known to be stored. last: the `seq` of the last event of
    each name, of those that this process has stored in this epoch, at most MAX_NAMES. problem: why
    events cannot be stored, "" if they can.

    holds: whether this instance has the lease. stored: the end of the stream after the last group
    that this process has stored, also on earlier connections. A stream that was emptied since then
    (`max_age`, a purge) no longer tells it.
    """

    def __init__(
        self,
        connection: Connection,
        broker: LocalBroker,
        server: str,
        settings: Nats,
        instance: str,
        holds: Callable[[], bool],
        stored: Checkpoint,
    ) -> None:
        self._connection = connection
        self._broker = broker
        self._server = server
        self._settings = settings
        self._subjects = Subjects(settings.prefix)
        self._holds = holds
        self.stored = stored
        self._outage = no_events(log, server, WITHIN_DAEMON_S)
        self._writer = StreamWriter(server, self._subjects, instance, settings.leave_out, connection.max_body_bytes)
        self._pulled_at = 0.0
        self._cursor_refused = False
        self._is_unsure = False
        self.position: StreamPosition | None = None
        self.last: dict[str, int] = {}
        self._gaps_reported = 0
        self.problem = ""

    async def run(self) -> None:
        """Publish until cancelled. Raises `LeaseLost`."""
        while True:
            try:
                await self._publish()
            except NATS_ERRORS as error:
                self._report(f"cannot store events in NATS: {self._connection.last_error or describe(error)}")
                self._connection.last_error = ""
            except AmidError as error:
                self._report(f"cannot get events from the daemon: {error.message}")
                self._cursor_refused = error.kind == "invalid_params"  # the daemon has lost the file that keeps its epochs growing
            await asyncio.sleep(PAUSE_S)

    async def _publish(self) -> None:
        """Publish from the stream's last message on. Return after a group that was not stored as
        expected."""
        jetstream = self._connection.jetstream
        await ensure_stream(jetstream, self._subjects, self._server, self._settings)
        checkpoint = await read_checkpoint(jetstream, self._subjects, self._server)
        emptied = checkpoint == self.stored._replace(position=None)
        after = self._writer.start(self.stored if emptied else checkpoint)
        if after is None or self._cursor_refused:
            self._cursor_refused = False
            page = await self._pull(None, 0.0)
            if not await self._store(self._writer.take_over(page, clock.wall())):
                return
            after = {"epoch": page.epoch, "seq": page.seq}
        where = f"event {after['seq'] + 1} of epoch {after['epoch']}" if after["epoch"] else "the oldest event that is held"
        log.info("%s: publishing to NATS from %s on", self._server, where)
        await self._follow(after)

    async def _follow(self, after: dict[str, int]) -> None:
        """Publish the events after the cursor. The next pull runs while a group is stored."""
        pull = asyncio.create_task(self._pull(after, WAIT_S))
        try:
            while True:
                page = await pull
                pull = asyncio.create_task(self._next(page))
                group = self._writer.group(page, clock.wall())
                if group.messages and not await self._store(group):
                    return
        finally:
            pull.cancel()
            with contextlib.suppress(asyncio.CancelledError, AmidError):
                await pull

    async def _next(self, page: Page) -> Page:
        if not page.more and len(page.events) < FULL_GROUP:
            await asyncio.sleep(self._pulled_at + GROUP_S - clock.monotonic())
        return await self._pull({"epoch": page.epoch, "seq": page.seq}, WAIT_S)

    async def _pull(self, after: dict[str, int] | None, wait_s: float) -> Page:
        """The events after the cursor. Temporary errors are retried; raises others."""
        while True:
            self._pulled_at = clock.monotonic()
            try:
                page = await self._broker.pull(self._server, after, wait_s, MAX_GROUP)
            except AmidError as error:
                if error.kind not in TEMPORARY_ERRORS:
                    raise
                self._outage.failed(error.message)
            else:
                self._outage.succeeded()
                return page
            await asyncio.sleep(PAUSE_S)

    async def _store(self, group: Group) -> bool:
        """Store a group. Return whether the stream has all of it. Raises `LeaseLost` or one of
        `NATS_ERRORS`."""
        if not self._holds():
            raise LeaseLost
        verdict = await self._send(group)
        is_repeated, self._is_unsure = self._is_unsure, verdict.outcome is not Outcome.STORED
        if verdict.outcome is Outcome.REFUSED or (verdict.outcome is Outcome.CONFLICT and is_repeated):
            self._report(f"cannot store events in NATS: {verdict.reason}")
            return False
        if verdict.outcome is Outcome.CONFLICT:
            log.warning("%s: the stream is not at the expected position, reading it again: %s", self._server, verdict.reason)
            return False
        self.problem = ""
        if self.position is None or self.position.epoch != group.end.epoch:
            self.last = {}
        self.position = group.end
        self.stored = Checkpoint(group.last_sequence, group.end)
        for name, seq in group.last.items():
            if name in self.last or len(self.last) < MAX_NAMES:
                self.last[name] = seq
        self._report_gaps()
        return True

    async def _send(self, group: Group) -> Verdict:
        """After a group that was not stored, the first message waits for its own answer: if it is
        refused, for example for lack of space, the answer to the last message has another reason."""
        *others, last = group.messages
        if self._is_unsure and others:
            first, *others = others
            verdict = check_ack(await self._connection.request(first), group.last_sequence - len(group.messages) + 1)
            if verdict.outcome is not Outcome.STORED:
                return verdict
        await self._connection.publish_all(others)
        return check_ack(await self._connection.request(last), group.last_sequence)

    def _report(self, problem: str) -> None:
        self.problem = problem
        log.warning("%s: %s; retrying", self._server, problem)

    def _report_gaps(self) -> None:
        gaps, missed = self._writer.gaps, self._writer.missed
        if gaps > self._gaps_reported:
            self._gaps_reported = gaps
            log.warning("%s: stored a gap; on this connection: %d gaps, %d events known to be missing", self._server, gaps, missed)
