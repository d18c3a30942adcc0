"""A page of events as messages of a stream: in order, with an `amid:gap` wherever events are missing.

Every message expects the stream's last sequence to be that of the message before it
(`Nats-Expected-Last-Sequence`). So JetStream stores a beginning of a group and never a group with a
hole, and an instance that was suspended, lost its lease and continues stores nothing behind the
messages of its successor. A check of the lease alone cannot ensure that: time passes between the
check and the moment when the server reads the message.

The sequence alone is not enough. If a successor has stored one message, the first message of the
continued group is refused, but the second expects exactly the sequence that the stream now has. So
each message except the first of a group also expects the id of the one before it
(`Nats-Expected-Last-Msg-Id`). The first cannot: a restarted server has forgotten the last id.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from amid import wire
from amid.bus.protocol.checkpoint import ORIGIN, Checkpoint, StreamPosition, format_origin
from amid.bus.protocol.subjects import Subjects
from amid.events.message import Event

GAP = "amid:gap"

_JSON = msgspec.json.Encoder()


class GapEvent(Event):
    """Events that the stream lacks: those after number `after` up to `until`, `missed` of them.

    until and missed: None at the end of an epoch, where the number is unknown. The gap's own `epoch`
    and `seq` are the position after it.
    """

    after: int
    until: int | None
    missed: int | None


class _Utf8Event(msgspec.Struct, gc=False):
    """An event whose text is all UTF-8, as in nearly all events."""

    server: str
    epoch: int
    seq: int
    prev: int
    time: float
    event: str
    fields: dict[str, str | list[str]]


class Page(msgspec.Struct):
    """The result of the method `events`. events: each still in MessagePack."""

    server: str
    epoch: int
    seq: int
    missed: int | None
    more: bool
    events: list[msgspec.Raw]


class Message(msgspec.Struct, gc=False):
    """head: the headers as sent (NATS client protocol, HPUB); ASCII, built in one piece because
    every event has them."""

    subject: str
    head: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.head.split("\r\n")[1:-2])


class Group(NamedTuple):
    """Messages to be stored together. JetStream acknowledges the last of them.

    last_sequence: the expected sequence of the last message. end: the position after the group.
    last: the `seq` of the last event of each name in the group.
    """

    messages: list[Message]
    last_sequence: int
    end: StreamPosition
    last: dict[str, int]


_DECODE = msgspec.msgpack.Decoder(_Utf8Event).decode


class StreamWriter:
    """Makes the messages of one stream. leave_out: names of events that are not published.

    It starts at a checkpoint and assumes that each group is stored. After a group that was not, it
    must start at a new checkpoint. `gaps`: number of gaps; `missed`: number of events in them, where
    it is known.
    """

    def __init__(self, server: str, subjects: Subjects, instance: str, leave_out: Iterable[str], max_body_bytes: int) -> None:
        self._server = server
        self._subject = lru_cache(4096)(partial(subjects.event, server))
        self._instance = instance
        self._leave_out = frozenset(name.casefold() for name in leave_out)
        self._max_body_bytes = max_body_bytes
        self._last_sequence = 0
        self._last_id = ""
        self._set_position(StreamPosition(0, 0, 0, instance))
        self._is_new = True
        self.missed = self.gaps = 0

    def start(self, checkpoint: Checkpoint) -> dict[str, int] | None:
        """The cursor to pull from; None when the last message is of another instance: pull from now
        on, and `take_over`."""
        self._last_sequence = checkpoint.last_sequence
        found = checkpoint.position
        self._is_new = found is None
        if found is None:
            self._set_position(StreamPosition(0, 0, 0, self._instance))
            return {"epoch": 0, "seq": 0}
        self._set_position(found)
        return {"epoch": found.local_epoch, "seq": found.seq} if found.instance == self._instance else None

    def take_over(self, page: Page, now: float) -> Group:
        """The gap behind another instance's messages. page: an empty one, with the daemon's current
        position."""
        self._last_id = ""
        return self._group([self._gap_until(page.epoch, page.seq, now)], {})

    def group(self, page: Page, now: float) -> Group:
        """The messages of a page. now: seconds since 1970, for gaps."""
        self._last_id = ""
        last: dict[str, int] = {}
        messages: list[Message] = []
        for raw in page.events:
            self._add_event(raw, messages, last, now)
        if (page.epoch, page.seq) != (self._local_epoch, self._seq):
            # the page ends without an event: in another epoch, or after events that were dropped
            self._add_gap_before(page.epoch, page.seq + 1, messages, now)
        return self._group(messages, last)

    def _group(self, messages: list[Message], last: dict[str, int]) -> Group:
        end = StreamPosition(self._epoch, self._seq, self._local_epoch, self._last_instance)
        return Group(messages, self._last_sequence, end, last)

    def _set_position(self, position: StreamPosition) -> None:
        self._epoch, self._seq, self._local_epoch, self._last_instance = position
        self._origin = format_origin(position.local_epoch, position.instance)
        self._id_prefix = f"{self._server}:{position.epoch}:"

    def _add_event(self, raw: msgspec.Raw, messages: list[Message], last: dict[str, int], now: float) -> None:
        """Append an event, after a gap where events are missing."""
        event: _Utf8Event | Event
        try:
            event = _DECODE(raw)
        except (msgspec.MsgspecError, UnicodeError):  # its text is not all UTF-8
            event = Event(**wire.unpack(bytes(raw)))
        if event.seq != self._seq + 1 or event.epoch != self._local_epoch or self._is_new:
            self._add_gap_before(event.epoch, event.seq, messages, now)
        name = event.event
        if self._leave_out and name.casefold() in self._leave_out:
            self._seq = event.seq
            return
        event.epoch = self._epoch
        # msgspec would encode other bytes as base64
        body = _JSON.encode(event) if type(event) is _Utf8Event else wire.pack_json(msgspec.structs.asdict(event))
        if len(body) > self._max_body_bytes:
            messages.append(self._gap_until(self._local_epoch, event.seq, now))
            return
        self._seq = last[name] = event.seq
        messages.append(self._message(name, body))

    def _add_gap_before(self, local_epoch: int, seq: int, messages: list[Message], now: float) -> None:
        """Append a gap unless `seq` is the next number."""
        if self._is_new:  # a new stream begins with the current epoch, so nothing of earlier ones is missing
            self._is_new = False
            self._set_position(StreamPosition(local_epoch, 0, local_epoch, self._instance))
        if (local_epoch, seq) != (self._local_epoch, self._seq + 1):
            messages.append(self._gap_until(local_epoch, seq - 1, now))

    def _gap_until(self, local_epoch: int, seq: int, now: float) -> Message:
        """A gap from the position up to `seq`, which becomes the position."""
        after = self._seq
        same_epoch = (local_epoch, self._instance) == (self._local_epoch, self._last_instance) and seq >= after
        epoch = self._epoch if same_epoch else max(local_epoch, self._epoch + 1)
        until, missed = (seq, seq - after) if same_epoch else (None, None)
        self._set_position(StreamPosition(epoch, seq, local_epoch, self._instance))
        self.gaps += 1
        self.missed += missed or 0
        fields = {"after": after, "until": until, "missed": missed}
        gap = GapEvent(self._server, epoch, seq, 0, now, GAP, fields, after, until, missed)
        return self._message(GAP, _JSON.encode(gap))

    def _message(self, name: str, body: bytes) -> Message:
        """A message at the position."""
        own_id = f"{self._id_prefix}{self._seq}"
        expected_id = f"Nats-Expected-Last-Msg-Id: {self._last_id}\r\n" if self._last_id else ""
        head = (
            f"NATS/1.0\r\nNats-Msg-Id: {own_id}\r\nNats-Expected-Last-Sequence: {self._last_sequence}\r\n"
            f"{expected_id}{ORIGIN}: {self._origin}\r\n\r\n"
        )
        self._last_id = own_id
        self._last_sequence += 1
        return Message(self._subject(name), head, body)


def encode_publish(messages: Iterable[Message]) -> bytes:
    """The commands that publish the messages without an acknowledgement (NATS client protocol,
    HPUB)."""
    pieces: list[bytes] = []
    for message in messages:
        head, body = message.head, message.body
        size = len(head)
        pieces += (f"HPUB {message.subject} {size} {size + len(body)}\r\n{head}".encode(), body, b"\r\n")
    return b"".join(pieces)
