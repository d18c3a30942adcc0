"""Decoding a request in one step gives the result of the two-step slow path, which handles
everything that it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amid import wire
from amid.errors import AmidError
from amid.rpc.requests import ActionParams, Cursor, EventsParams, Params, Request, check_request, decode_valid
from tests.rpc.test_requests import NO_REQUEST, WRONG_PARAMS, action


def carefully(payload: bytes) -> Request | AmidError:
    try:
        return check_request(wire.decode_request(payload))
    except AmidError as error:
        return error


def judge(payload: bytes) -> bool:
    """Whether it is decoded in one step; if so, equal to the two-step result."""
    fast = decode_valid(payload, wire.is_json(payload))
    if fast is None:
        return False
    slow = carefully(payload)
    assert not isinstance(slow, AmidError), f"{payload!r} was refused: {slow}"
    assert isinstance(fast[1], Params)
    assert written(fast) == written(slow), payload
    return True


def written(request: Request) -> str:
    """With the types of the numbers, and the order of the fields."""
    method, params, request_id, token = request
    return repr((method, msgspec.structs.asdict(params), request_id, token))


def encodings(value: Any) -> Iterator[bytes]:
    """The value in each codec that has its types."""
    for encode in (msgpack.packb, json.dumps):
        try:
            encoded = encode(value)
        except (TypeError, OverflowError, UnicodeEncodeError):
            continue
        yield encoded if isinstance(encoded, bytes) else encoded.encode()


VALID = {
    "an action": action(),
    "an action with everything": action(
        fields={"Variable": ["a=1", 2, 0.5, True], "Async": True, "é": "é", "Timeout": 30000},
        server="pbx1",
        timeout=1,
        until="OriginateResponse",
    )
    | {"id": "seven", "jsonrpc": "2.0", "on_behalf_of": "web"},
    "events": {
        "id": 7,
        "method": "events",
        "params": {"after": {"epoch": 1, "seq": 0}, "names": ["Hangup"], "limit": 5, "timeout": 2.5},
    },
    "a cancel": {"method": "cancel", "params": {"id": 0.5}},
    **{method: {"id": 0.5, "method": method} for method in wire.METHODS if method not in ("action", "events", "cancel")},
}


@pytest.mark.parametrize("value", VALID.values(), ids=VALID)
def test_a_valid_request_is_decoded_in_one_step(value: Any) -> None:
    assert [judge(payload) for payload in encodings(value)] == [True, True]


def test_params_are_decoded() -> None:
    for payload in encodings(action(fields={"X": "1"})):
        (method, params, *_) = decode_valid(payload, wire.is_json(payload)) or pytest.fail("not decoded")
        assert method == "action" and isinstance(params, ActionParams) and params.fields == {"X": "1"}
    expected = EventsParams(after=Cursor(1, 0), names=["Hangup"], limit=5, timeout=2.5)
    for payload in encodings(VALID["events"]):
        assert decode_valid(payload, wire.is_json(payload)) == ("events", expected, 7, None)


def test_fields_of_two_requests_are_not_shared() -> None:
    for payload in encodings(action()):
        one, two = (decode_valid(payload, wire.is_json(payload)) for _ in range(2))
        assert one is not None and two is not None
        assert isinstance(one[1], ActionParams) and isinstance(two[1], ActionParams)
        assert one[1].fields is not two[1].fields


REFUSED = {**NO_REQUEST, **WRONG_PARAMS}


@pytest.mark.parametrize("value", [value for value, _ in REFUSED.values()], ids=list(REFUSED))
def test_invalid_requests_are_left_to_the_slow_path(value: Any) -> None:
    payloads = list(encodings(value)) or [wire.pack(value)]  # text with a surrogate, which msgpack writes only when told how
    assert [decode_valid(payload, wire.is_json(payload)) for payload in payloads] == [None] * len(payloads)


UNKNOWN = [{"method": name} for name in ("", "Ping", "ping ", "rpc.discover", "none")]


@pytest.mark.parametrize("value", UNKNOWN, ids=str)
def test_an_unknown_method_is_left_to_the_slow_path(value: Any) -> None:
    assert [judge(payload) for payload in encodings(value)] == [False, False]


def test_a_request_with_too_many_items_is_left_to_the_slow_path() -> None:
    payload = msgpack.packb(action(fields={"X": "x" * wire.MAX_ITEMS}))
    assert decode_valid(payload, False) is None
    assert not isinstance(carefully(payload), AmidError)


ODD = {
    "a number too large, in an unused member": b'{"method": "ping", "x": 1e999}',
    "a lone surrogate, in an unused member": b'{"method": "ping", "x": "\\ud800"}',
    "no UTF-8, in an unused member": b'{"method": "ping", "x": "\xff"}',
    "an unused member, nested too deep": b'{"method": "ping", "x": ' + b"[" * 40 + b"]" * 40 + b"}",
    "a timestamp as a key, in an unused member": b"\x82\xa6method\xa4ping\xa1x\x81\xd6\xff\0\0\0\1\1",
    "two methods": b'{"method": "ping", "method": "status"}',
    "two methods, packed": b"\x82\xa6method\xa4ping\xa6method\xa6status",
    "two methods with other members between them": b'{"id": 1, "method": "status", "params": {}, "method": "ping"}',
    "two ids": b'{"id": 1, "method": "ping", "id": 2}',
    "two params": b'{"method": "action", "params": {"action": "A"}, "params": {"action": "B"}}',
    "one field twice": b'{"method": "action", "params": {"action": "A", "fields": {"a": 1, "b": 2, "a": 3}}}',
    "minus zero": b'{"id": -0, "method": "ping"}',
    "minus 0.0": b'{"id": -0.0, "method": "ping"}',
    "an id of 20 digits": b'{"id": 99999999999999999999, "method": "ping"}',
    "an id of 70 digits": b'{"id": ' + b"1" * 70 + b', "method": "ping"}',
    "a field of 30 digits": b'{"method": "action", "params": {"action": "A", "fields": {"a": ' + b"1" * 30 + b"}}}",
    "a whole number with a point": b'{"method": "events", "params": {"limit": 1.0, "after": {"epoch": 2e0, "seq": 0}}}',
    "a timeout of many digits": b'{"method": "action", "params": {"action": "A", "timeout": 0.1000000000000000055511151231257827}}',
    "a byte order mark": b'\xef\xbb\xbf{"method": "ping"}',
    "spaces around it": b' \r\n\t{"method": "ping"} \n',
    "something behind it": b'{"method": "ping"} x',
    "a comma too many": b'{"method": "ping",}',
    "a control character in text": b'{"method": "ping", "id": "\x01"}',
    "an id of odd bytes": b'{"id": "\\udcff", "method": "ping"}',
    "a field of odd bytes": b'{"method": "action", "params": {"action": "A", "fields": {"\\udcff": "\\udcfe"}}}',
    "a field of odd bytes, packed": b"\x82\xa6method\xa6action\xa6params\x82\xa6action\xa1A\xa6fields\x81\xa1X\xa1\xff",
    "a pair of surrogates": b'{"method": "ping", "id": "\\ud83d\\ude00"}',
    "keys that are bytes": b"\x81\xc4\x06method\xc4\x04ping",
    "an id in half precision": b"\x82\xa2id\xca\x3f\x00\x00\x00\xa6method\xa4ping",
    "an id that is NaN": b"\x82\xa2id\xcb\x7f\xf8\0\0\0\0\0\0\xa6method\xa4ping",
    "an id that is NaN, as JSON": b'{"id": NaN, "method": "ping"}',
    "an id of 2**64 - 1": b"\x82\xa2id\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa6method\xa4ping",
    "nothing": b"",
    "nested too deep": b'{"method": "action", "params": {"action": "A", "fields": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
}


@pytest.mark.parametrize("payload", ODD.values(), ids=ODD)
def test_unusual_requests_give_the_same_result(payload: bytes) -> None:
    judge(payload)


# ── whatever comes ──

numbers = st.integers(-(2**64), 2**66) | st.floats() | st.sampled_from([0, 1, 5, 3600, 3601, 0.5, -0.0, 1e300, 10**64, 2**63])
scalars = (
    st.none() | st.booleans() | numbers | st.text(max_size=20) | st.sampled_from(["pbx1", "Ping", "x\r\ny", "x" * 65, "é" * 33])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5
)
NAMES = ["action", "fields", "server", "timeout", "until", "epoch", "after", "limit", "id"]
plain = st.dictionaries(
    st.text(max_size=5), st.text() | st.integers() | st.lists(st.text() | st.booleans(), max_size=3), max_size=3
)
params = st.lists(
    st.tuples(st.just("action"), st.text(max_size=5))
    | st.tuples(st.just("fields"), plain)
    | st.tuples(st.sampled_from(NAMES), values),
    max_size=5,
)


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """The members of a request, as pairs: some come twice."""
    inside = draw(params)
    members = [("method", draw(st.sampled_from(wire.METHODS))), ("params", Pairs(inside))]
    others = st.tuples(st.sampled_from(["id", "jsonrpc", "on_behalf_of", "method", "params", "x"]), values | st.just("2.0"))
    return list(draw(st.permutations(members + draw(st.lists(others, max_size=3)))))


class Pairs(list[tuple[str, Any]]):
    """A map that may have a key twice."""


def as_json(value: Any, ascii_only: bool) -> str:
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {as_json(one, ascii_only)}" for key, one in value) + "}"
    return json.dumps(value, ensure_ascii=ascii_only)


def packed(value: Any) -> bytes:
    if isinstance(value, Pairs):
        pairs = b"".join(msgpack.packb(key) + packed(one) for key, one in value)
        return bytes(msgpack.Packer().pack_map_header(len(value))) + pairs
    return bytes(msgpack.packb(value))


@given(requests(), st.booleans())
@settings(max_examples=200)
@example([("method", "action"), ("params", Pairs([("action", "Ping"), ("timeout", 5)]))], True)
def test_any_json_gives_the_same_result(members: list[tuple[str, Any]], ascii_only: bool) -> None:
    judge(as_json(Pairs(members), ascii_only).encode("utf-8", "surrogatepass"))


@given(requests())
@settings(max_examples=200)
def test_any_messagepack_gives_the_same_result(members: list[tuple[str, Any]]) -> None:
    try:
        payload = packed(Pairs(members))
    except OverflowError:  # MessagePack has no such integers
        return
    judge(payload)


SEEDS = [payload for value in VALID.values() for payload in encodings(value)]


@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=2)), min_size=1, max_size=3)
)
@settings(max_examples=200)
def test_any_damaged_request_gives_the_same_result(seed: bytes, damage: list[tuple[float, int, bytes]]) -> None:
    payload = bytearray(seed)
    for where, size, put in damage:
        at = int(where * len(payload))
        payload[at : at + size] = put
    judge(bytes(payload))
