"""The wire format of requests, replies and events on the ZeroMQ sockets. The contract for client
authors is clients/README.md.

A request is one ZeroMQ message, MessagePack or JSON, distinguished by its first byte; the reply has
the same encoding. An event message has two frames: the topic, and a MessagePack array of events.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterable
from typing import Any

import msgpack

from amid.errors import CODES, AmidError

RPC_SOCKET = "rpc"
READERS_SOCKET = "readers"
"""Names of the socket files in run_dir. Each server also has `events-<server>`, `stream-<server>`,
`trace-<server>` and `state-<server>`."""

TICK = "amid:tick"
METHODS = ("action", "servers", "status", "actions", "events", "state", "calls", "call", "cancel", "audit", "restart", "ping")

STATE_KINDS = {
    "channel": "channels",
    "call": "calls",
    "bridge": "bridges",
    "queue": "queues",
    "member": "members",
    "caller": "callers",
    "device": "devices",
    "hint": "hints",
    "contact": "contacts",
    "registration": "registrations",
    "parked": "parked",
    "conference": "conferences",
    "participant": "participants",
}
"""Kinds of things in the state of a PBX: the name in a change -> the name of the list in the result
of the method `state`."""

MAX_REQUEST_BYTES = 1024 * 1024
"""The largest request in bytes that a client sends. An action has at most 128 headers of 1,022
bytes; the daemon may close the connection of a client that sends more."""
MAX_NESTING = 32
"""The deepest nesting of maps and lists in a request; no method needs more than four levels."""
MAX_ITEMS = 20_000
"""The largest number of maps, lists and their items in a request. Asterisk accepts 128 headers.
Decoding 1 MiB of empty lists took 0.3 s, in which the broker answered no other request."""


# ── endpoints and topics ────────────────────────────────────────────────────────────────────────


def ipc(run_dir: str, name: str) -> str:
    """The ZeroMQ endpoint of the socket file `name` in `run_dir`."""
    return f"ipc://{run_dir}/{name}"


def is_ipv6(endpoint: str) -> bool:
    """Whether a socket needs ZMQ_IPV6 for this endpoint, an address in brackets (zmq_tcp(7))."""
    return endpoint.startswith("tcp://[")


def events_socket(server: str) -> str:
    return f"events-{server}"


def stream_socket(server: str) -> str:
    return f"stream-{server}"


def state_socket(server: str) -> str:
    return f"state-{server}"


def trace_socket(server: str) -> str:
    return f"trace-{server}"


def event_topic(server: str, event: str) -> bytes:
    """The topic of an event. ZeroMQ subscribes to prefixes; the final dot makes an exact
    subscription possible."""
    return f"event.{server}.{event}.".encode()


def stream_topic(server: str) -> bytes:
    return f"stream.{server}.".encode()


def raw_topic(server: str) -> bytes:
    return f"raw.{server}.".encode()


def tick_topic(server: str) -> bytes:
    return f"tick.{server}.".encode()


def state_topic(server: str, kind: str) -> bytes:
    """kind: of STATE_KINDS, or `reset`."""
    return f"state.{server}.{kind}.".encode()


def trace_topic(server: str) -> bytes:
    return f"trace.{server}.".encode()


# ── codecs ──────────────────────────────────────────────────────────────────────────────────────


def pack(value: Any) -> bytes:
    """Encode as MessagePack. Text that is not valid UTF-8 is encoded as `bin`."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpack(data: bytes) -> Any:
    """Decode MessagePack. A `str` that is not valid UTF-8, as some languages send it, keeps its
    bytes as lone surrogates.

    Keys of maps must be text or bytes: timestamps as keys would allow a client to construct hash
    collisions that stop the broker.
    """
    return msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=True)


def _unpack_request(data: bytes) -> Any:
    """`unpack` for untrusted bytes: stops at the first item over `MAX_ITEMS`. An item has at least
    one byte."""
    if len(data) <= MAX_ITEMS:
        return unpack(data)
    left = MAX_ITEMS

    def counted(container: Any) -> Any:
        nonlocal left
        left -= 1 + len(container)
        if left < 0:
            raise _too_many()
        return container

    hooks = {"list_hook": counted, "object_hook": counted}
    limits = dict.fromkeys(("max_array_len", "max_map_len"), MAX_ITEMS)  # hooks run at a container's end: limit its length too
    return msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=True, **hooks, **limits)


