"""Splits a byte stream into packets, however the bytes arrive.

A packet ends at an empty line; a line ends at LF, with an optional CR before it; empty packets are
ignored. The exception is a Command's answer before Asterisk 14: raw text that may contain empty
lines and ends at `--END COMMAND--`.

Two rules bound cost and memory. The parser remembers how far it has searched, so a 5 MB answer in 4
KB pieces is searched once, not a thousand times. A packet that outgrows `max_packet` bytes is
reported as `Oversized` at once and its remainder is skipped, so an oversized answer costs one call
and not the session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from amid.ami.event_batch import BLANK, EventBatch, parse_batch
from amid.ami.packet import END_COMMAND, FOLLOWS, Packet, ProtocolError, is_old_command

GREETING = b"Asterisk Call Manager/"
MAX_GREETING_BYTES = 512
"""A longer first line is not Asterisk's."""

MAX_PACKET_BYTES = 16 * 1024 * 1024
"""Default limit of one packet."""

OVERSIZED_HEAD_BYTES = 8192
"""The part of an oversized packet that is kept: enough to find its ActionID."""

_END = re.compile(rb"\n\r?\n")
_OLD_END = END_COMMAND + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first line of a connection. version: of the interface, for example "11.0.0"."""

    version: str


@dataclass(frozen=True, slots=True)
class Oversized:
    """A packet over the parser's limit, of which only the first lines were kept."""

    head: Packet


Item = Greeting | Packet | Oversized | EventBatch


class Parser:
    """Feed it bytes, take items. max_packet: limit of one packet in bytes.

    Raises `ProtocolError` if the first line is not a greeting.
    """

    def __init__(self, max_packet: int = MAX_PACKET_BYTES) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._max_packet = max_packet
        self._greeted = False
        self._skipping: bytes = b""

    @property
    def growing(self) -> bool:
        """Whether an incomplete event or response is in the buffer."""
        return bytes(self._buffer[:9]).lower().startswith((b"event:", b"response:"))

    def feed(self, data: bytes) -> list[Item]:
        """Take `data` and return the items that it completed, in order."""
        self._buffer += data
        items: list[Item] = []
        if not self._greeted:
            greeting = self._greeting()
            if greeting is None:
                return items
            items.append(greeting)
        if self._skipping and not self._skip():
            return items
        self._take_batch(items)
        self._cut(items)
        return items

    def _greeting(self) -> Greeting | None:
        end = self._buffer.find(b"\n")
        line = bytes(self._buffer[: end if end >= 0 else MAX_GREETING_BYTES])
        if end > MAX_GREETING_BYTES or (end < 0 and len(self._buffer) > MAX_GREETING_BYTES):
            raise ProtocolError(
                f"the first line has over {MAX_GREETING_BYTES} bytes ({line[:60]!r}…): not an Asterisk manager port"
            )
        if not line.startswith(GREETING[: len(line)]) or (end >= 0 and len(line) < len(GREETING)):
            raise ProtocolError(f"expected 'Asterisk Call Manager/…', got {line[:60]!r}: not an Asterisk manager port")
        if end < 0:
            return None
        del self._buffer[: end + 1]
        self._greeted = True
        return Greeting(line[len(GREETING) :].decode("ascii", "replace").strip())

    def _take_batch(self, items: list[Item]) -> None:
        """Take all complete packets as one batch if they are events
        only, which is nearly always so."""
        buffer = self._buffer
        if not buffer.startswith(b"Event: "):
            return
        end = buffer.rfind(BLANK, self._searched) + len(BLANK)
        if not len(BLANK) < end <= self._max_packet:
            return
        with memoryview(buffer) as view:
            events = parse_batch(bytes(view[:end]))
        if events is not None:
            items.append(events)
            del buffer[:end]
            self._searched = 0

    def _cut(self, items: list[Item]) -> None:
        buffer, start, searched, old = self._buffer, 0, self._searched, False
        with memoryview(buffer) as view:
            while (start := _skip_blank(buffer, start)) < len(buffer):
                searched = max(searched, start)
                old = is_old_command(bytes(view[start : start + len(FOLLOWS)]))
                end, after = _find_old_end(buffer, start, searched) if old else _find_end(buffer, searched)
                if end < 0:
                    break
                large = end - start > self._max_packet
                items.append(self._oversized(start) if large else Packet(bytes(view[start:end])))
                start = searched = after
        del buffer[:start]
        # Half of an end marker may be here, so the next search starts a marker's length earlier.
        self._searched = max(0, len(buffer) - (len(_OLD_END) if old else 3))
        if len(buffer) - len(b"\r\n\r") > self._max_packet:
            items.append(self._oversized(0))
            self._skipping = _OLD_END if old else b"\n"
            self._skip()

    def _oversized(self, start: int) -> Oversized:
        """Keep the head, which ends within the packet, however the
        packet arrived and whatever follows it."""
        return Oversized(Packet(bytes(self._buffer[start : start + min(OVERSIZED_HEAD_BYTES, self._max_packet)])))

    def _skip(self) -> bool:
        """Drop the remainder of an oversized packet; True once its end has come."""
        old = self._skipping == _OLD_END
        end, after = _find_old_end(self._buffer, 0, self._searched) if old else _find_end(self._buffer, self._searched)
        self._searched = 0
        if end < 0:
            del self._buffer[: max(0, len(self._buffer) - len(_OLD_END))]
            return False
        del self._buffer[:after]
        self._skipping = b""
        return True


def _skip_blank(buffer: bytearray, start: int) -> int:
    while start < len(buffer) and buffer[start] in b"\r\n":
        start += 1
    return start


def _find_end(buffer: bytearray, searched: int) -> tuple[int, int]:
    """Where the packet's last line ends and where the next packet
    may begin; (-1, -1) if incomplete."""
    found = _END.search(buffer, searched)
    if found is None:
        return -1, -1
    end, after = found.span()
    return end - 1 if end and buffer[end - 1] == 0x0D else end, after


def _find_old_end(buffer: bytearray, start: int, searched: int) -> tuple[int, int]:
    end = buffer.find(_OLD_END, max(start, searched))
    return (end + len(END_COMMAND), end + len(_OLD_END)) if end >= 0 else (-1, -1)
