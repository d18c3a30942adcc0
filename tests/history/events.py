"""Packed events for the fold, written by hand or recorded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from amid import wire
from amid.history import blocks
from amid.history.event import Packed, decode
from amid.history.fold import Fold
from amid.history.ladder import ladder
from tests.history.scenarios import RECORDED


def recorded(version: str, kind: str) -> list[bytes]:
    return [bytes(packed) for packed in blocks.decompress((RECORDED / version / f"{kind}.zst").read_bytes())]


class Script:
    """Events with rising numbers, a tenth of a second apart."""

    def __init__(self, epoch: int = 1) -> None:
        self.epoch = epoch
        self.time = 1000.0
        self._seq = itertools.count(1)

    def event(self, name: str, **fields: Any) -> bytes:
        self.time += 0.1
        body = {"server": "pbx1", "epoch": self.epoch, "seq": next(self._seq), "prev": 0, "time": self.time, "event": name}
        return wire.pack({**body, "fields": fields})

    def on(self, name: str, number: int, linkedid: str = "1.1", prefix: str = "", **fields: Any) -> bytes:
        """An event of channel `number`."""
        return self.event(name, **channel(number, linkedid, prefix), **fields)

    def between(self, name: str, caller: int, callee: int, linkedid: str = "1.1", **fields: Any) -> bytes:
        return self.event(name, **channel(caller, linkedid), **channel(callee, linkedid, "Dest"), **fields)


def channel(number: int, linkedid: str = "1.1", prefix: str = "") -> dict[str, str]:
    """The headers of channel `number`: its Uniqueid is 1.NUMBER, its caller id NUMBER00."""
    headers = {"Channel": f"PJSIP/{number}00-{number}", "Uniqueid": f"1.{number}", "Linkedid": linkedid}
    headers |= {"CallerIDNum": f"{number}00", "CallerIDName": "<unknown>", "ChannelStateDesc": "Up"}
    return {f"{prefix}{name}": value for name, value in headers.items()}


def fold(events: Iterable[Packed]) -> Fold:
    folded = Fold()
    for packed in events:
        folded.feed(decode(packed), packed)
    return folded


def ladder_of(folded: Fold, linkedid: str = "1.1") -> list[str]:
    """The lines of a ladder, with N for seconds."""
    return [re.sub(r"\b\d+ s\b", "N s", line["text"]) for line in ladder(folded.calls[linkedid])]
