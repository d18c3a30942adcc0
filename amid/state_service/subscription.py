"""Receives the events of one server in order and without a gap: from the topic `raw`, and what a
subscriber has lost, by the method `events`.

A subscriber loses messages when it lags, and when its reader is replaced; it detects the loss from
the sequence numbers. Events are then pulled from the last received one on, until the pulled events
meet the published ones.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from amid import wire
from amid.client import AsyncClient
from amid.client.event import PAUSE_S, TEMPORARY_ERRORS
from amid.client.results import EventsPage
from amid.errors import AmidError
from amid.events.message import RawEvents
from amid.process.loop import clock, start_task
from amid.process.socket_reader import SocketReader
from amid.state.packets import split_events
from amid.state.server_state import Event

log = logging.getLogger("amid.state")

RECEIVE_HWM = 100_000
"""Messages that are buffered while this process is busy."""
PASS_S = 0.02
"""Time for published events in one pass of the loop."""
PULL_TIMEOUT_S = 0.2

_decode_raw = msgspec.msgpack.Decoder(RawEvents).decode


class Tick(msgspec.Struct):
    """The number of the last published event."""

    epoch: int
    seq: int


_decode_ticks = msgspec.msgpack.Decoder(list[Tick]).decode

OnEvents = Callable[[int, list[Event], float], object]


class Subscription:
    """Made on the running loop.

    on_epoch: takes a new epoch, or the same one after a loss of events, and the number of the event
    after which it continues. on_events: takes the number of the last event, the events, and the
    time of each read. on_tick: called for each tick. gaps: how often events were lost.
    """

    def __init__(
        self,
        client: AsyncClient,
        context: zmq.Context[zmq.Socket[bytes]],
        server: str,
        endpoint: str,
        on_epoch: Callable[[int, int], object],
        on_events: OnEvents,
        on_tick: Callable[[], object],
    ) -> None:
        self._client = client
        self._server = server
        self._on_epoch = on_epoch
        self._on_events = on_events
        self._on_tick = on_tick
        self._epoch = self._seq = 0
        self.gaps = 0
        self._last_published = (0, 0)
        self._is_live = False
        self._socket = context.socket(zmq.SUB)
        self._socket.set(zmq.LINGER, 0)
        self._socket.set(zmq.RCVHWM, RECEIVE_HWM)
        self._socket.set(zmq.SUBSCRIBE, wire.raw_topic(server))
        self._socket.set(zmq.SUBSCRIBE, wire.tick_topic(server))
        self._socket.connect(endpoint)
        self._reader = SocketReader(asyncio.get_running_loop(), self._socket, self._receive)
        self._catching_up = start_task(self._catch_up())

    # ── published events ──

    def _receive(self) -> bool:
        """Receive as much as one pass of the loop permits; True if more may be waiting."""
        end = clock.monotonic() + PASS_S
        while clock.monotonic() < end:
            try:
                topic, body = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            if topic.startswith(b"raw."):
                self._receive_raw(_decode_raw(body))
            else:
                for tick in _decode_ticks(body):
                    self._note_published(tick.epoch, tick.seq)
                self._on_tick()
        return True

    def _receive_raw(self, raw: RawEvents) -> None:
        last = raw.first + raw.count - 1
        if not self._is_live:
            self._last_published = raw.epoch, last
            return
        if raw.first == 1 and raw.epoch > self._epoch:
            self._begin_epoch(raw.epoch, 0)
        if (raw.epoch, raw.first) == (self._epoch, self._seq + 1):
            self._seq = last
            self._on_events(last, split_events(raw.data), raw.time)
        else:
            self._note_published(raw.epoch, last)

    def _note_published(self, epoch: int, seq: int) -> None:
        """Event `seq` has been published: pull the events up to it that are missing."""
        self._last_published = epoch, seq
        if self._is_live and (epoch != self._epoch or seq > self._seq):
            self._is_live = False
            self._catching_up = start_task(self._catch_up())

    def _begin_epoch(self, epoch: int, seq: int) -> None:
        self._epoch, self._seq = epoch, seq
        self._on_epoch(epoch, seq)

    # ── pulled events ──

    async def _catch_up(self) -> None:
        """Pull events until none is missing before those that are published from then on."""
        while not self._is_live:
            after = {"epoch": self._epoch, "seq": self._seq} if self._epoch else None
            try:
                page = await self._client.pull(self._server, after, timeout=PULL_TIMEOUT_S if after else 0.0)
            except AmidError as error:
                if error.kind not in TEMPORARY_ERRORS:
                    log.error("%s: cannot follow its events: %s", self._server, error.message)
                    return
                await asyncio.sleep(PAUSE_S)
                continue
            self._receive_page(page)
            self._is_live = not page["more"] and self._last_published <= (self._epoch, self._seq)

    def _receive_page(self, page: EventsPage) -> None:
        events: list[Any] = page["events"]
        first = events[0]["seq"] if events else page["seq"] + 1
        if page["epoch"] != self._epoch:
            self._begin_epoch(page["epoch"], first - 1)
        elif page["missed"] != 0:
            log.warning("%s: lost %s events; loading its state again", self._server, page["missed"] or "some")
            self.gaps += 1
            self._begin_epoch(self._epoch, first - 1)
        for event in events:
            self._seq = event["seq"]
            self._on_events(event["seq"], [(event["event"], event["fields"])], event["time"])
        self._seq = page["seq"]
