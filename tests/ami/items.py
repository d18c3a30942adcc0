"""The items of the parser one by one, with the packets of each batch in its place."""

from __future__ import annotations

from collections.abc import Iterable

from amid.ami.event_batch import EventBatch
from amid.ami.packet import Packet
from amid.ami.parser import Greeting, Item, Oversized

Single = Greeting | Packet | Oversized


def one_by_one(items: Iterable[Item]) -> list[Single]:
    return [one for item in items for one in (item.packets() if isinstance(item, EventBatch) else [item])]
