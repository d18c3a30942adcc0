"""A burst is nothing but events as Asterisk writes them; whatever else a block holds, the parser cuts it as if there were none."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amid.ami.burst import BLANK, Burst, burst, singly
from amid.ami.packet import Packet
from amid.ami.parser import Parser
from tests.ami.test_parser import GREETING

A = b"Event: A\r\nX: 1\r\nY: caf\xe9" + BLANK
B = b"Event: B" + BLANK

BURSTS = {
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


@pytest.mark.parametrize("block", BURSTS.values(), ids=BURSTS)
def test_events_are_a_burst(block: bytes) -> None:
    found = burst(block)
    assert found is not None
    assert [packet.raw for packet in found.packets()] == byte_by_byte(block)
    assert found.names == [packet.event for packet in found.packets()]


@pytest.mark.parametrize("block", OTHERS.values(), ids=OTHERS)
def test_anything_else_is_not(block: bytes) -> None:
    assert burst(block) is None


@pytest.mark.parametrize("stream", [*BURSTS.values(), *OTHERS.values()], ids=[*BURSTS, *OTHERS])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_the_parser_cuts_the_same_with_bursts_and_without(stream: bytes, size: int) -> None:
    for behind in (b"", B, b"Event: Half"):
        assert raws(stream + behind, size) == byte_by_byte(stream + behind)


def test_the_parser_takes_events_as_one_burst_and_keeps_what_is_not_whole() -> None:
    parser = Parser()
    parser.feed(GREETING)
    (first,) = parser.feed(A + B + b"Event: Ha")
    (second,) = parser.feed(b"lf\r\n" + BLANK[:2])
    assert isinstance(first, Burst) and first.names == ["A", "B"]
    assert isinstance(second, Burst) and second.names == ["Half"]


def test_a_burst_of_others_is_all_of_them_in_order() -> None:
    one = burst(A + B)
    assert one is not None
    whole = Burst.of([Packet(b"Event: First\nX: 1"), one, Packet(b"event: Last")])
    assert whole.names == ["First", "A", "B", "Last"]
    assert whole.raws() == [b"Event: First\nX: 1", A.removesuffix(BLANK), b"Event: B", b"event: Last"]


PIECES = st.sampled_from([b"Event: A", b"Event: ", b"X: 1", b"Response: Success", b"\r", b"\n", b"\r\n", BLANK, BLANK + B])


@example(b"Event: A\r\nEvent: A\n")
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_whatever_comes_is_cut_the_same(stream: bytes) -> None:
    assert raws(stream, 1 << 20) == byte_by_byte(stream)
    found = burst(stream + BLANK)
    if found is not None:
        assert [packet.raw for packet in found.packets()] == byte_by_byte(stream + BLANK)
        assert found.names == [packet.event for packet in found.packets()]


def raws(stream: bytes, size: int) -> list[bytes]:
    parser = Parser()
    parser.feed(GREETING)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    return [item.raw for piece in pieces for item in singly(parser.feed(piece)) if isinstance(item, Packet)]


def byte_by_byte(stream: bytes) -> list[bytes]:
    """What the parser cuts when it never has two events at once."""
    return raws(stream, 1)
