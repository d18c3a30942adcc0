"""Encodes a result in MessagePack or JSON, in pieces of 1 to 2 ms, so that a large one delays no
other call.

Readers encode results, in the codec of the request; the broker puts them into replies unchanged. In
JSON, packets in UTF-8, which nearly all are, are encoded by msgspec. The others are encoded by the
standard library, which takes ten times as long and supports the lone surrogates that represent
other bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgpack
import msgspec

from amid import wire
from amid.events.message import Event, pack

PIECE_ITEMS = 100
"""Limit of items in one piece of JSON, nested ones included."""

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()
_PLAIN = {str, int, float, bool, type(None)}


class Items(NamedTuple):
    """A list whose packets are made one by one, when they are encoded."""

    length: int
    packets: Iterator[Any]


def encode_at_once(value: Any, as_json: bool) -> bytes | None:
    """The encoded `value` if it is one piece, as nearly all are; else None."""
    if as_json:
        return _encode_json(value) if _is_small(value) else None
    return None if _has_items(value) else _MSGPACK.encode(value)


def pieces(value: Any, as_json: bool) -> Iterator[bytes]:
    """The encoded `value` in pieces. value: a map, whose members may be `Items`, or `Items`."""
    return _json_pieces(value) if as_json else _msgpack_pieces(value)


class EncodedEvents:
    """A growing list of encoded events. `size` is in bytes."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.count = self.size = 0
        self.pieces: list[bytes] = []

    def add(self, events: list[Event]) -> None:
        """Encode and add events, at least one."""
        piece = _json_events(events) if self.as_json else pack(events)[len(_array_header(len(events))) :]
        self._append(piece, len(events))

    def add_packed(self, events: Sequence[msgspec.Raw]) -> None:
        """Add events that are encoded in MessagePack, at least one."""
        if self.as_json:
            self.add([Event(**msgspec.msgpack.decode(packed)) for packed in events])
        else:
            self._append(b"".join(events), len(events))

    def _append(self, piece: bytes, count: int) -> None:
        self.pieces.append(piece)
        self.count += count
        self.size += len(piece)

    def page(self, server: str, epoch: int, seq: int, missed: int | None, more: bool) -> bytes:
        """The result of `events`."""
        events = b"[%b]" % b",".join(self.pieces) if self.as_json else b"".join((_array_header(self.count), *self.pieces))
        page = {"server": server, "epoch": epoch, "seq": seq, "missed": missed, "more": more, "events": msgspec.Raw(events)}
        return (_JSON if self.as_json else _MSGPACK).encode(page)


def _json_events(events: list[Event]) -> bytes:
    """The events without the brackets of a list."""
    if all(map(_is_text, events)):
        return _JSON.encode(events)[1:-1]
    return b",".join([_JSON.encode(one) if _is_text(one) else wire.pack_json(msgspec.structs.asdict(one)) for one in events])


def _is_text(event: Event) -> bool:
    """Whether all headers are text, and none is repeated. A record has no others."""
    return isinstance(event.fields, msgspec.Struct) or _is_plain(event.fields)


def _array_header(length: int) -> bytes:
    header: bytes = msgpack.Packer().pack_array_header(length)
    return header


def _msgpack_pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Items):
        yield _array_header(value.length)
        yield from map(_MSGPACK.encode, value.packets)
    elif _has_items(value):
        yield msgpack.Packer().pack_map_header(len(value))
        for name, one in value.items():
            yield _MSGPACK.encode(name)
            yield from _msgpack_pieces(one)
    else:
        yield _MSGPACK.encode(value)


def _has_items(value: Any) -> bool:
    return isinstance(value, Items) or (isinstance(value, dict) and Items in map(type, value.values()))


def _json_pieces(value: Any) -> Iterator[bytes]:
    if _is_small(value):
        yield _encode_json(value)
    elif isinstance(value, dict):
        yield b"{"
        for number, (name, one) in enumerate(value.items()):
            yield (b"," if number else b"") + _encode_json(name) + b":"
            yield from _json_pieces(one)
        yield b"}"
    else:
        yield b"["
        for number, one in enumerate(value.packets if isinstance(value, Items) else value):
            yield b"," if number else b""
            yield from _json_pieces(one)
        yield b"]"


def _encode_json(value: Any) -> bytes:
    try:
        return _JSON.encode(value) if _is_plain(value) else wire.pack_json(value)
    except UnicodeEncodeError:  # a caller's own ActionID may have lone surrogates
        return wire.pack_json(value)


def _is_small(value: Any) -> bool:
    left, containers = PIECE_ITEMS, [value]
    while containers:
        container = containers.pop()
        if isinstance(container, Items):
            return False
        if isinstance(container, dict | list):
            left -= len(container)
            if left < 0:
                return False
            inner = container.values() if isinstance(container, dict) else container
            containers += [one for one in inner if isinstance(one, dict | list | Items)]
    return True


def _is_plain(value: Any) -> bool:
    """Whether all values of a packet, or a part of it, are text or numbers;
    msgspec would write bytes as base64."""
    if isinstance(value, dict):
        return _PLAIN.issuperset({*map(type, value), *map(type, value.values())})
    return _PLAIN.issuperset(map(type, value)) if isinstance(value, list) else type(value) in _PLAIN