def _unpack_json_request(data: bytes) -> Any:
    """The same for JSON, counted before decoding. Separators inside strings count too: no header
    has that many."""
    if len(data) > MAX_ITEMS and sum(map(data.count, (b",", b"[", b"{"))) > MAX_ITEMS:
        raise _too_many()
    return unpack_json(data)


def _too_many() -> AmidError:
    return AmidError("parse_error", f"the request has over {MAX_ITEMS} items; an action has at most 128 headers")


def pack_json(value: Any) -> bytes:
    """Encode as JSON in ASCII. Bytes that are not valid UTF-8 become the lone surrogates U+DC80 to
    U+DCFF (PEP 383)."""
    try:
        return json.dumps(value, default=_surrogates).encode()
    except TypeError:  # the name of a header is not UTF-8: keys are not passed to `default`
        return json.dumps(_text_keys(value)).encode()


def _surrogates(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} cannot be encoded as JSON")


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text_keys(k): _text_keys(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_text_keys(v) for v in value]
    return _surrogates(value) if isinstance(value, bytes) else value


def unpack_json(data: bytes) -> Any:
    """Decode JSON in UTF-8.

    Raises `ValueError` for invalid JSON, and for values that could not be encoded again: NaN, a
    number too large for a float, and a lone surrogate that does not stand for a byte.
    """
    text = data.removeprefix(codecs.BOM_UTF8).decode()
    value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


# ── requests ────────────────────────────────────────────────────────────────────────────────────


def is_json(data: bytes) -> bool:
    """Whether a request is JSON: a MessagePack map or array begins with a byte over 127, JSON text
    never does."""
    return not data or data[0] < 0x80 or data.startswith(codecs.BOM_UTF8)


def decode_request(data: bytes) -> Any:
    """Decode a request. Raises `AmidError` of kind `parse_error`."""
    codec = "JSON" if is_json(data) else "MessagePack"
    try:
        value = _unpack_json_request(data) if is_json(data) else _unpack_request(data)
    except RecursionError:
        raise AmidError("parse_error", f"the request is nested too deep; {MAX_NESTING} levels are allowed") from None
    except AmidError:
        raise
    except Exception as error:  # each codec has its own exceptions, all caused by the bytes
        raise AmidError("parse_error", f"the request is not {codec}: {str(error) or type(error).__name__}") from None
    if _nesting(value) > MAX_NESTING:
        raise AmidError("parse_error", f"the request is nested too deep; {MAX_NESTING} levels are allowed")
    return value


def _nesting(value: Any) -> int:
    """Levels of maps and lists, counted without recursion because the value is untrusted."""
    depth, level = 0, _containers([value])
    while level and depth <= MAX_NESTING:
        level = [inner for outer in level for inner in _containers(outer.values() if isinstance(outer, dict) else outer)]
        depth += 1
    return depth


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def result(request_id: Any, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def error(request_id: Any, failure: AmidError) -> dict[str, Any]:
    body = {"code": CODES[failure.kind], "message": failure.message, "data": failure.data()}
    return {"jsonrpc": "2.0", "id": request_id, "error": body}


def packed_result(request_id: Any, packed: bytes) -> bytes:
    """The MessagePack of `result` around an encoded value, so that a large answer is not decoded on
    its way."""
    packed_id: bytes = _pack_id(request_id)
    return _RESULT_HEAD + packed_id + _RESULT_KEY + packed


def json_result(request_id: Any, encoded: bytes) -> bytes:
    """The same for a value that is already encoded as JSON."""
    return b'{"jsonrpc": "2.0", "id": %b, "result": %b}' % (pack_json(request_id), encoded)


def encode_reply(reply: dict[str, Any], as_json: bool) -> bytes:
    return pack_json(reply) if as_json else pack(reply)


_RESULT_HEAD = b"\x83" + pack("jsonrpc") + pack("2.0") + pack("id")  # a map of three: its first key and value, its second key
_RESULT_KEY = pack("result")
_pack_id = msgpack.Packer(unicode_errors="surrogateescape").pack  # `pack` without a new packer each time
