"""The codecs of the wire: a request is decoded or refused with one kind of error, and every byte survives the round trip."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from amid import wire
from amid.errors import CODES, ActionFailed, AmidError, CallTimeout

calm = settings(deadline=None)
"""No time limit on an example: the machine may be busy, and none of this is about time."""


def refused(data: bytes) -> str:
    with pytest.raises(AmidError) as caught:
        wire.decode_request(data)
    assert (caught.value.kind, caught.value.sent) == ("parse_error", False)
    return caught.value.message


DETECTED = {
    "JSON map": (b'{"id": 1}', True, {"id": 1}),
    "JSON behind spaces": (b' \r\n\t{"id": 1}\n', True, {"id": 1}),
    "JSON list": (b"[1]", True, [1]),
    "fixmap": (b"\x81\xa2id\x01", False, {"id": 1}),
    "map 16": (b"\xde\x00\x01\xa2id\x01", False, {"id": 1}),
    "map 32": (b"\xdf\x00\x00\x00\x01\xa2id\x01", False, {"id": 1}),
    "fixarray": (b"\x91\x01", False, [1]),
}


@pytest.mark.parametrize(("data", "is_json", "value"), DETECTED.values(), ids=DETECTED)
def test_the_first_byte_tells_the_codec(data: bytes, is_json: bool, value: Any) -> None:
    assert wire.is_json(data) is is_json
    assert wire.decode_request(data) == value


REFUSED = {
    "nothing": (b"", "not JSON"),
    "half a JSON map": (b'{"id": 1', "not JSON"),
    "JSON and more": (b"{} {}", "not JSON"),
    "JSON in Latin-1": (b'{"id": "\xe9"}', "not JSON"),
    "JSON in UTF-16": ('{"id": 1}'.encode("utf-16-le"), "not JSON"),
    "a surrogate in raw UTF-8": (b'{"id": "\xed\xa0\x80"}', "not JSON"),
    "a surrogate that is no byte": (b'{"id": "\\ud800"}', "not JSON"),
    "a surrogate that is no byte, as a key": (b'{"\\uD800": 1}', "not JSON"),
    "half a pair": (b'{"id": "\\ude00\\ud83d"}', "not JSON"),
    "NaN": (b'{"id": NaN}', "NaN is not JSON"),
    "Infinity": (b'{"id": -Infinity}', "-Infinity is not JSON"),
    "a number that no float holds": (b'{"id": 1e999}', "too large"),
    "a number of 5,000 digits": (b"[" + b"1" * 5000 + b"]", "not JSON"),
    "a MessagePack number": (b"\x07", "not JSON"),
    "half a MessagePack map": (b"\x81\xa2id", "not MessagePack"),
    "MessagePack and more": (b"\x80\x80", "not MessagePack"),
    "the unused byte": (b"\xc1", "not MessagePack"),
    "a list as a key": (b"\x81\x90\x01", "not MessagePack"),
    "a huge list that is not there": (b"\xdd\xff\xff\xff\xff", "not MessagePack"),
    "a huge text that is not there": (b"\xdb\xff\xff\xff\xff", "not MessagePack"),
    "noise": (bytes(range(255, -1, -1)) * 4096, "not MessagePack"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_requests_are_parse_errors(data: bytes, message: str) -> None:
    assert message in refused(data)


def nested(levels: int, codec: str, kind: str, inner: Any = 1) -> bytes:
    parts = {
        ("json", "list"): (b"[", b"]", b"1"),
        ("json", "map"): (b'{"a":', b"}", b"1"),
        ("msgpack", "list"): (b"\x91", b"", b"\x01"),
        ("msgpack", "map"): (b"\x81\xa1a", b"", b"\x01"),
    }
    before, after, core = parts[codec, kind]
    return before * levels + core + after * levels


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("kind", ["list", "map"])
def test_nesting_is_limited(codec: str, kind: str) -> None:
    assert wire.decode_request(nested(32, codec, kind))
    assert "nested too deep" in refused(nested(33, codec, kind))
    assert refused(nested(100_000, codec, kind))


@pytest.mark.parametrize("empty", [b"[" * 32 + b"]" * 32, b"\x91" * 31 + b"\x90", b"\x91" * 31 + b"\x80"])
def test_an_empty_list_is_a_level_too(empty: bytes) -> None:
    assert wire.decode_request(empty)
    assert refused(b"[" + empty + b"]" if empty[:1] == b"[" else b"\x91" + empty)


def test_wide_values_are_not_deep() -> None:
    assert len(wire.decode_request(json.dumps([[1]] * 5_000).encode())) == 5_000


@pytest.mark.parametrize("pack", [msgpack.packb, lambda value: json.dumps(value).encode()], ids=["msgpack", "json"])
@pytest.mark.parametrize(
    "wide",
    [[[]] * 20_001, [1] * 20_002, {"a": [[[]] * 150] * 150}, {str(n): {} for n in range(20_001)}],
    ids=["lists", "numbers", "tree", "map"],
)
def test_the_number_of_items_in_a_request_is_limited(wide: Any, pack: Callable[[Any], bytes]) -> None:
    """The decoder stops early: a huge request would block the broker."""
    assert refused(pack(wide))
    assert wire.decode_request(pack([1] * 19_999))


# ── every byte survives ─────────────────────────────────────────────────────────────────────────

ODD = [b"caf\xe9", bytes(range(128, 256)), b"\xed\xa0\x80", b"\xf0\x9f\x98"]


@pytest.mark.parametrize("odd", ODD)
def test_bytes_are_lone_surrogates_in_json_and_survive(odd: bytes) -> None:
    out = wire.pack_json({"Name": odd, "List": [odd, "é"]})
    assert out.isascii()
    back = wire.decode_request(out)
    assert back["Name"].encode("utf-8", "surrogateescape") == odd
    assert back["List"] == [back["Name"], "é"]
    assert wire.pack_json(back) == out


@pytest.mark.parametrize("odd", ODD)
def test_bytes_as_a_headers_name(odd: bytes) -> None:
    [key] = wire.decode_request(wire.pack_json({"fields": {odd: odd}}))["fields"].items()
    assert [part.encode("utf-8", "surrogateescape") for part in key] == [odd, odd]
    assert wire.decode_request(wire.pack({"fields": {odd: odd}})) == {"fields": {odd: odd}}


@pytest.mark.parametrize("odd", ODD)
def test_msgpack_text_that_is_not_utf_8_keeps_its_bytes(odd: bytes) -> None:
    """As some languages send it: a `str` with any bytes."""
    value = wire.decode_request(msgpack.packb({"id": odd}, use_bin_type=False))["id"]
    assert isinstance(value, str) and value.encode("utf-8", "surrogateescape") == odd
    assert wire.unpack(wire.pack({"id": value})) == {"id": value}, "an odd id must not break its answer"
    assert json.loads(wire.pack_json({"id": value}))["id"] == value


def test_msgpack_bin_and_text_stay_distinct() -> None:
    value = {"a": b"x", b"b": "x", "c": [b"\xff"]}
    assert wire.unpack(wire.pack(value)) == value


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**64), 10**300])
def test_huge_whole_numbers_in_json(number: int) -> None:
    assert wire.decode_request(wire.pack_json({"id": number})) == {"id": number}


def test_values_that_json_cannot_hold_are_errors() -> None:
    with pytest.raises(TypeError, match="JSON"):
        wire.pack_json({"x": object()})


scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False))
escaped = st.text(st.characters(codec="utf-8")) | st.binary().map(lambda b: b.decode("utf-8", "surrogateescape"))
values = st.recursive(scalars | escaped, lambda v: st.lists(v, max_size=4) | st.dictionaries(escaped, v, max_size=4), max_leaves=12)


@calm
@given(st.dictionaries(escaped, values))
def test_a_value_survives_both_codecs(value: dict[str, Any]) -> None:
    assert wire.decode_request(wire.pack(value)) == value
    assert wire.decode_request(wire.pack_json(value)) == value


beginnings = st.sampled_from([b"", b"\x82\xa2id", b"\x91", b'{"id":', b'["\\u', b"[1e"])


@calm
@given(st.tuples(beginnings, st.binary()).map(b"".join))
@example(b"\xc7\x00\xff")
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00")
def test_any_bytes_decode_or_are_a_parse_error(data: bytes) -> None:
    try:
        wire.decode_request(data)
    except AmidError as error:
        assert error.kind == "parse_error"
        wire.pack_json(wire.error(None, error))
        wire.pack(wire.error(None, error))


# ── replies, errors, topics ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_survives_encoding(as_json: bool) -> None:
    failure = AmidError("action_failed", "no", sent=True, server="pbx1", action_id="a", response={"Message": b"\xe9"})
    data = wire.encode_reply(wire.error(7, failure), as_json)
    reply = wire.unpack_json(data) if as_json else wire.unpack(data)
    assert (reply["jsonrpc"], reply["id"], reply["error"]["code"]) == ("2.0", 7, 1)
    back = AmidError.of(reply["error"])
    assert isinstance(back, ActionFailed) and str(back) == "no"
    assert (back.kind, back.sent, back.server, back.action_id) == ("action_failed", True, "pbx1", "a")
    assert back.response == {"Message": "\udce9" if as_json else b"\xe9"}


def test_a_call_timeout_is_a_timeout_error() -> None:
    back = AmidError.of(wire.error(1, AmidError("timeout", "late"))["error"])
    assert isinstance(back, CallTimeout) and isinstance(back, TimeoutError) and back.sent is False


@pytest.mark.parametrize("error", [{}, {"message": "x"}, {"code": 99, "data": None}, {"data": {"kind": "new"}}])
def test_an_error_of_an_unknown_kind_may_have_been_sent(error: dict[str, Any]) -> None:
    back = AmidError.of(error)
    assert back.sent is True and back.message


def test_error_codes_are_distinct_and_unknown_details_are_omitted() -> None:
    assert len(set(CODES.values())) == len(CODES)
    assert AmidError("busy", "x").data() == {"kind": "busy", "sent": False}


def test_topics_end_in_a_dot_so_that_a_name_is_not_the_prefix_of_another() -> None:
    assert wire.event_topic("pbx1", "Hangup") == b"event.pbx1.Hangup."
    assert not wire.event_topic("pbx1", "HangupRequest").startswith(wire.event_topic("pbx1", "Hangup"))
    assert not wire.stream_topic("pbx10").startswith(wire.stream_topic("pbx1"))
    assert not wire.tick_topic("pbx10").startswith(wire.tick_topic("pbx1"))


@calm
@given(values, escaped | scalars)
def test_a_result_packed_in_parts_equals_the_result(value: Any, request_id: Any) -> None:
    assert wire.packed_result(request_id, wire.pack(value)) == wire.pack(wire.result(request_id, value))


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert wire.is_json(b"\xef\xbb\xbf{}") and wire.decode_request(b'\xef\xbb\xbf{"id": 1}') == {"id": 1}
