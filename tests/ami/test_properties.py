"""Properties for any bytes: packets or one protocol error result, and an encoded action equals the
requested one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from amid.ami.action import InvalidAction, encode_action
from amid.ami.packet import Packet, ProtocolError, parse_headers
from amid.ami.parser import MAX_GREETING_BYTES, Greeting, Oversized, Parser
from tests.ami.items import Single, one_by_one

calm = settings(deadline=None)
"""No time limit on an example: the machine may be busy, and none of this is about time."""
GREETING = b"Asterisk Call Manager/11.0.0\r\n"
PIECES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"Event: A\r\n", b"Response: Follows\r\n", b"ActionID: 7\r\n",
    b"Privilege: C\r\n", b"--END COMMAND--", b"--END COMMAND--\r\n\r\n", b"--END", b" COMMAND--",
    b":", b" ", b"text", b"\xe9", "é".encode(),
    b"y" * 60,
]  # fmt: skip
streams = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=40).map(b"".join)
cuts = st.lists(st.integers(0, 400), max_size=12)
texts = st.text(st.characters(exclude_characters="\r\n\0"), max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0:"), min_size=1, max_size=12)
scalars = st.one_of(texts, st.booleans(), st.integers(-(2**63), 2**64), st.floats(-1e9, 1e9))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)
keys = st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.sampled_from(["ActionID", "Action", "a\r\nb", "x:"]))


def fed(parser: Parser, stream: bytes, cuts: list[int]) -> list[Single]:
    """The items of `stream` when it is split at these places."""
    places = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    return [i for a, b in pairwise(places) for i in one_by_one(parser.feed(stream[a:b]))]


def shown(item: Single) -> object:
    if isinstance(item, Oversized):
        return "oversized", item.head.raw
    return item if isinstance(item, Greeting) else item.raw


@calm
@given(streams, cuts)
@example(b"Response: Follows\r\n\n\n--END COMMAND--\r\n\r\n", [3, 20, 37, 38, 39])
def test_any_fragmentation_gives_the_same_items(stream: bytes, cuts: list[int]) -> None:
    for bound in (50, 1 << 20):
        whole = [shown(i) for i in one_by_one(Parser(bound).feed(GREETING + stream))]
        assert [shown(i) for i in fed(Parser(bound), GREETING + stream, cuts)] == whole


@calm
@given(streams, cuts)
def test_any_bytes_after_a_greeting_give_packets_in_bounded_memory(stream: bytes, cuts: list[int]) -> None:
    parser = Parser(100)
    parser.feed(GREETING)
    for item in fed(parser, stream, cuts):
        packet = item.head if isinstance(item, Oversized) else item
        assert isinstance(packet, Packet)
        assert packet.raw in stream and 0 < len(packet.raw) <= 100
        assert isinstance(packet.headers, dict)
        assert all(isinstance(text, str) for text in (packet.event, packet.response, packet.action_id))
        assert all(isinstance(line, str | bytes) for line in packet.output + packet.lines)
    assert len(parser._buffer) <= 100 + 3


@calm
@given(st.one_of(st.binary(), st.binary().map(lambda b: GREETING[: len(b) % 30] + b)))
@example(GREETING)
@example(GREETING[:22] + b"\n")
@example(b"Asterisk Call Manager/" + b"x" * MAX_GREETING_BYTES)
def test_any_first_bytes_are_a_greeting_or_one_protocol_error(stream: bytes) -> None:
    def outcome(cuts: list[int]) -> object:
        try:
            return [shown(i) for i in fed(Parser(), stream, cuts)]
        except ProtocolError:
            return ProtocolError

    whole = outcome([])
    assert whole is ProtocolError or whole == [] or (isinstance(whole, list) and isinstance(whole[0], Greeting))
    assert outcome(list(range(len(stream)))) == whole


@calm
@given(st.binary(max_size=80))
def test_headers_contain_every_byte_except_line_ends(raw: bytes) -> None:
    """Joined, they are the received lines, in order if no header repeats."""
    lines = [line.removesuffix(b"\r") for line in raw.split(b"\n")]
    found = parse_headers(raw)
    values = [v for value in found.values() for v in (value if isinstance(value, list) else [value])]
    assert len(values) == len(lines)
    for line in lines:
        name, colon, value = line.partition(b":") if b":" in line else (b"", b"", line)
        held = found[_text(name)]
        assert _text(value.removeprefix(b" ") if colon else value) in (held if isinstance(held, list) else [held])


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


@calm
@given(st.dictionaries(names, st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3)), max_size=5))
def test_an_encoded_action_parses_to_the_same_action(fields: dict[str, Any]) -> None:
    try:
        data = encode_action("Test", "id-1", fields)
    except InvalidAction:
        assert any(n != n.strip() or n.lower() in ("action", "actionid") or not _sendable(v) for n, v in fields.items())
        return
    assert data.endswith(b"\r\n\r\n")
    expected: dict[Any, Any] = {"Action": "Test", "ActionID": "id-1"}
    for name, value in fields.items():
        items = [_sent(v) for v in (value if isinstance(value, list) else [value])]
        expected[name] = items if len(items) > 1 else items[0]
    assert parse_headers(data.removesuffix(b"\r\n\r\n")) == expected


def _sendable(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_sendable, value))
    if isinstance(value, float):
        return value.is_integer() or "e" not in repr(value)
    try:
        str(value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _sent(value: Any) -> str | bytes:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _text(str(value).encode("utf-8", "surrogateescape"))


@calm
@given(st.one_of(texts, st.text()), st.dictionaries(keys, anything, max_size=4))
@example("Ping\r\n\r\nAction: Originate", {})
@example("Ping", {b"Action": "Originate"})
@example("Ping", {"X": ["\udc0d", "\udc8d\udc8a"]})
def test_an_action_is_one_packet_or_is_refused(action: str, fields: dict[Any, Any]) -> None:
    try:
        data = encode_action(action, "id-1", fields)
    except InvalidAction:
        return
    assert [shown(i) for i in one_by_one(Parser().feed(GREETING + data))][1:] == [data.removesuffix(b"\r\n\r\n")]
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert b"\0" not in data and len(data.splitlines()) == len(lines) + 1
    assert len([line for line in lines if line.lower().startswith(b"action:")]) == 1
    assert lines[1] == b"ActionID: id-1"
