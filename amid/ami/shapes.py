"""The fields of events, taken apart at the speed of one match each.

Nearly every event has the headers of one before it, in the same order. So the headers of each shape are learned: they become a
pattern whose groups are the values, and a record that holds these. Header by header would cost three times as much. What is out of
the ordinary has no shape, and costs what it costs: text that is not UTF-8, a bare LF, a header without `: ` or that comes twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import msgspec

from amid.ami.burst import BLANK, Burst
from amid.ami.packet import Text, parse_headers

Fields = dict[Text, Text | list[Text]] | msgspec.Struct
"""Header name -> value, or list of values; both forms are encoded as the same map."""

WORTH = 50
"""How often a shape is seen before it is learned, which costs a millisecond: shapes that are invented do not come so often."""

MOST = 1000
"""Names of events, and shapes not learned yet, that are remembered. Asterisk has some hundred; a flood of others must not stay."""

PER_NAME = 4
"""Shapes of one event's; each is tried in turn."""

END = BLANK.decode()

_NAME = re.compile(r"[\w()@/. -]+", re.ASCII)

_Shape = tuple[Callable[[str, int], re.Match[str] | None], type[msgspec.Struct]]


class Shapes:
    """What was learned so far."""

    def __init__(self) -> None:
        self._known: dict[str, list[_Shape]] = {}
        self._seen: Counter[tuple[Text, ...]] = Counter()

    def fields(self, burst: Burst) -> list[Fields]:
        """The headers of each event, but for its name."""
        try:
            text = burst.block.decode()
        except UnicodeDecodeError:
            return [self._one(name, raw) for name, raw in zip(burst.names, burst.raws(), strict=True)]
        fields: list[Fields] = []
        known, start = self._known, 0
        for name in burst.names:
            for match, record in known.get(name, ()):
                found = match(text, start)
                if found:
                    fields.append(record(*found.groups()))
                    start = found.end()
                    break
            else:
                end = text.index(END, start)
                fields.append(self._learn(name, text[start:end].encode()))
                start = end + len(END)
        return fields

    def _one(self, name: str, raw: bytes) -> Fields:
        """Of an event beside others that are not UTF-8."""
        try:
            raw.decode()
        except UnicodeDecodeError:
            return _by_header(raw)
        return self.fields(Burst(raw + BLANK, [name]))[0]

    def _learn(self, event: str, raw: bytes) -> dict[Text, Text | list[Text]]:
        """Header by header, and counted, so that a shape which comes again and again is known at last."""
        fields = _by_header(raw)
        if len(self._seen) >= MOST:
            self._seen.clear()
        shape = event, *fields
        self._seen[shape] += 1
        if self._seen[shape] >= WORTH:
            del self._seen[shape]
            self._know(event, fields, raw)
        return fields

    def _know(self, event: str, fields: dict[Text, Text | list[Text]], raw: bytes) -> None:
        names = [name for name in fields if isinstance(name, str) and _NAME.fullmatch(name)]
        shapes = self._known.setdefault(event, [])
        if len(names) < len(fields) or not names or len(shapes) >= PER_NAME:
            return
        if len(self._known) > MOST:
            self._known.clear()
        lines = [f"Event: {re.escape(event)}", *(f"{re.escape(name)}: (.*)" for name in names)]
        # In the last line, as in each, a CR before its end belongs to the end.
        match = re.compile("\r\n".join(lines) + f"(?<!\r){END}").match
        found = match(raw.decode() + END)
        if found and list(found.groups()) == list(fields.values()):
            shapes.append((match, _record(names)))


def _by_header(raw: bytes) -> dict[Text, Text | list[Text]]:
    return {name: value for name, value in parse_headers(raw).items() if str(name).lower() != "event"}


def _record(names: list[str]) -> type[msgspec.Struct]:
    """A class of as many values, which is encoded with these names."""
    attributes = {f"value{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Record", [(attribute, str) for attribute in attributes], rename=attributes, gc=False)
