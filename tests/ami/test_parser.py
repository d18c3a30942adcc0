"""The parser: packet boundaries for bytes in any pieces, in bounded memory and linear time."""

from __future__ import annotations

import re
from typing import Any

import pytest

from amid.ami import parser as module
from amid.ami.packet import ProtocolError
from amid.ami.parser import MAX_GREETING_BYTES, OVERSIZED_HEAD_BYTES, Greeting, Item, Oversized, Parser
from tests.ami.items import Single, one_by_one

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
OLD_HEAD = b"Response: Follows\r\nPrivilege: Command\r\nActionID: 7\r\n"
OLD_END = b"--END COMMAND--\r\n\r\n"
NEXT = b"Event: Next\r\n\r\n"


def shown(item: Single) -> object:
    """An item in a form that can be compared: packets by their bytes."""
    if isinstance(item, Oversized):
        return "oversized", item.head.raw
    return item if isinstance(item, Greeting) else item.raw


def parsed(stream: bytes, size: int, max_packet: int = 1 << 20) -> list[object]:
    """The items of `stream` after a greeting, fed in pieces of `size` bytes."""
    parser = Parser(max_packet)
    parser.feed(GREETING)
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    return [shown(item) for piece in pieces for item in one_by_one(parser.feed(piece))]


FRAMES = {
    "crlf": (b"Event: A\r\nX: 1\r\n\r\n", [b"Event: A\r\nX: 1"]),
    "lf": (b"Event: A\nX: 1\n\n", [b"Event: A\nX: 1"]),
    "crlf lines, bare end": (b"Event: A\r\nX: 1\r\n\n", [b"Event: A\r\nX: 1"]),
    "lf line, crlf end": (b"Event: A\nX: 1\n\r\n", [b"Event: A\nX: 1"]),
    "mixed lines": (b"Event: A\nX: 1\r\nY: 2\r\n\r\n", [b"Event: A\nX: 1\r\nY: 2"]),
    "cr lf lf and an empty packet": (b"Event: A\r\n\n\r\nEvent: B\r\n\r\n", [b"Event: A", b"Event: B"]),
    "only empty packets": (b"\r\n\r\n\n\n\r\n", []),
    "empty packets between": (b"\r\n\r\nEvent: A\r\n\r\n\r\n\r\n\n\nEvent: B\r\n\r\n", [b"Event: A", b"Event: B"]),
    "message that ends in lf": (b"Response: Error\r\nMessage: No.\n\r\n\r\n", [b"Response: Error\r\nMessage: No."]),
    "cr within a line": (b"X: a\rb\r\r\nY: c\r\n\r\n", [b"X: a\rb\r\r\nY: c"]),
    "no colon": (b"No categories found\r\n\r\n", [b"No categories found"]),
    "latin-1 and nul": (b"X: caf\xe9\0\r\n\r\n", [b"X: caf\xe9\0"]),
    "old command": (OLD_HEAD + b"a: b\n\nc\n\r\n\r\nd\n" + OLD_END, [OLD_HEAD + b"a: b\n\nc\n\r\n\r\nd\n--END COMMAND--"]),
    "old command, glued": (OLD_HEAD + b"last" + OLD_END, [OLD_HEAD + b"last--END COMMAND--"]),
    "old command, nothing": (OLD_HEAD + OLD_END, [OLD_HEAD + b"--END COMMAND--"]),
    "old command, marker inside": (
        OLD_HEAD + b"--END COMMAND--\nmore\n" + OLD_END,
        [OLD_HEAD + b"--END COMMAND--\nmore\n--END COMMAND--"],
    ),
    "old command, lower case": (b"response: follows\r\na\n\nb\n" + OLD_END, [b"response: follows\r\na\n\nb\n--END COMMAND--"]),
    "follows of another kind": (b"Response: Followed\r\n\r\n", [b"Response: Followed"]),
}


