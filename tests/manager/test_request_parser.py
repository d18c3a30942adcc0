"""How Asterisk splits the bytes of a client into lines and requests, and which are malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.manager.request_parser import LINE_TOO_LONG, MAX_LINES, TOO_MANY_LINES, Request, RequestParser


def requests(*pieces: bytes) -> list[Request]:
    parser, found = RequestParser(), []
    for piece in pieces:
        parser.feed(piece)
        while (request := parser.next_request()) is not None or parser.at_limit:
            found += [request] if request is not None else []
            parser.begin_pass()
    return found


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"Action: Ping\r\n\r\n", [[b"Action: Ping"]]),
        (b"Action: Ping\n\n", [[b"Action: Ping"]]),
        (b"\r\n\n", [[], []]),
        (b"A: 1\r\r\n\r\n", [[b"A: 1\r"]]),
        (b"A: 1\0hidden\r\n\r\n", [[b"A: 1"]]),
        (b"A: 1\r\n\0hidden\r\nB: 2\r\n\r\n", [[b"A: 1"], [b"B: 2"]]),
        (b"A: 1\r\n", []),
    ],
)
def test_lines_and_blank_lines(data: bytes, lines: list[list[bytes]]) -> None:
    assert [request.lines for request in requests(data)] == lines
    assert all(not request.fault for request in requests(data))


@pytest.mark.parametrize(("length", "end", "fits"), [(1022, b"\r\n", True), (1023, b"\n", True), (1024, b"\n", False)])
def test_the_length_of_a_line(length: int, end: bytes, fits: bool) -> None:
    line = b"X: " + b"x" * (length - 3)
    (request,) = requests(b"ActionID: a" + end + line + end + end)
    assert (request.fault == b"") == fits and (line in request.lines) == fits
    assert request.action_id == b"a"


def test_a_cr_at_the_end_of_the_window() -> None:
    """1,023 bytes and CR LF: the CR stays in the buffer and, with LF, is an empty line."""
    first, second = requests(b"A: " + b"x" * 1020 + b"\r\nB: 2\r\n\r\n")
    assert first == Request([], LINE_TOO_LONG) and second == Request([b"B: 2"])


def test_the_rest_of_a_long_line_is_a_line() -> None:
    (request,) = requests(b"A: " + b"x" * 1100 + b"tail: 1\r\n\r\n")
    assert request.fault == LINE_TOO_LONG and request.lines == [b"x" * 80 + b"tail: 1"]


def test_too_many_lines() -> None:
    many = b"".join(b"H%d: v\r\n" % number for number in range(MAX_LINES))
    assert requests(many + b"\r\n") == [Request([b"H%d: v" % number for number in range(MAX_LINES)])]
    (request,) = requests(many + b"ActionID: late\r\n\r\n")
    assert request.fault == TOO_MANY_LINES and request.action_id == b""


def test_a_long_line_among_too_many_is_reported_with_the_next_request() -> None:
    many = b"H: v\r\n" * (MAX_LINES + 1) + b"L: " + b"x" * 2000 + b"\r\n\r\n"
    assert [request.fault for request in requests(many + b"Action: Ping\r\n\r\n" * 2)] == [TOO_MANY_LINES, LINE_TOO_LONG, b""]


def test_headers() -> None:
    request = Request([b"action:", b"ACTION:  Ping ", b"ActionID : no", b"actionid:\t one ", b"ActionID: two", b"no colon"])
    assert request.action == b"Ping " and request.action_id == b"one " and request.get(b"other") == b""


@given(st.binary(max_size=4000) | st.lists(st.sampled_from([b"\r", b"\n", b"A: b", b"\0", b"x" * 500])).map(b"".join), st.data())
def test_segments_do_not_matter(data: bytes, draw: st.DataObject) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert requests(*pieces) == requests(data)
