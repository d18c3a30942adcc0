"""Raw packets become events, and headers are found in their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.ami.packet import parse_headers
from amid.state.headers import Block, EventHeaders, text
from amid.state.packets import split_events

BLOCK = Block("Channel", "Language", "Exten", "Uniqueid", unused=("Language",))
LINES = "Event: Newexten\r\nChannel: PJSIP/1\r\nLanguage: en\r\nExten: <unknown>\r\nUniqueid: 7"


def packet(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


def test_only_events_of_the_fold_are_taken() -> None:
    data = packet("Event: CEL", "A: b") + packet("Event: Newstate", "Channel: PJSIP/1") + packet("Event: Hangup", "Uniqueid: 1")
    assert [name for name, _ in split_events(data)] == ["Newstate", "Hangup"]


@pytest.mark.parametrize("other", [b"", b"Event: CEL\r\nName: \xff\r\n\r\n"])
def test_an_event_without_headers_has_its_whole_name(other: bytes) -> None:
    assert [name for name, _ in split_events(packet("Event: amid:booted") + other)] == ["amid:booted"]


@pytest.mark.parametrize("end", ["", "\r\n", "\r\nApplication: Dial"])
def test_a_header_is_found_whatever_follows_it(end: str) -> None:
    headers = EventHeaders("Event: Hangup\r\nCause: 16\r\nUniqueid: 1" + end)
    assert headers.get("Uniqueid") == "1"
    assert headers.get("Unique") is headers.get("id") is headers.get("16") is None


def test_of_a_repeated_header_the_last_value_counts() -> None:
    assert text(EventHeaders("Event: X\r\nA: 1\r\nA: 2"), "A") == text({"A": ["1", "2"]}, "A") == "2"


@pytest.mark.parametrize("end", ["", "\r\n", "\r\nApplication: Dial"])
def test_a_block_is_read_in_one_step(end: str) -> None:
    assert BLOCK.read(EventHeaders(LINES + end)) == ("PJSIP/1", "", "7")


@pytest.mark.parametrize(
    "lines",
    [
        LINES.replace("Language: en\r\n", ""),
        LINES.replace("Language: en", "Language: en\r\nTenant: x"),
        "Event: Newexten\r\nUniqueid: 7\r\nExten: (null)\r\nChannel: PJSIP/1",
    ],
)
def test_headers_in_another_order_are_read_too(lines: str) -> None:
    assert BLOCK.read(EventHeaders(lines)) == ("PJSIP/1", "", "7")


def test_a_block_of_a_listed_item() -> None:
    assert BLOCK.read({"Channel": "PJSIP/1", "Exten": "<unknown>"}) == ("PJSIP/1", "", "")


def test_unknown_is_a_whole_value() -> None:
    assert BLOCK.read(EventHeaders(LINES.replace("<unknown>", "<unknown>x")))[1] == "<unknown>x"


@given(st.lists(st.tuples(st.sampled_from(["A", "AB", "B", "Event"]), st.text("ab:<> \u00e9", max_size=5))))
def test_text_and_map_have_the_same_values(lines: list[tuple[str, str]]) -> None:
    block = "\r\n".join(["Event: X", *(f"{name}: {value}" for name, value in lines)])
    headers, expected = EventHeaders(block), parse_headers(block.encode())
    assert [text(headers, name) for name in ("A", "AB", "B")] == [text(expected, name) for name in ("A", "AB", "B")]
    if len({name for name, _ in lines}) == len(lines):  # of a repeated block, the first counts
        assert Block("A", "B").read(headers) == Block("A", "B").read(expected)


def test_values_that_are_not_utf_8_stay_bytes() -> None:
    data = packet("Event: Hangup", "Uniqueid: 1") + b"Event: Newstate\r\nCallerIDName: J\xfcrgen\r\n\r\n" + packet("Event: CEL")
    assert [name for name, _ in split_events(data)] == ["Hangup", "Newstate"]
    assert split_events(data)[1][1].get("CallerIDName") == b"J\xfcrgen"
