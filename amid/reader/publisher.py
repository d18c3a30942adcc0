"""The two event sockets of one server, and what is kept of its events.

Every event is numbered and held for replay; only what somebody subscribes to is taken apart and encoded. XPUB tells what that is.
Sending never blocks: a subscriber that lags behind the high-water mark loses messages, sees it by the numbers, and holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import compress, repeat

from amid import wire
from amid.ami.burst import BLANK, Burst
from amid.ami.packet import Packet
from amid.ami.shapes import Shapes
from amid.events.message import Event, Tick, pack_all
from amid.events.ring import Held, Ring
from amid.events.sequence import Numberer
from amid.process.loop import Alarm, clock
from amid.reader.event_socket import EventSocket, EventSockets

EVENTS_KEPT = 10_000
STREAM_KEPT = 500
"""Messages at least that are kept for a subscriber that lags, on each of the two sockets."""

LINGER_MS = 200

TICK_S = 1.0
"""Seconds between two ticks."""

SOON_S = 0.05
"""Seconds between two ticks at the least, when new subscribers ask for one."""


class Publisher:
    """Give it the events of each read with `publish`. It sends a tick once a second, and soon after a subscriber asked for one."""

    def __init__(self, sockets: EventSockets, server: str, epoch: int, replay_bytes: int) -> None:
        self._server = server
        self.events = sockets.open(wire.events_socket(server), EVENTS_KEPT, LINGER_MS, self._asked)
        self.stream = sockets.open(wire.stream_socket(server), STREAM_KEPT, LINGER_MS, self._asked)
        self._stream_topic = wire.stream_topic(server)
        self._tick_topic = wire.tick_topic(server)
        self._event_prefix = wire.event_topic(server, "").removesuffix(b".")
        self._topics: dict[str, bytes] = {}
        self.numbers = Numberer(epoch)
        self.ring = Ring(replay_bytes)
        self.published = 0
        self._shapes = Shapes()
        self._next_tick = 0.0

    def start(self) -> None:
        self._ticks = Alarm(asyncio.get_running_loop(), self._tick_when_due)
        self._ticked = 0.0
        self._tick_when_due()

    def close(self) -> None:
        self._ticks.cancel()
        self.events.close()
        self.stream.close()

    def _asked(self, topics: list[bytes]) -> None:
        """Subscribers have asked for these. The first tick shows that a subscription is in effect, so it should come soon."""
        for topic in topics:
            if topic.startswith(self._event_prefix) and topic.endswith(b"."):
                self.numbers.count(topic[len(self._event_prefix) : -1].decode("utf-8", "replace"))
        if any(map(self._tick_topic.startswith, topics)):
            self._next_tick = min(self._next_tick, self._ticked + SOON_S)
            self._ticks.set(self._next_tick)

    def publish(self, burst: Burst, time: float) -> None:
        """Number, hold and send the events of one read. `time`: when it was, in seconds since 1970."""
        epoch, (first, nths) = self.numbers.epoch, self.numbers.number(burst.names)
        self.ring.add(epoch, first, nths, time, burst.block)
        streams = self.stream.want(self._stream_topic)
        names = set(burst.names) if self.events.anybody else ()
        wanted = {name: topic for name in names if self.events.want(topic := self._topic(name))}
        if not (streams or wanted):
            return
        seqs: Iterable[int] = range(first, first + len(nths))
        if not streams:
            chosen = [name in wanted for name in burst.names]
            seqs, nths, burst = compress(seqs, chosen), list(compress(nths, chosen)), burst.only(chosen)
        fields = self._shapes.fields(burst)
        events = list(map(Event, repeat(self._server), repeat(epoch), seqs, nths, repeat(time), burst.names, fields))
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
        """State the last numbers without using one, so that loss at the end of a quiet stream shows."""
        numbers = self.numbers
        tick = Tick(self._server, numbers.epoch, numbers.seq, 0, time, wire.TICK, {}, numbers.counts)
        for subscriptions in (self.events, self.stream):
            subscriptions.forgive()
            if subscriptions.want(self._tick_topic):
                self._send(subscriptions, self._tick_topic, [tick])
                subscriptions.receive()  # libzmq may have sent it to a subscriber that is unknown here still, and takes it as known

    def replayed(self, epoch: int, held: Held) -> Event:
        """An event that is held, as it was published."""
        name = Packet(held.raw).event
        (fields,) = self._shapes.fields(Burst(held.raw + BLANK, [name]))
        return Event(self._server, epoch, held.seq, held.nth, held.time, name, fields)

    def _topic(self, name: str) -> bytes:
        topic = self._topics.get(name)
        if topic is None:
            if len(self._topics) > 1000:  # names come from Asterisk's modules; a flood of invented ones must not stay
                self._topics.clear()
            topic = self._topics[name] = wire.event_topic(self._server, name)
        return topic

    def _send(self, socket: EventSocket, topic: bytes, events: list[Event]) -> None:
        socket.send(topic, pack_all(events))
        self.published += 1


def own_event(name: str, **fields: str) -> Burst:
    """An event of amid's own, in the form that Asterisk's have."""
    lines = [f"Event: {name}", *(f"{key}: {' '.join(value.split())}" for key, value in fields.items())]
    return Burst("\r\n".join(lines).encode() + BLANK, [name])
