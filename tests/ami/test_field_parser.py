"""A learned shape gives exactly the fields of the header-by-header parser, and unusual events never
match one wrongly."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.field_parser import LEARN_AFTER, MAX_KNOWN, MAX_SHAPES_PER_NAME, FieldParser, Fields
from amid.ami.packet import parse_headers

PLAIN = b"Event: Newexten\r\nChannel: PJSIP/alice-1\r\nExten: \r\nAppData: a: b, c:d"


def learned(raw: bytes, event: str = "Newexten") -> FieldParser:
    parser = FieldParser()
    for _ in range(LEARN_AFTER):
        one(parser, raw, event)
    return parser


def one(parser: FieldParser, raw: bytes, event: str = "Newexten") -> Fields:
    (fields,) = parser.parse(EventBatch(raw + BLANK, [event]))
    return fields


def plain(fields: Any) -> Any:
    """The fields as a client receives them."""
    return msgpack.unpackb(msgspec.msgpack.encode(fields))


def header_by_header(raw: bytes) -> dict[Any, Any]:
    return {name: value for name, value in parse_headers(raw).items() if str(name).lower() != "event"}


def test_frequent_shapes_are_learned() -> None:
    parser = FieldParser()
    seen = [one(parser, PLAIN) for _ in range(LEARN_AFTER + 1)]
    assert all(type(fields) is dict for fields in seen[:-1])
    assert isinstance(seen[-1], msgspec.Struct)
    assert [plain(fields) for fields in seen] == [header_by_header(PLAIN)] * (LEARN_AFTER + 1)


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
def test_variants_of_a_learned_shape_are_parsed_correctly(raw: bytes) -> None:
    parser = learned(PLAIN)
    for _ in range(LEARN_AFTER + 2):
        assert plain(one(parser, raw)) == plain(header_by_header(raw))


names = st.sampled_from(["A", "B-c", "Chan Variable(x)", "Event", "é", 'a"b', "D:e", "", "x.*", "["])
values = st.text(alphabet=st.sampled_from('aé:" \r\n\x00'), max_size=4)


@given(st.lists(st.tuples(names, values), max_size=4), st.lists(values, min_size=4, max_size=4))
def test_any_learned_shapes_give_the_same_fields(headers: list[tuple[str, str]], others: list[str]) -> None:
    first, second = (
        "\r\n".join(["Event: X", *(f"{name}: {value}" for (name, _), value in zip(headers, given, strict=False))]).encode()
        for given in ([value for _, value in headers], others)
    )
    assume(all((raw + BLANK).index(BLANK) == len(raw) for raw in (first, second)))  # else it is no packet, or more than one
    parser = learned(first, "X")
    for raw in (first, second):
        assert plain(one(parser, raw, "X")) == plain(header_by_header(raw))


def test_events_of_a_batch_have_their_own_fields() -> None:
    parser = learned(PLAIN)
    for raws in ([PLAIN, *VARIANTS.values()], [PLAIN, b"Event: Newexten\r\nChannel: last", PLAIN]):
        fields = parser.parse(EventBatch(b"".join(raw + BLANK for raw in raws), ["Newexten"] * len(raws)))
        assert list(map(plain, fields)) == [plain(header_by_header(raw)) for raw in raws]


def test_rare_shapes_are_neither_learned_nor_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    monkeypatch.setattr(FieldParser, "_add_shape", lambda self, *what: learned.append(what))
    parser = FieldParser()
    for number in range(3 * MAX_KNOWN):
        one(parser, b"Event: UserEvent\r\nUserEvent: x\r\nHeader%d: 1" % number, "UserEvent")
    assert not learned and len(parser._seen) <= MAX_KNOWN


def test_each_event_has_few_learned_shapes() -> None:
    parser = FieldParser()
    for number in range(3 * MAX_SHAPES_PER_NAME):
        for _ in range(LEARN_AFTER + 1):
            fields = one(parser, raw := b"Event: UserEvent\r\nHeader%d: 1" % number, "UserEvent")
        assert plain(fields) == header_by_header(raw)
        assert isinstance(fields, msgspec.Struct) == (number < MAX_SHAPES_PER_NAME)
