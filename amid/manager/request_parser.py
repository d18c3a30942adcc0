"""Splits the bytes of a client into requests, with the limits and peculiarities of Asterisk
(`get_input`, `do_message`, main/manager.c).

A line ends with LF, optionally preceded by CR, within a window of 1,024 bytes. A longer line is
dropped except for its last byte, and its request is answered with an error. NUL ends the text of a
line, so a line that begins with NUL is empty. An empty line ends a request, even one without lines.
Bytes are stored as they arrive and requests are split off one by one, so that a client that floods
costs one buffer. A pass of the loop takes only some lines of it: a blank line is a request, so the
bytes of one read may be a hundred thousand of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from amid.ami.action import BLANKS

WINDOW_BYTES = 1024
"""Bytes within which a line must end (`inbuf`)."""

MAX_LINES = 128
"""Limit of the lines of a request (`AST_MAX_MANHEADERS`)."""

LINES_AT_ONCE = 500
"""Limit of the lines that are taken in a pass."""

LINE_TOO_LONG = b"Failed to parse message: line too long"
TOO_MANY_LINES = b"Too many lines in message or allocation failure"


@dataclass
class Request:
    """lines: without their line ends. fault: the message of Asterisk's error, or empty. action: the
    first `Action` that is not empty. other_lines: those without `Action`."""

    lines: list[bytes]
    fault: bytes = b""

    def __post_init__(self) -> None:
        self._first: dict[bytes | None, int] = {}
        self.action = b""
        self.other_lines: list[bytes] = []
        for number, line in enumerate(self.lines):
            name = name_of(line)
            self._first.setdefault(name, number)
            if name != b"action":
                self.other_lines.append(line)
            elif not self.action:
                self.action = value_of(line)
        self.action_id = self.get(b"actionid")

    def get(self, name: bytes) -> bytes:
        """The value of the first header `name`, in lower case; empty if there is none."""
        line = self.lines[number] if (number := self.find(name)) >= 0 else b""
        return value_of(line)

    def find(self, name: bytes) -> int:
        """The index of the line with the first header `name`; -1 if there is none."""
        return self._first.get(name, -1)


def name_of(line: bytes) -> bytes | None:
    """The name of a header, in lower case; None for a line without a colon."""
    name, colon, _ = line.partition(b":")
    return name.lower() if colon else None


def value_of(line: bytes) -> bytes:
    """The value of a header as Asterisk reads it: trailing blanks belong to it."""
    return line.partition(b":")[2].lstrip(BLANKS)


class RequestParser:
    """Takes bytes with `feed`; `next_request` returns the requests in them.

    at_limit: whether it returned None only because of the limit of a pass.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        self._lines: list[bytes] = []
        self._too_many = False
        self._too_long = False
        self._lines_left = LINES_AT_ONCE
        self.at_limit = False

    @property
    def buffered(self) -> int:
        """Bytes that are not part of a returned request yet."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def begin_pass(self) -> None:
        self._lines_left = LINES_AT_ONCE

    def next_request(self) -> Request | None:
        """The next complete request; None if more bytes are needed, or another pass."""
        while (line := self._next_line()) is not None:
            self._lines_left -= 1
            if not line:
                return self._end_request()
            if len(self._lines) < MAX_LINES:
                self._lines.append(line)
            else:
                self._too_many = True
        return None

    def _next_line(self) -> bytes | None:
        self.at_limit = self._lines_left <= 0
        while not self.at_limit:
            start = self._start
            end = self._buffer.find(b"\n", start, start + WINDOW_BYTES)
            if end >= 0:
                self._start = end + 1
                line = bytes(self._buffer[start:end])
                return line.removesuffix(b"\r").partition(b"\0")[0]
            if self.buffered < WINDOW_BYTES:
                return None
            self._start += WINDOW_BYTES - 1
            self._too_long = True
        return None

    def _end_request(self) -> Request:
        """After too many lines, a long line is reported with the next request, as by Asterisk."""
        lines, self._lines = self._lines, []
        if self._too_many:
            self._too_many = False
            return Request(lines, TOO_MANY_LINES)
        if self._too_long:
            self._too_long = False
            return Request(lines, LINE_TOO_LONG)
        return Request(lines)
