"""An encoded result matches the contract, and each portion is small."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid import wire
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


@pytest.mark.parametrize("as_json", [True, False])
def test_a_page_of_events_is_encoded(as_json: bool) -> None:
    body = {"server": "pbx1", "epoch": 1, "seq": 2, "prev": 1, "time": 1.5, "event": "X", "fields": {"A": b"\xfc"}}
    events = result.EncodedEvents(as_json)
    for count in (1, 20, 1):
        events.add(count, wire.pack([body] * count))
    page = result.EventsPage("pbx1", 1, 2, None, True).encode(events)
    odd = "\udcfc" if as_json else b"\xfc"
    head = {"server": "pbx1", "epoch": 1, "seq": 2, "missed": None, "more": True}
    found = (wire.unpack_json if as_json else wire.unpack)(page)
    assert found == {**head, "events": [{**body, "fields": {"A": odd}}] * 22} and events.count == 22


@pytest.mark.parametrize("as_json", [True, False])
def test_an_empty_page_is_encoded(as_json: bool) -> None:
    page = result.EventsPage("pbx1", 1, 2, 0, False).encode(result.EncodedEvents(as_json))
    found = (wire.unpack_json if as_json else wire.unpack)(page)
    assert found == {"server": "pbx1", "epoch": 1, "seq": 2, "missed": 0, "more": False, "events": []}
