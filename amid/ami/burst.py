"""The events that one read brought, kept as one block of bytes.

Nobody looks into most events: they are numbered by their names and held for those who may ask again. So a block that holds nothing
but events is not taken apart. One search over it shows that it is so and what their names are, at a fraction of the cost of cutting
out each one; `packets` cuts when somebody wants them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import compress
from typing import TypeVar

from amid.ami.packet import Packet

T = TypeVar("T")

BLANK = b"\r\n\r\n"
"""How Asterisk ends a packet: its last line's end, and an empty line."""

_FIRST = re.compile(rb"Event: ([^\r\n]+)\r\n")
# Every end of a packet, as the parser knows them, and the name of the event behind it. There is none when anything else stands
# behind it, or when the end is another than Asterisk's.
_NEXT = re.compile(rb"\n(?:\n|\r\n(?:(?<=\r\n\r\n)Event: ([^\r\n]+)(?=\r\n))?)")


class Burst:
    """Events in the order they came: `names`, and in `block` their packets, each of them followed by `BLANK`."""

    __slots__ = ("block", "names")

    def __init__(self, block: bytes, names: list[str]) -> None:
        self.block = block
        self.names = names

    @classmethod
    def of(cls, packets: Iterable[Packet | Burst]) -> Burst:
        """One burst of events that came singly and of others."""
        bursts = [item if isinstance(item, Burst) else cls(item.raw + BLANK, [item.event]) for item in packets]
        if len(bursts) == 1:
            return bursts[0]
        return cls(b"".join(burst.block for burst in bursts), [name for burst in bursts for name in burst.names])

    def raws(self) -> list[bytes]:
        """The bytes of each."""
        return self.block.split(BLANK)[:-1]

    def only(self, wanted: Iterable[bool]) -> Burst:
        """Those events for which `wanted` says so, in turn."""
        chosen = list(compress(zip(self.names, self.raws(), strict=True), wanted))
        return Burst(b"".join(raw + BLANK for _, raw in chosen), [name for name, _ in chosen])

    def packets(self) -> list[Packet]:
        return [Packet(raw) for raw in self.raws()]


def singly(items: Iterable[Packet | Burst | T]) -> list[Packet | T]:
    """`items` with the packets of each burst in its place."""
    one_by_one: list[Packet | T] = []
    for item in items:
        if isinstance(item, Burst):
            one_by_one += item.packets()
        else:
            one_by_one.append(item)
    return one_by_one


def burst(block: bytes) -> Burst | None:
    """`block` as a burst, None unless it is events and nothing else, each as Asterisk writes it. It must end with `BLANK`."""
    first, names = _FIRST.match(block), _NEXT.findall(block)
    if first is None or names.index(b"") < len(names) - 1 or block.endswith(b"\n" + BLANK):  # there the packet ends before BLANK
        return None
    names.insert(0, first[1])
    return Burst(block, b"\n".join(names[:-1]).decode("utf-8", "replace").split("\n"))
