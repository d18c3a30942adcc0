"""The bytes of AMI as Asterisk's own side sees them: lines in, requests together, packets out.

Written from what a real Asterisk 22 answers, byte by byte, and not from amid's parser: the two sides
must be able to disagree. Text is str throughout; bytes that are not UTF-8 ride along as lone surrogates
(surrogateescape), so that every byte that came in can go out again.
"""

from __future__ import annotations

from collections.abc import Iterable

Header = tuple[str, str]

LINE_BUFFER = 1024
"""Bytes Asterisk reads into for one line, its CR LF included (`get_input` in main/manager.c)."""
MAX_HEADERS = 128
"""Lines of one request (`AST_MAX_MANHEADERS`)."""

LINE_TOO_LONG = "Failed to parse message: line too long"
TOO_MANY_LINES = "Too many lines in message or allocation failure"


def packet(headers: Iterable[Header]) -> bytes:
    """One packet: each header on a line, then the blank line that ends it."""
    text = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"{text}\r\n".encode(errors="surrogateescape")


class Request:
    """The lines of one action. Names compare without case, and the first of a name counts."""

    def __init__(self, lines: list[str], defect: str | None) -> None:
        self.lines = lines
        self.defect = defect
        """The error that Asterisk answers instead of carrying it out, if the limits were broken."""

    def get(self, name: str) -> str:
        """Value of the first header `name`; "" when there is none, which Asterisk does not tell apart."""
        return next(iter(self.all(name)), "")

    def all(self, name: str) -> list[str]:
        prefix = f"{name.lower()}:"
        return [line[len(prefix) :].lstrip() for line in self.lines if line.lower().startswith(prefix)]


class Requests:
    """Collects lines into requests, with the limits and the odd corners of the real reader."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._defect: str | None = None
        self._lost = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def waiting(self) -> int:
        """Bytes that came and have not been taken."""
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
                # A NUL ends the text, as it ends a C string.
                return raw.removesuffix(b"\r").partition(b"\0")[0].decode(errors="surrogateescape")
            if len(self._buffer) < LINE_BUFFER:
                return None
            # The full buffer is thrown away but for its last byte, and the rest of the line is read as a
            # new one. So a line of 1023 bytes ends its request there: only its LF is left over.
            del self._buffer[: LINE_BUFFER - 1]
            self._defect = LINE_TOO_LONG

    def _finish(self) -> Request:
        request = Request(self._lines, TOO_MANY_LINES if self._lost else self._defect)
        if not self._lost:
            self._defect = None
        self._lines, self._lost = [], False
        return request
