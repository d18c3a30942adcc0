"""An encoded result matches the contract, and each portion is small."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid import wire
from amid.events.message import Event
from amid.rpc import result
from amid.rpc.result import Items

TEXT = st.text() | st.binary()
PACKETS = st.dictionaries(TEXT, TEXT | st.lists(TEXT), max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.dictionaries(st.text(), st.none() | st.booleans() | NUMBERS | TEXT | PACKETS | st.lists(PACKETS | TEXT))


def encoded(value: Any, as_json: bool) -> bytes:
    return b"".join(result.pieces(value, as_json))


@given(RESULTS)
@settings(deadline=None)
def test_incremental_json_equals_json_encoded_at_once(value: dict[str, Any]) -> None:
    reply = wire.json_result("an id", encoded(value, True))
    assert wire.unpack_json(reply) == wire.unpack_json(wire.pack_json(wire.result("an id", value)))


@pytest.mark.parametrize("as_json", [True, False])
@given(packets=st.lists(PACKETS))
@settings(deadline=None)
def test_packets_are_encoded_one_by_one(as_json: bool, packets: list[Any]) -> None:
    whole = {"server": "pbx1", "events": packets, "complete": None}
    made = encoded({**whole, "events": Items(len(packets), iter(packets))}, as_json)
    assert made == wire.pack(whole) if not as_json else wire.unpack_json(made) == wire.unpack_json(wire.pack_json(whole))


def test_bytes_are_lone_surrogates_in_json() -> None:
    packet = {b"N\xfcme": b"\xfc", "own": "\udcff", "text": "ü"}
    assert encoded(packet, True) == wire.pack_json(packet)


PACKET: dict[Any, Any] = {f"Header-{number}": "value" for number in range(20)}
LARGE = {
    "a list of packets": {"events": [{b"N\xfcme": b"\xfc", **PACKET}] * 5000},
    "packets made one by one": {"events": Items(5000, iter([{b"N\xfcme": b"\xfc", **PACKET}] * 5000))},
    "one packet": {"response": {f"N\xfcme-{number}".encode("latin-1"): b"\xfc" for number in range(50_000)}},
    "lines": {"output": [b"\xfc" * 50] * 50_000},
    "a header that is repeated": {"events": [{"Variable": [b"\xfc" * 20] * 50_000}]},
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_a_large_result_is_encoded_in_small_portions(value: Any) -> None:
    pieces = list(result.pieces(value, True))
    assert max(map(len, pieces)) < 20_000
    wire.unpack_json(b"".join(pieces))


FIELDS: list[tuple[Any, dict[str, Any]]] = [
    ({"A": "Gr\xfc\xdfe \u2713"}, {"A": "Gr\xfc\xdfe \u2713"}),
    (msgspec.defstruct("Record", [("value0", str)], rename={"value0": "Cause-txt"})("x"), {"Cause-txt": "x"}),
    ({"A": ["x", "y"]}, {"A": ["x", "y"]}),
    ({"A": b"\xfc", b"\xfc": "x"}, {"A": "\udcfc", "\udcfc": "x"}),
]
"""Headers as the field parser gives them, and as a caller in JSON gets them."""


@pytest.mark.parametrize("as_json", [True, False])
@given(st.lists(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4), max_size=4))
def test_a_page_of_events_is_encoded(as_json: bool, reads: list[list[tuple[Any, dict[str, Any]]]]) -> None:
    body = {"server": "pbx1", "epoch": 1, "seq": 2, "prev": 1, "time": 1.5, "event": "X"}
    events = result.EncodedEvents(as_json)
    for read in reads:
        events.add([Event(**body, fields=fields) for fields, _ in read])  # type: ignore[arg-type]
    page = events.page("pbx1", 1, 2, None, True)
    found = wire.unpack_json(page) if as_json else wire.unpack_json(wire.pack_json(wire.unpack(page)))
    expected = [{**body, "fields": fields} for read in reads for _, fields in read]
    assert found == {"server": "pbx1", "epoch": 1, "seq": 2, "missed": None, "more": True, "events": expected}
    assert events.count == len(expected)


@pytest.mark.parametrize("as_json", [True, False])
def test_an_empty_page_is_encoded(as_json: bool) -> None:
    page = result.EncodedEvents(as_json).page("pbx1", 1, 2, 0, False)
    found = (wire.unpack_json if as_json else wire.unpack)(page)
    assert found == {"server": "pbx1", "epoch": 1, "seq": 2, "missed": 0, "more": False, "events": []}
