"""A learned shape gives what header by header gives, to the letter; what is out of the ordinary never takes one wrongly."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amid.ami.burst import BLANK, Burst
from amid.ami.packet import parse_headers
from amid.ami.shapes import MOST, PER_NAME, WORTH, Fields, Shapes

PLAIN = b"Event: Newexten\r\nChannel: PJSIP/alice-1\r\nExten: \r\nAppData: a: b, c:d"


def learned(raw: bytes, event: str = "Newexten") -> Shapes:
    shapes = Shapes()
    for _ in range(WORTH):
        one(shapes, raw, event)
    return shapes


def one(shapes: Shapes, raw: bytes, event: str = "Newexten") -> Fields:
    (fields,) = shapes.fields(Burst(raw + BLANK, [event]))
    return fields


def plain(fields: Any) -> Any:
    """As whoever gets it sees it."""
    return msgpack.unpackb(msgspec.msgpack.encode(fields))


def header_by_header(raw: bytes) -> dict[Any, Any]:
    return {name: value for name, value in parse_headers(raw).items() if str(name).lower() != "event"}


def test_what_comes_often_is_learned() -> None:
    shapes = Shapes()
    seen = [one(shapes, PLAIN) for _ in range(WORTH + 1)]
    assert all(type(fields) is dict for fields in seen[:-1])
    assert isinstance(seen[-1], msgspec.Struct)
    assert [plain(fields) for fields in seen] == [header_by_header(PLAIN)] * (WORTH + 1)


VARIANTS = {
    "other values": b"Event: Newexten\r\nChannel: x\r\nExten: 100\r\nAppData: ",
    "not ASCII": "Event: Newexten\r\nChannel: é\r\nExten: \u2028\r\nAppData: \x85".encode(),
    "not UTF-8": b"Event: Newexten\r\nChannel: caf\xe9\r\nExten: 1\r\nAppData: 2",
    "CR in values": b"Event: Newexten\r\nChannel: \r\r\r\nExten: a\rb\r\nAppData: 2",
    "CR at the end": b"Event: Newexten\r\nChannel: 1\r\nExten: 1\r\nAppData: 2\r",
    "LF alone": b"Event: Newexten\nChannel: 1\nExten: 1\nAppData: 2",
    "LF in a value": b"Event: Newexten\r\nChannel: 1\r\nExten: 1\nAppData: 2\r\nAppData: 3",
    "another order": b"Event: Newexten\r\nExten: 1\r\nChannel: 1\r\nAppData: 2",
    "one less": b"Event: Newexten\r\nChannel: 1\r\nExten: 1",
    "one more": PLAIN + b"\r\nChanVariable: x=1",
    "one twice": PLAIN + b"\r\nAppData: x",
    "no space": b"Event: Newexten\r\nChannel: 1\r\nExten:1\r\nAppData: 2",
    "two spaces": b"Event: Newexten\r\nChannel:  1\r\nExten:  \r\nAppData: 2",
    "another Event": PLAIN + b"\r\nEvent: Hangup",
    "no headers": b"Event: Newexten",
}


@pytest.mark.parametrize("raw", VARIANTS.values(), ids=VARIANTS)
def test_each_variant_beside_a_learned_shape_is_what_it_is(raw: bytes) -> None:
    shapes = learned(PLAIN)
    for _ in range(WORTH + 2):
        assert plain(one(shapes, raw)) == plain(header_by_header(raw))


names = st.sampled_from(["A", "B-c", "Chan Variable(x)", "Event", "é", 'a"b', "D:e", "", "x.*", "["])
values = st.text(alphabet=st.sampled_from('aé:" \r\n\x00'), max_size=4)


@given(st.lists(st.tuples(names, values), max_size=4), st.lists(values, min_size=4, max_size=4))
def test_whatever_was_learned(headers: list[tuple[str, str]], others: list[str]) -> None:
    first, second = (
        "\r\n".join(["Event: X", *(f"{name}: {value}" for (name, _), value in zip(headers, given, strict=False))]).encode()
        for given in ([value for _, value in headers], others)
    )
    assume(all((raw + BLANK).index(BLANK) == len(raw) for raw in (first, second)))  # else it is no packet, or more than one
    shapes = learned(first, "X")
    for raw in (first, second):
        assert plain(one(shapes, raw, "X")) == plain(header_by_header(raw))


def test_events_of_a_burst_have_each_its_own() -> None:
    shapes = learned(PLAIN)
    for raws in ([PLAIN, *VARIANTS.values()], [PLAIN, b"Event: Newexten\r\nChannel: last", PLAIN]):
        fields = shapes.fields(Burst(b"".join(raw + BLANK for raw in raws), ["Newexten"] * len(raws)))
        assert list(map(plain, fields)) == [plain(header_by_header(raw)) for raw in raws]


def test_invented_shapes_are_neither_learned_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    monkeypatch.setattr(Shapes, "_know", lambda self, *what: learned.append(what))
    shapes = Shapes()
    for number in range(3 * MOST):
        one(shapes, b"Event: UserEvent\r\nUserEvent: x\r\nHeader%d: 1" % number, "UserEvent")
    assert not learned and len(shapes._seen) <= MOST


def test_of_one_event_a_few_shapes_are_learned() -> None:
    shapes = Shapes()
    for number in range(3 * PER_NAME):
        for _ in range(WORTH + 1):
            fields = one(shapes, raw := b"Event: UserEvent\r\nHeader%d: 1" % number, "UserEvent")
        assert plain(fields) == header_by_header(raw)
        assert isinstance(fields, msgspec.Struct) == (number < PER_NAME)
