"""Cuts a byte stream into packets, in whatever pieces the bytes come.

A packet ends at an empty line; a line ends at LF with an optional CR before it; empty packets are nothing. The one exception is a
Command's answer before Asterisk 14, raw text that may hold empty lines and ends at `--END COMMAND--`.

Two rules keep it cheap and bounded. It remembers how far it has searched, so a 5 MB answer that comes in 4 KB pieces is searched
once, not a thousand times. And a packet that outgrows `max_packet` is given up as `Oversized` at once, its remainder skipped
without being kept, so that one absurd answer costs one call and not the session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from amid.ami.burst import BLANK, Burst, burst
from amid.ami.packet import END_COMMAND, FOLLOWS, Packet, ProtocolError, is_old_command

GREETING = b"Asterisk Call Manager/"
MAX_GREETING = 512
"""Bytes; a longer first line is not Asterisk's."""

MAX_PACKET = 16 * 1024 * 1024
"""Bytes, unless the caller sets its own bound."""

OVERSIZED_HEAD = 8192
"""Bytes kept of a packet that was too large: enough to see whose answer it was."""

_END = re.compile(rb"\n\r?\n")
_OLD_END = END_COMMAND + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first line of a connection; `version` is that of the interface, for example "11.0.0"."""

    version: str


@dataclass(frozen=True, slots=True)
class Oversized:
    """A packet larger than the parser's bound; only its first lines were kept."""

    head: Packet


Item = Greeting | Packet | Oversized | Burst


class Parser:
    """Feed it bytes, take items. Raises `ProtocolError` when the first line is not a greeting."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._max_packet = max_packet
        self._greeted = False
        self._skipping: bytes = b""

    @property
    def buffered(self) -> int:
        """Bytes held of a packet that is not complete."""
        return len(self._buffer)

    @property
    def growing(self) -> bool:
        """Whether an event or a response has begun that is not whole yet."""
        return bytes(self._buffer[:9]).lower().startswith((b"event:", b"response:"))

    def feed(self, data: bytes) -> list[Item]:
        """Take `data` and return what it completed, in order."""
        self._buffer += data
        items: list[Item] = []
        if not self._greeted:
            greeting = self._greeting()
            if greeting is None:
                return items
            items.append(greeting)
        if self._skipping and not self._skip():
            return items
        self._take_burst(items)
        self._cut(items)
        return items

    def _greeting(self) -> Greeting | None:
        end = self._buffer.find(b"\n")
        line = bytes(self._buffer[: end if end >= 0 else MAX_GREETING])
        if end > MAX_GREETING or (end < 0 and len(self._buffer) > MAX_GREETING):
            raise ProtocolError(f"the first line is over {MAX_GREETING} bytes: {line[:60]!r}… is not an Asterisk manager port")
        if not line.startswith(GREETING[: len(line)]) or (end >= 0 and len(line) < len(GREETING)):
            raise ProtocolError(f"expected 'Asterisk Call Manager/…' and got {line[:60]!r}: not an Asterisk manager port")
        if end < 0:
            return None
        del self._buffer[: end + 1]
        self._greeted = True
        return Greeting(line[len(GREETING) :].decode("ascii", "replace").strip())

    def _take_burst(self, items: list[Item]) -> None:
        """Take all that is complete in one piece when it is events and nothing else, as nearly always."""
        buffer = self._buffer
        if not buffer.startswith(b"Event: "):
            return
        end = buffer.rfind(BLANK, self._searched) + len(BLANK)
        if not len(BLANK) < end <= self._max_packet:
            return
        with memoryview(buffer) as view:
            events = burst(bytes(view[:end]))
        if events is not None:
            items.append(events)
            del buffer[:end]
            self._searched = 0

    def _cut(self, items: list[Item]) -> None:
        buffer, start, searched = self._buffer, 0, self._searched
        while True:
            start = _skip_blank(buffer, start)
            searched = max(searched, start)
            old = is_old_command(bytes(buffer[start : start + len(FOLLOWS)]))
            end, after = _find_old_end(buffer, start, searched) if old else _find_end(buffer, searched)
            if end < 0:
                break
            if end - start > self._max_packet:
                items.append(self._oversized(start))
            else:
                with memoryview(buffer) as view:
                    items.append(Packet(bytes(view[start:end])))
            start = searched = after
        del buffer[:start]
        # A marker may be half here: the next search starts a marker's length back.
        self._searched = max(0, len(buffer) - (len(_OLD_END) if old else 3))
        if len(buffer) - len(b"\r\n\r") > self._max_packet:
            items.append(self._oversized(0))
            self._skipping = _OLD_END if old else b"\n"
            self._skip()

    def _oversized(self, start: int) -> Oversized:
        """The head ends within the packet, in whatever pieces it came and whatever follows it."""
        return Oversized(Packet(bytes(self._buffer[start : start + min(OVERSIZED_HEAD, self._max_packet)])))

    def _skip(self) -> bool:
        """Drop the remainder of an oversized packet; True when its end has come."""
        old = self._skipping == _OLD_END
        end, after = _find_old_end(self._buffer, 0, self._searched) if old else _find_end(self._buffer, self._searched)
        if end < 0:
            del self._buffer[: max(0, len(self._buffer) - len(_OLD_END))]
            self._searched = 0
            return False
        del self._buffer[:after]
        self._searched = 0
        self._skipping = b""
        return True


def _skip_blank(buffer: bytearray, start: int) -> int:
    while start < len(buffer) and buffer[start] in b"\r\n":
        start += 1
    return start


def _find_end(buffer: bytearray, searched: int) -> tuple[int, int]:
    """Where the packet's last line ends, and where the next packet may begin; (-1, -1) when it is not complete."""
    found = _END.search(buffer, searched)
    if found is None:
        return -1, -1
    end, after = found.span()
    return end - 1 if end and buffer[end - 1] == 0x0D else end, after


def _find_old_end(buffer: bytearray, start: int, searched: int) -> tuple[int, int]:
    end = buffer.find(_OLD_END, max(start, searched))
    return (end + len(END_COMMAND), end + len(_OLD_END)) if end >= 0 else (-1, -1)