@pytest.mark.parametrize(("stream", "expected"), FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_packets_are_framed(stream: bytes, expected: list[bytes], size: int) -> None:
    assert parsed(stream, size) == expected
    assert parsed(stream + NEXT + stream, size) == [*expected, b"Event: Next", *expected]


@pytest.mark.parametrize(("stream", "expected"), FRAMES.values(), ids=FRAMES)
def test_a_partial_packet_is_kept(stream: bytes, expected: list[bytes]) -> None:
    parser = Parser()
    parser.feed(GREETING)
    assert [shown(i) for i in one_by_one(parser.feed(stream + b"Event: La"))] == expected
    assert len(parser._buffer) == len(b"Event: La")
    assert [shown(i) for i in one_by_one(parser.feed(b"ter\r\n\r\n"))] == [b"Event: Later"]
    assert len(parser._buffer) == 0


@pytest.mark.parametrize("cut", range(len(GREETING) + 1))
@pytest.mark.parametrize("greeting", [GREETING, GREETING.replace(b"\r", b"")], ids=["crlf", "lf"])
def test_a_greeting_arrives_in_two_pieces(greeting: bytes, cut: int) -> None:
    parser = Parser()
    items = one_by_one(parser.feed(greeting[:cut])) + one_by_one(parser.feed(greeting[cut:] + NEXT))
    assert [shown(i) for i in items] == [Greeting("11.0.0"), b"Event: Next"]


NOT_GREETINGS = {
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http": b"HTTP/1.1 400 Bad Request\r\n",
    "empty line": b"\r\n",
    "short": b"Asterisk Call\r\n",
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "too long": b"Asterisk Call Manager/" + b"1" * MAX_GREETING_BYTES + b"\r\n",
    "endless": b"Asterisk Call Manager/" + b"1" * MAX_GREETING_BYTES,
}


@pytest.mark.parametrize("stream", NOT_GREETINGS.values(), ids=NOT_GREETINGS)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_an_invalid_greeting_is_a_protocol_error(stream: bytes, size: int) -> None:
    parser = Parser()
    with pytest.raises(ProtocolError, match="not an Asterisk manager port"):
        for i in range(0, len(stream), size):
            parser.feed(stream[i : i + size])


@pytest.mark.parametrize("length", [MAX_GREETING_BYTES - 1, MAX_GREETING_BYTES])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_the_longest_greeting_is_accepted(length: int, size: int) -> None:
    stream = b"Asterisk Call Manager/".ljust(length, b"1") + b"\n"
    parser = Parser()
    items = [item for i in range(0, len(stream), size) for item in one_by_one(parser.feed(stream[i : i + size]))]
    assert items == [Greeting("1" * (length - 22))]


@pytest.mark.parametrize("over", [0, 1, 2, 3, 4, 50])
@pytest.mark.parametrize("size", [1, 5, 64, 1 << 20])
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_packet_over_the_limit_affects_only_itself(over: int, size: int, old: bool) -> None:
    """The limit and the reported head are the same however the packet arrives."""
    head, end, bound = (OLD_HEAD, b"--END COMMAND--", 200) if old else (b"Response: Success\r\nActionID: 7\r\n", b"", 200)
    packet = head + b"y" * (bound + over - len(head) - len(end)) + end
    expected = ("oversized", packet[:bound]) if over else packet
    assert parsed(packet + b"\r\n\r\n" + NEXT + packet + b"\r\n\r\n" + NEXT, size, bound) == [
        expected, b"Event: Next", expected, b"Event: Next",
    ]  # fmt: skip


def test_an_oversized_packet_keeps_a_head_that_names_its_owner() -> None:
    packet = b"Response: Success\r\nActionID: 7\r\n" + b"Output: z\r\n" * 5000
    for size in (4096, 1 << 20):
        parser = Parser(20_000)
        parser.feed(GREETING)
        stream = packet + b"\r\n" + NEXT
        items = [item for i in range(0, len(stream), size) for item in one_by_one(parser.feed(stream[i : i + size]))]
        assert isinstance(items[0], Oversized)
        assert items[0].head.action_id == "7"
        assert len(items[0].head.raw) == OVERSIZED_HEAD_BYTES
        assert [shown(i) for i in items[1:]] == [b"Event: Next"]


def test_an_oversized_old_command_is_skipped_past_its_empty_lines() -> None:
    packet = OLD_HEAD + b"line\n\n\r\n\r\n" * 50 + OLD_END
    for size in (1, 16, 1 << 20):
        assert parsed(packet + NEXT, size, 200) == [("oversized", packet[:200]), b"Event: Next"]


ENDLESS = {
    "one line": b"x" * 4096,
    "lines": b"Output: x\r\n" * 400,
    "line ends": b"\r\n" * 2048,
    "returns": b"\r" * 4096,
    "old command": b"\n\n\r\n\r\n--END COMMAND--\n" * 180,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_packet_uses_bounded_memory(kind: str) -> None:
    parser = Parser(50_000)
    parser.feed(GREETING + (OLD_HEAD if kind == "old command" else b""))
    items: list[Item] = []
    for _ in range(100):
        items += one_by_one(parser.feed(ENDLESS[kind]))
        assert len(parser._buffer) <= 50_000 + 3
    assert len(items) <= 1


class Searched(bytearray):
    """A buffer that counts the bytes searched by its `find` and by the pattern that replaces `_END`."""

    looked_at = 0

    def find(self, needle: Any, start: Any = 0, end: Any = None) -> int:
        at = super().find(needle, start, len(self) if end is None else end)
        self.looked_at += (at if at >= 0 else len(self)) - start
        return at

    def search(self, buffer: bytearray, start: int) -> re.Match[bytes] | None:
        found = re.compile(rb"\n\r?\n").search(buffer, start)
        self.looked_at += (found.end() if found else len(buffer)) - start
        return found


COMMANDS = {
    "new": b"Response: Success\r\nActionID: 7\r\n" + b"Output: 0123456789 0123456789\r\n" * 160_000 + b"\r\n",
    "old": OLD_HEAD + b"0123456789 0123456789 012345678\n" * 160_000 + OLD_END,
    "bare lf": b"Event: A\n\n" * 20_000,
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_byte_is_searched_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 5 MB answer in 4 KB pieces; counted, not timed."""
    parser = Parser()
    parser.feed(GREETING)
    searched = parser._buffer = Searched()
    monkeypatch.setattr(module, "_END", searched)
    stream, pieces = COMMANDS[kind], 0
    for i in range(0, len(stream), 4096):
        parser.feed(stream[i : i + 4096])
        pieces += 1
    assert len(parser._buffer) == 0
    assert len(stream) * 0.9 <= searched.looked_at <= len(stream) + 64 * pieces


def test_many_small_packets_in_one_piece_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser()
    parser.feed(GREETING)
    searched = parser._buffer = Searched()
    monkeypatch.setattr(module, "_END", searched)
    stream = b"Event: A\n\n" * 20_000 + b"Event: A\r\n\r\n" * 20_000
    assert len(one_by_one(parser.feed(stream))) == 40_000
    assert searched.looked_at <= len(stream)
