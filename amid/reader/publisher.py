"""The two event sockets of one server, and its replay buffer.

Every event is numbered and stored for requests for events. Only events with a subscriber, as
reported by XPUB, are parsed and encoded. Sending never blocks: a subscriber that is slower than the
high-water mark allows loses messages, detects that from the sequence numbers, and delays no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import compress, repeat

from amid import wire
from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.field_parser import FieldParser
from amid.events.message import Event, RawEvents, Tick, pack
from amid.events.replay_buffer import ReplayBuffer, StoredEvents
from amid.events.sequence import Sequencer
from amid.process.loop import Alarm, clock
from amid.reader.event_socket import REMEMBERED_TOPICS, EventSocket, EventSockets

EVENTS_KEPT = 10_000
STREAM_KEPT = 500
"""Messages that are kept at least for a slow subscriber, on each of the two sockets."""

TICK_S = 1.0
"""Seconds between two ticks."""

MIN_TICK_S = 0.05
"""Minimum time between two ticks, if new subscribers need one."""


class Publisher:
    """Publishes the events of each read, and a tick once a second and soon after a subscription to
    it.

    on_publish: takes the first number and the names of the events of each read.
    """

    def __init__(self, sockets: EventSockets, server: str, epoch: int, replay_bytes: int) -> None:
        self.server = server
        self.events = sockets.open(wire.events_socket(server), EVENTS_KEPT, self._on_subscribe)
        self.stream = sockets.open(wire.stream_socket(server), STREAM_KEPT, self._on_subscribe)
        self._stream_topic = wire.stream_topic(server)
        self._raw_topic = wire.raw_topic(server)
        self._tick_topic = wire.tick_topic(server)
        self._event_prefix = wire.event_topic(server, "").removesuffix(b".")
        self._topic = lru_cache(REMEMBERED_TOPICS)(partial(wire.event_topic, server))  # event names may be forged
        self.numbers = Sequencer(epoch)
        self.buffer = ReplayBuffer(replay_bytes, self.numbers)
        self.on_publish: Callable[[int, list[str]], object] = lambda first, names: None
        self.published = 0
        self._field_parser = FieldParser()
        self._ticked = self._next_tick = 0.0
        self._ticks = Alarm(asyncio.get_running_loop(), self._tick_when_due)
        self._ticks.set(clock.monotonic())

    def close(self) -> None:
        self._ticks.cancel()
        self.events.close()
        self.stream.close()

    def _on_subscribe(self, topics: list[bytes]) -> None:
        """Handle new subscriptions. The first tick confirms a subscription, so it is sent soon."""
        for topic in topics:
            if topic.startswith(self._event_prefix) and topic.endswith(b"."):
                self.numbers.count_separately(topic[len(self._event_prefix) : -1].decode("utf-8", "replace"))
        if any(map(self._tick_topic.startswith, topics)):
            self._next_tick = min(self._next_tick, self._ticked + MIN_TICK_S)
            self._ticks.set(self._next_tick)

    def publish(self, batch: EventBatch, time: float) -> None:
        """Number, store and send the events of one read. time: of
        the read, in seconds since 1970."""
        first, prevs = self.numbers.number(batch.names)
        self.buffer.add(first, batch.names, prevs, time, batch.block)
        self._send_wanted(batch, first, prevs, time)
        self.on_publish(first, batch.names)

    def _send_wanted(self, batch: EventBatch, first: int, prevs: list[int], time: float) -> None:
        epoch = self.numbers.epoch
        if self.stream.want(self._raw_topic):
            raw = RawEvents(self.server, epoch, first, len(prevs), time, batch.block)
            self.stream.send(self._raw_topic, pack(raw))
            self.published += 1
        streams = self.stream.want(self._stream_topic)
        names = set(batch.names) if self.events.has_subscribers else ()
        wanted = {name: topic for name in names if self.events.want(topic := self._topic(name))}
        if not (streams or wanted):
            return
        seqs: Iterable[int] = range(first, first + len(prevs))
        if not streams:
            chosen = [name in wanted for name in batch.names]
            seqs, prevs, batch = compress(seqs, chosen), list(compress(prevs, chosen)), batch.select(chosen)
        fields = self._field_parser.parse(batch)
        events = list(map(Event, repeat(self.server), repeat(epoch), seqs, prevs, repeat(time), batch.names, fields))
        for event in events if wanted else ():
            if event.event in wanted:
                self._send(self.events, wanted[event.event], [event])
        if streams:
            self._send(self.stream, self._stream_topic, events)

    def _tick_when_due(self) -> None:
        now = clock.monotonic()
        if now >= self._next_tick:
            self._ticked, self._next_tick = now, now + TICK_S
            self.tick(clock.wall())
        self._ticks.set(self._next_tick)

    def tick(self, time: float) -> None:
        """Publish the last numbers, without using one, so that loss at
        the end of a quiet stream is detected."""
        numbers = self.numbers
        tick = Tick(self.server, numbers.epoch, numbers.seq, 0, time, wire.TICK, {}, numbers.last)
        for subscriptions in (self.events, self.stream):
            subscriptions.halve_counts()
            if subscriptions.want(self._tick_topic):
                self._send(subscriptions, self._tick_topic, [tick])
                subscriptions.receive()  # libzmq may have sent the tick to a subscriber whose subscription was not read yet

    def as_published(self, epoch: int, stored: StoredEvents) -> list[Event]:
        """Stored events in the form in which they are published."""
        fields = self._field_parser.parse(EventBatch(b"".join(stored.packets), stored.names))
        return list(map(Event, repeat(self.server), repeat(epoch), stored.seqs, stored.prevs, stored.times, stored.names, fields))

    def _send(self, socket: EventSocket, topic: bytes, events: list[Event]) -> None:
        socket.send(topic, pack(events))
        self.published += 1


def own_event(name: str, **fields: str) -> EventBatch:
    """An event of amid's own, in the format of Asterisk's."""
    lines = [f"Event: {name}", *(f"{key}: {' '.join(value.split())}" for key, value in fields.items())]
    return EventBatch("\r\n".join(lines).encode() + BLANK, [name])
