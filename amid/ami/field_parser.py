"""Parses the headers of events, one regular expression match for each event.

Nearly every event has the headers of an earlier one, in the same order: a *shape*. The parser
learns each shape as a pattern, whose groups are the values, and a record that holds them. Parsing
header by header would take three times as long. It is the fallback for unusual events: text that is
not UTF-8, a bare LF, a header without `: `, a repeated header.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import msgspec

from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.packet import Text, parse_headers

Fields = dict[Text, Text | list[Text]] | msgspec.Struct
"""Header name -> value, or list of values. Both types are encoded as the same map."""

LEARN_AFTER = 50
"""Occurrences of a shape before it is learned, which takes a
millisecond. Forged shapes rarely repeat."""

MAX_KNOWN = 1000
"""Limit of remembered event names, and of shapes not learned yet. Asterisk has some
hundred names; this bounds a flood of forged ones."""

MAX_SHAPES_PER_NAME = 4
"""Limit of shapes of one event name. They are tried in turn."""

END = BLANK.decode()

_NAME = re.compile(r"[\w()@/. -]+", re.ASCII)

_Shape = tuple[Callable[[str, int], re.Match[str] | None], type[msgspec.Struct]]


class FieldParser:
    """Parses batches of events and remembers the shapes that it has learned."""

    def __init__(self) -> None:
        self._known: dict[str, list[_Shape]] = {}
        self._seen: Counter[tuple[Text, ...]] = Counter()

    def parse(self, batch: EventBatch) -> list[Fields]:
        """The headers of each event, without Event."""
        try:
            text = batch.block.decode()
        except UnicodeDecodeError:
            return [self._one(name, raw) for name, raw in zip(batch.names, batch.raws(), strict=True)]
        fields: list[Fields] = []
        known, start = self._known, 0
        for name in batch.names:
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
        """The headers of one event of a batch that is not all UTF-8."""
        try:
            raw.decode()
        except UnicodeDecodeError:
            return _by_header(raw)
        return self.parse(EventBatch(raw + BLANK, [name]))[0]

    def _learn(self, event: str, raw: bytes) -> dict[Text, Text | list[Text]]:
        """Parse header by header, and count the shape until it is learned."""
        fields = _by_header(raw)
        if len(self._seen) >= MAX_KNOWN:
            self._seen.clear()
        shape = event, *fields
        self._seen[shape] += 1
        if self._seen[shape] >= LEARN_AFTER:
            del self._seen[shape]
            self._add_shape(event, fields, raw)
        return fields

    def _add_shape(self, event: str, fields: dict[Text, Text | list[Text]], raw: bytes) -> None:
        names = [name for name in fields if isinstance(name, str) and _NAME.fullmatch(name)]
        shapes = self._known.setdefault(event, [])
        if len(names) < len(fields) or not names or len(shapes) >= MAX_SHAPES_PER_NAME:
            return
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        lines = [f"Event: {re.escape(event)}", *(f"{re.escape(name)}: (.*)" for name in names)]
        # A CR before the end of a line belongs to the end, in the last line too.
        match = re.compile("\r\n".join(lines) + f"(?<!\r){END}").match
        found = match(raw.decode() + END)
        if found and list(found.groups()) == list(fields.values()):
            shapes.append((match, _record(names)))


def _by_header(raw: bytes) -> dict[Text, Text | list[Text]]:
    return {name: value for name, value in parse_headers(raw).items() if str(name).lower() != "event"}


def _record(names: list[str]) -> type[msgspec.Struct]:
    """A class with one attribute for each name, encoded under these names."""
    attributes = {f"value{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Record", [(attribute, str) for attribute in attributes], rename=attributes, gc=False)
