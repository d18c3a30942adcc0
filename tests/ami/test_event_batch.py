"""A batch contains only events as Asterisk writes them; the parser treats any other block packet by
packet."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amid.ami.event_batch import BLANK, EventBatch, parse_batch
from amid.ami.packet import Packet
from amid.ami.parser import Parser
from tests.ami.items import one_by_one
from tests.ami.test_parser import GREETING

A = b"Event: A\r\nX: 1\r\nY: caf\xe9" + BLANK
B = b"Event: B" + BLANK

BATCHES = {
    "one": A,
    "many": A + B + A + B,
    "a line that ends with LF alone": b"Event: A\r\nX: 1\nY: 2\r\n\r\n" + B,
    "CR in a value": b"Event: A\r\nX: 1\r\r\n\r\n" + B,
    "a name that is not UTF-8": b"Event: caf\xe9" + BLANK + B,
    "a value that says Event": b"Event: A\r\nX: Event: B" + BLANK,
    "events with an ActionID": b"Event: A\r\nActionID: 7" + BLANK,
}

OTHERS = {
    "a response": b"Response: Success" + BLANK,
    "a response behind": A + b"Response: Success" + BLANK,
    "a response between": A + b"Response: Success" + BLANK + B,
    "raw text": A + b"No such thing" + BLANK,
    "another case": A + b"event: B" + BLANK,
    "no space": A + b"Event:B" + BLANK,
    "no name": A + b"Event: \r\nX: 1" + BLANK,
    "an end of two LF": b"Event: A\r\nX: 1\n\n" + B,
    "an end of LF, CR LF": b"Event: A\r\nX: 1\n\r\n" + B,
    "an end of CR LF, LF": b"Event: A\r\nX: 1\r\n\n" + B,
    "a name that ends with LF": A + b"Event: B\nX: 1" + BLANK,
    "CR in the name": A + b"Event: B\r\r\nX: 1" + BLANK,
    "an empty packet before": b"\r\n" + A,
    "an empty packet between": A + b"\r\n" + B,
    "two empty packets between": A + BLANK + B,
    "an empty packet behind": A + b"\r\n\r\n",
}


@pytest.mark.parametrize("block", BATCHES.values(), ids=BATCHES)
def test_events_form_a_batch(block: bytes) -> None:
    found = parse_batch(block)
    assert found is not None
    assert [packet.raw for packet in found.packets()] == byte_by_byte(block)
    assert found.names == [packet.event for packet in found.packets()]


@pytest.mark.parametrize("block", OTHERS.values(), ids=OTHERS)
def test_other_packets_form_no_batch(block: bytes) -> None:
    assert parse_batch(block) is None


@pytest.mark.parametrize("stream", [*BATCHES.values(), *OTHERS.values()], ids=[*BATCHES, *OTHERS])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_parser_gives_the_same_packets_with_and_without_batches(stream: bytes, size: int) -> None:
    for behind in (b"", B, b"Event: Half"):
        assert raws(stream + behind, size) == byte_by_byte(stream + behind)


def test_the_parser_takes_events_as_one_batch_and_keeps_a_partial_packet() -> None:
    parser = Parser()
    parser.feed(GREETING)
    (first,) = parser.feed(A + B + b"Event: Ha")
    (second,) = parser.feed(b"lf\r\n" + BLANK[:2])
    assert isinstance(first, EventBatch) and first.names == ["A", "B"]
    assert isinstance(second, EventBatch) and second.names == ["Half"]


def test_a_batch_contains_all_events_in_order() -> None:
    one = parse_batch(A + B)
    assert one is not None
    whole = EventBatch.join([Packet(b"Event: First\nX: 1"), one, Packet(b"event: Last")])
    assert whole.names == ["First", "A", "B", "Last"]
    assert whole.raws() == [b"Event: First\nX: 1", A.removesuffix(BLANK), b"Event: B", b"event: Last"]


PIECES = st.sampled_from([b"Event: A", b"Event: ", b"X: 1", b"Response: Success", b"\r", b"\n", b"\r\n", BLANK, BLANK + B])


@example(b"Event: A\r\nEvent: A\n")
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_any_bytes_give_the_same_packets(stream: bytes) -> None:
    assert raws(stream, 1 << 20) == byte_by_byte(stream)
    found = parse_batch(stream + BLANK)
    if found is not None:
        assert [packet.raw for packet in found.packets()] == byte_by_byte(stream + BLANK)
        assert found.names == [packet.event for packet in found.packets()]


def raws(stream: bytes, size: int) -> list[bytes]:
    parser = Parser()
    parser.feed(GREETING)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    return [item.raw for piece in pieces for item in one_by_one(parser.feed(piece)) if isinstance(item, Packet)]


def byte_by_byte(stream: bytes) -> list[bytes]:
    """The parser's packets when it never receives two events at once."""
    return raws(stream, 1)
