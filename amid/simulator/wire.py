"""AMI as bytes on Asterisk's side: lines in, requests together, packets out.

Written from the bytes of a real Asterisk 22, not from amid's parser: the two must be able to
disagree. Text is str; bytes that are not UTF-8 are lone surrogates (surrogateescape), so that all
bytes survive.
"""

from __future__ import annotations

from collections.abc import Iterable

Header = tuple[str, str]

LINE_BUFFER = 1024
"""Size in bytes of Asterisk's buffer for a line, including CR LF (`get_input` in main/manager.c)."""
MAX_HEADERS = 128
"""The maximum number of lines in a request (`AST_MAX_MANHEADERS`)."""

LINE_TOO_LONG = "Failed to parse message: line too long"
TOO_MANY_LINES = "Too many lines in message or allocation failure"


def packet(headers: Iterable[Header]) -> bytes:
    """A packet: one line for each header, then a blank line."""
    text = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{text}\r\n".encode(errors="surrogateescape")


class Request:
    """The lines of an action. Names compare without case; the first of repeated headers counts."""

    def __init__(self, lines: list[str], defect: str | None) -> None:
        self.lines = lines
        self.defect = defect
        """Asterisk's error message, if the request exceeds a limit."""

    def get(self, name: str) -> str:
        """The value of the first header `name`; "" without one, which Asterisk does not distinguish."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        prefix = f"{name.lower()}:"
        return [line[len(prefix) :].lstrip() for line in self.lines if line.lower().startswith(prefix)]


class Requests:
    """Collects lines into requests, with the limits and peculiarities of Asterisk's reader."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._defect: str | None = None
        self._lost = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def waiting(self) -> int:
        """Number of received bytes that are not processed yet."""
        return len(self._buffer)

    def next(self) -> Request | None:
        """The next whole request, or None when more input is needed."""
        while (line := self._next_line()) is not None:
            if not line:
                return self._finish()
            if len(self._lines) < MAX_HEADERS:
                self._lines.append(line)
            else:
                self._lost = True
        return None

    def _next_line(self) -> str | None:
        while True:
            end = self._buffer.find(b"\n", 0, LINE_BUFFER)
            if end >= 0:
                raw = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                # A NUL ends the text, as in a C string.
                return raw.removesuffix(b"\r").partition(b"\0")[0].decode(errors="surrogateescape")
            if len(self._buffer) < LINE_BUFFER:
                return None
            # Asterisk discards the full buffer except its last byte and reads the rest of the line
            # as a new one. A line of 1023 bytes therefore ends its request: only its LF remains.
            del self._buffer[: LINE_BUFFER - 1]
            self._defect = LINE_TOO_LONG

    def _finish(self) -> Request:
        request = Request(self._lines, TOO_MANY_LINES if self._lost else self._defect)
        if not self._lost:
            self._defect = None
        self._lines, self._lost = [], False
        return request
