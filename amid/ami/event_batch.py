"""The events of one read from Asterisk, kept as one block of bytes.

Most events are never parsed: they are numbered by their names and stored for replay. So a block
that holds only events is not split. One search over it proves that and finds the names, at a
fraction of the cost of splitting; `packets` splits on demand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress

from amid.ami.packet import Packet

BLANK = b"\r\n\r\n"
"""The end of a packet as Asterisk writes it: the end of the last line, and an empty line."""

_FIRST = re.compile(rb"Event: ([^\r\n]+)\r\n")
# Every end of a packet that the parser accepts, with the name of the event behind it. The name is
# missing when something else follows, or when Asterisk would have ended the packet differently.
_NEXT = re.compile(rb"\n(?:\n|\r\n(?:(?<=\r\n\r\n)Event: ([^\r\n]+)(?=\r\n))?)")


class EventBatch:
    """Events in order of arrival.

    names: one for each event. block: their packets, each followed by `BLANK`.
    """

    __slots__ = ("block", "names")

    def __init__(self, block: bytes, names: list[str]) -> None:
        self.block = block
        self.names = names

    @classmethod
    def join(cls, packets: Iterable[Packet | EventBatch]) -> EventBatch:
        """One batch from single events and batches, in order."""
        batches = [item if isinstance(item, EventBatch) else cls(item.raw + BLANK, [item.event]) for item in packets]
        if len(batches) == 1:
            return batches[0]
        return cls(b"".join(batch.block for batch in batches), [name for batch in batches for name in batch.names])

    def raws(self) -> list[bytes]:
        """The bytes of each packet."""
        return self.block.split(BLANK)[:-1]

    def select(self, wanted: Iterable[bool]) -> EventBatch:
        """The events whose item in `wanted` is true."""
        chosen = list(compress(zip(self.names, self.raws(), strict=True), wanted))
        return EventBatch(b"".join(raw + BLANK for _, raw in chosen), [name for name, _ in chosen])

    def packets(self) -> list[Packet]:
        return [Packet(raw) for raw in self.raws()]


def parse_batch(block: bytes) -> EventBatch | None:
    """`block` as a batch, or None if it holds anything but events as Asterisk writes them.

    block: ends with `BLANK`.
    """
    first, names = _FIRST.match(block), _NEXT.findall(block)
    if first is None or names.index(b"") < len(names) - 1 or block.endswith(b"\n" + BLANK):  # the packet ends before BLANK
        return None
    names.insert(0, first[1])
    return EventBatch(block, b"\n".join(names[:-1]).decode("utf-8", "replace").split("\n"))
