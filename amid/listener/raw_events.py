"""The events of one server as Asterisk sent them, from the topic `raw.SERVER.`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import zmq

from amid import wire
from amid.manager.raw_feed import Loss, RawFeed
from amid.process.socket_reader import SocketReader

MAX_BUFFERED = 1000
"""Messages that wait in this process, in addition to those that the reader buffers for it."""
AT_ONCE = 20
"""Messages received in one pass of the loop; each may go to a thousand clients."""


class _Raw(msgspec.Struct):
    epoch: int
    first: int
    count: int
    data: bytes


class _Tick(msgspec.Struct):
    epoch: int
    seq: int


_decode_raw = msgspec.msgpack.Decoder(_Raw).decode
_decode_tick = msgspec.msgpack.Decoder(list[_Tick]).decode


class RawEvents:
    """on_events: takes the packets of each read, and their number. on_loss: called before it when
    events are missing. on_begin: called after the first message, from which on none is lost in
    silence."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        run_dir: str,
        server: str,
        on_events: Callable[[bytes, int], object],
        on_loss: Callable[[Loss], object],
        on_begin: Callable[[], object],
    ) -> None:
        self._feed = RawFeed()
        self._on_events = on_events
        self._on_loss = on_loss
        self._on_begin = on_begin
        self._raw_topic = wire.raw_topic(server)
        self._socket = context.socket(zmq.SUB)
        for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, MAX_BUFFERED), (zmq.RECONNECT_IVL_MAX, 500)):
            self._socket.set(option, value)
        self._socket.subscribe(self._raw_topic)
        self._socket.subscribe(wire.tick_topic(server))
        self._socket.connect(wire.ipc(run_dir, wire.stream_socket(server)))
        self._reader = SocketReader(asyncio.get_running_loop(), self._socket, self._receive)

    @property
    def has_begun(self) -> bool:
        """Whether a message has arrived."""
        return self._feed.epoch is not None

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def _receive(self) -> bool:
        for _ in range(AT_ONCE):
            try:
                topic, body = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.ZMQError:
                return False
            self._dispatch(topic, body)
        return True

    def _dispatch(self, topic: bytes, body: bytes) -> None:
        had_begun = self.has_begun
        if topic == self._raw_topic:
            raw = _decode_raw(body)
            loss, data, count = self._feed.receive(raw.epoch, raw.first, raw.count), raw.data, raw.count
        else:
            (tick,) = _decode_tick(body)
            loss, data, count = self._feed.receive_tick(tick.epoch, tick.seq), b"", 0
        if loss is not None:
            self._on_loss(loss)
        if data:
            self._on_events(data, count)
        if not had_begun:
            self._on_begin()
