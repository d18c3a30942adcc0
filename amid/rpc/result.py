"""A result in MessagePack or JSON, in pieces that take a millisecond or two each, so that a large answer holds up nobody.

Readers encode results, in the codec of the request, and the broker puts them into replies as they are. In JSON, packets in UTF-8,
nearly all, are encoded by msgspec; the others by the standard library, which is ten times as slow and knows the lone surrogates
that stand for odd bytes in the contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgpack
import msgspec

from amid import wire

PIECE = 100
"""Items in one piece of JSON at most, those of maps and lists inside included."""

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()
_PLAIN = {str, int, float, bool, type(None)}


class Items(NamedTuple):
    """A list whose packets are made one by one, when it is their turn."""

    length: int
    packets: Iterator[Any]


def pieces(value: Any, as_json: bool) -> Iterator[bytes]:
    """Joined, they are the encoded `value`: a map, whose members may be `Items`, or `Items`."""
    return _json_pieces(value) if as_json else _msgpack_pieces(value)


def replay(events: Sequence[bytes], more: bool, as_json: bool) -> bytes:
    """The result of `replay` around events that are encoded already."""
    if as_json:
        return b"".join((b'{"events":[', b",".join(events), b'],"more":', _encode_json(more), b"}"))
    return wire.packed_replay(list(events), more)


def json_event(packed: bytes) -> bytes:
    """The JSON of an event from its MessagePack."""
    return b"".join(_json_pieces(wire.unpack(packed)))


def _msgpack_pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, Items):
        yield msgpack.Packer().pack_array_header(value.length)
        yield from map(_MSGPACK.encode, value.packets)
    elif isinstance(value, dict) and any(isinstance(one, Items) for one in value.values()):
        yield msgpack.Packer().pack_map_header(len(value))
        for name, one in value.items():
            yield _MSGPACK.encode(name)
            yield from _msgpack_pieces(one)
    else:
        yield _MSGPACK.encode(value)


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
    left, containers = PIECE, [value]
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
    """Whether it is a packet, or a part of one, in which all is text or numbers: msgspec would write bytes as base64."""
    if isinstance(value, dict):
        return _PLAIN.issuperset({*map(type, value), *map(type, value.values())})
    return _PLAIN.issuperset(map(type, value)) if isinstance(value, list) else type(value) in _PLAIN
