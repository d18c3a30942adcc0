"""The two event sockets of one server, and what is kept of its events.

Every event is numbered and held for replay; only what somebody subscribes to is taken apart and encoded. XPUB tells what that is.
Sending never blocks: a subscriber that lags behind the high-water mark loses messages, sees it by the numbers, and holds up nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress, repeat
from typing import Any

import zmq

from amid import wire
from amid.ami.burst import BLANK, Burst
from amid.ami.packet import Packet
from amid.ami.shapes import Shapes
from amid.daemon.sending import high_water_mark, send
from amid.events.message import Event, Tick, pack_all
from amid.events.ring import Held, Ring
from amid.events.sequence import Numberer

EVENTS_KEPT = 10_000
STREAM_KEPT = 500
"""Messages at least that are kept for a subscriber that lags, on each of the two sockets."""

TICK_S = 1.0
"""Seconds between two ticks."""


class Subscriptions:
    """The prefixes that the subscribers of one XPUB socket asked for."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._prefixes: set[bytes] = set()
        self._wanted: dict[bytes, bool] = {}

    def take(self, watched: bytes) -> bool:
        """Read what subscribers have asked for since; True when somebody asked for the topic `watched`."""
        asked = False
        while True:
            try:
                message = self.socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return asked
            if message[:1] == b"\x01":
                self._prefixes.add(message[1:])
                asked = asked or watched.startswith(message[1:])
            elif message[:1] == b"\x00":
                self._prefixes.discard(message[1:])
            self._wanted.clear()

    @property
    def anybody(self) -> bool:
        return bool(self._prefixes)

    def want(self, topic: bytes) -> bool:
        known = self._wanted.get(topic)
        if known is None:
            known = self._wanted[topic] = topic.startswith(tuple(self._prefixes))
        return known


class Publisher:
    """Give it the events of each read with `publish`; `tick` once a second, `take_subscriptions` when a socket is readable."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run_dir: str, server: str, epoch: int, replay_bytes: int) -> None:
        self._server = server
        self._events = self._bind(context, wire.ipc(run_dir, wire.events_socket(server)), EVENTS_KEPT)
        self._stream = self._bind(context, wire.ipc(run_dir, wire.stream_socket(server)), STREAM_KEPT)
        self._stream_topic = wire.stream_topic(server)
        self._tick_topic = wire.tick_topic(server)
        self._topics: dict[str, bytes] = {}
        self.numbers = Numberer(epoch)
        self.ring = Ring(replay_bytes)
        self.published = 0
        self._shapes = Shapes()

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, kept: int) -> Subscriptions:
        socket = context.socket(zmq.XPUB)
        socket.set(zmq.SNDHWM, high_water_mark(kept))
        socket.set(zmq.XPUB_VERBOSE, 1)  # each subscriber is seen, and not only the first to a topic
        socket.set(zmq.LINGER, 200)
        socket.bind(endpoint)
        return Subscriptions(socket)

    def sockets(self) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        return self._events.socket, self._stream.socket

    def take_subscriptions(self, ready: dict[Any, int]) -> bool:
        """True when somebody asked for ticks: the first one shows that the subscription is in effect, so it should come soon."""
        asked = [each.take(self._tick_topic) for each in (self._events, self._stream) if each.socket in ready]
        return any(asked)

    def publish(self, burst: Burst, time: float) -> None:
        """Number, hold and send the events of one read. `time`: when it was, in seconds since 1970."""
        epoch, (first, nths) = self.numbers.epoch, self.numbers.number(burst.names)
        self.ring.add(epoch, first, nths, time, burst.block)
        streams = self._stream.want(self._stream_topic)
        names = set(burst.names) if self._events.anybody else ()
        wanted = {name: topic for name in names if self._events.want(topic := self._topic(name))}
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
                self._send(self._events.socket, wanted[event.event], [event])
        if streams:
            self._send(self._stream.socket, self._stream_topic, events)

    def tick(self, time: float) -> None:
        """State the last numbers without using one, so that loss at the end of a quiet stream shows."""
        numbers = self.numbers
        tick = Tick(self._server, numbers.epoch, numbers.seq, 0, time, wire.TICK, {}, numbers.counts)
        for subscriptions in (self._events, self._stream):
            if subscriptions.want(self._tick_topic):
                self._send(subscriptions.socket, self._tick_topic, [tick])

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

    def _send(self, socket: zmq.Socket[bytes], topic: bytes, events: list[Event]) -> None:
        send(socket, topic, pack_all(events))
        self.published += 1


def own_event(name: str, **fields: str) -> Burst:
    """An event of amid's own, in the form that Asterisk's have."""
    lines = [f"Event: {name}", *(f"{key}: {' '.join(value.split())}" for key, value in fields.items())]
    return Burst("\r\n".join(lines).encode() + BLANK, [name])
