"""THE wire: how requests, results, errors and events look on the ZeroMQ sockets, and nothing else.

The contract for people who write clients is clients/README.md; this file is that contract in code. A request is one ZeroMQ message,
MessagePack or JSON, told apart by its first byte, and answered in kind. An event message has two frames, topic and body, and the
body is a MessagePack array of events.
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
"""Names of the socket files in run_dir; each server has `events-<server>`, `stream-<server>` and `trace-<server>` besides."""

TICK = "amid:tick"
METHODS = ("action", "servers", "status", "actions", "replay", "cancel", "audit", "restart", "ping")

MAX_REQUEST_BYTES = 1024 * 1024
"""Bytes of a request that a client sends at most. An action has 128 headers of 1,022 bytes, so a longer request is a mistake, and
the daemon may close its connection instead of answering."""
MAX_NESTING = 32
"""How deep a request's maps and lists may go; no method needs more than four."""
MAX_ITEMS = 20_000
"""Maps, lists and what is in them, in one request: Asterisk takes 128 headers. A mebibyte of empty lists took 0.3 s to decode, in
which the broker answered nobody."""


# ── endpoints and topics ────────────────────────────────────────────────────────────────────────


def ipc(run_dir: str, name: str) -> str:
    """The endpoint of the socket file `name` in `run_dir`."""
    return f"ipc://{run_dir}/{name}"


def is_ipv6(endpoint: str) -> bool:
    """Whether a socket needs ZMQ_IPV6 for it: an address in brackets (zmq_tcp(7))."""
    return endpoint.startswith("tcp://[")


def events_socket(server: str) -> str:
    return f"events-{server}"


def stream_socket(server: str) -> str:
    return f"stream-{server}"


def trace_socket(server: str) -> str:
    return f"trace-{server}"


def event_topic(server: str, event: str) -> bytes:
    """The final dot makes an exact subscription possible, since ZeroMQ subscribes to prefixes."""
    return f"event.{server}.{event}.".encode()


def stream_topic(server: str) -> bytes:
    return f"stream.{server}.".encode()


def tick_topic(server: str) -> bytes:
    return f"tick.{server}.".encode()


def trace_topic(server: str) -> bytes:
    return f"trace.{server}.".encode()


# ── codecs ──────────────────────────────────────────────────────────────────────────────────────


def pack(value: Any) -> bytes:
    """MessagePack. Text that came as bytes because it is not UTF-8 goes out as `bin`."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


def unpack(data: bytes) -> Any:
    """MessagePack. A `str` that is not UTF-8, as some languages send it, keeps its bytes as lone surrogates.

    A map's keys are text or bytes: whoever could choose timestamps could choose many with one hash, and stop the broker with them.
    """
    return msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=True)


def _unpack_request(data: bytes) -> Any:
    """`unpack` for what a stranger sent: it stops at the item that is one too many. No item is smaller than a byte."""
    if len(data) <= MAX_ITEMS:
        return unpack(data)
    left = MAX_ITEMS

    def counted(container: Any) -> Any:
        nonlocal left
        left -= 1 + len(container)
        if left < 0:
            raise _too_many()
        return container

    limits = {"max_array_len": MAX_ITEMS, "max_map_len": MAX_ITEMS}  # hooks are called at a container's end: it has a limit besides
    hooks = {"list_hook": counted, "object_hook": counted}
    return msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=True, **hooks, **limits)


def _unpack_json_request(data: bytes) -> Any:
    """The same for JSON, which is counted before it is decoded. In text, too, these signs count: no header has so many."""
    if len(data) > MAX_ITEMS and sum(map(data.count, (b",", b"[", b"{"))) > MAX_ITEMS:
        raise _too_many()
    return unpack_json(data)


def _too_many() -> AmidError:
    return AmidError("parse_error", f"the request has over {MAX_ITEMS} items; an action has 128 headers at most")


def pack_json(value: Any) -> bytes:
    """JSON in ASCII. Bytes that are not UTF-8 are the lone surrogates U+DC80 to U+DCFF (PEP 383)."""
    try:
        return json.dumps(value, default=_surrogates).encode()
    except TypeError:  # a header's name that is not UTF-8: keys do not pass through `default`
        return json.dumps(_text_keys(value)).encode()


def _surrogates(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text_keys(k): _text_keys(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_text_keys(v) for v in value]
    return _surrogates(value) if isinstance(value, bytes) else value


def unpack_json(data: bytes) -> Any:
    """JSON in UTF-8. Raises `ValueError`, also for NaN, for a number over what a float holds, and for a lone surrogate that
    stands for no byte: none of them could be given back."""
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
    """A MessagePack map or array begins with a byte over 127, JSON text never does."""
    return not data or data[0] < 0x80 or data.startswith(codecs.BOM_UTF8)


def decode_request(data: bytes) -> Any:
    """The value in a request. Raises `AmidError` of kind `parse_error`."""
    codec = "JSON" if is_json(data) else "MessagePack"
    try:
        value = _unpack_json_request(data) if is_json(data) else _unpack_request(data)
    except RecursionError:
        raise AmidError("parse_error", f"the request is nested too deep; {MAX_NESTING} levels are allowed") from None
    except AmidError:
        raise
    except Exception as error:  # each codec has its own family of them, all about the bytes
        raise AmidError("parse_error", f"the request is not {codec}: {str(error) or type(error).__name__}") from None
    if _nesting(value) > MAX_NESTING:
        raise AmidError("parse_error", f"the request is nested too deep; {MAX_NESTING} levels are allowed")
    return value


def _nesting(value: Any) -> int:
    """Levels of maps and lists, without recursion: the value is a stranger's."""
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
    """The MessagePack of `result` around a value that is packed already, so that a large answer is not taken apart on its way."""
    return _RESULT_HEAD + pack(request_id) + _RESULT_KEY + packed


def json_result(request_id: Any, encoded: bytes) -> bytes:
    """The same for a value that is in JSON already."""
    return b'{"jsonrpc": "2.0", "id": %b, "result": %b}' % (pack_json(request_id), encoded)


def packed_replay(events: list[bytes], more: bool) -> bytes:
    """The result of `replay` around events that are packed already."""
    return b"".join((_REPLAY_HEAD, msgpack.Packer().pack_array_header(len(events)), *events, _MORE_KEY, pack(more)))


def encode_reply(reply: dict[str, Any], as_json: bool) -> bytes:
    return pack_json(reply) if as_json else pack(reply)


_REPLAY_HEAD = b"\x82" + pack("events")  # a map of two, its first key
_MORE_KEY = pack("more")
_RESULT_HEAD = b"\x83" + pack("jsonrpc") + pack("2.0") + pack("id")  # a map of three, its first key, value and key
_RESULT_KEY = pack("result")
