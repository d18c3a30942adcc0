"""A file of the recorder, read block by block, so that a day takes no more memory than a block."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from amid.history.blocks import decompress
from amid.recorder.archive import opened

PLAY = "PlayRecording"
"""The action that starts it, once everything is connected that should receive its beginning."""

log = logging.getLogger("amid.playback")


class RecordedEvent(msgspec.Struct, gc=False):
    """As it was published. Values of headers are text, bytes that are not UTF-8, or lists of them."""

    epoch: int
    time: float
    event: str
    fields: dict[Any, Any]


_EVENT = msgspec.msgpack.Decoder(RecordedEvent)


class RecordingError(ValueError):
    """The file cannot be played."""


class Recording:
    """Raises `RecordingError` if `path` is not a file of the recorder, or has no events."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        try:
            with opened(self._path) as db:
                found = db.execute("SELECT EXISTS (SELECT * FROM block) OR EXISTS (SELECT * FROM tail)").fetchone()
        except sqlite3.Error as error:
            hint = "recordings are the files SERVER-YYYY-MM-DD.db in `directory` of [recorder]"
            raise RecordingError(f"{path} is not a recording of amid: {error}; {hint}") from None
        if not found[0]:
            raise RecordingError(f"{path} has no events")

    def blocks(self) -> Iterator[Sequence[RecordedEvent]]:
        """The events in order. A damaged block is logged and omitted."""
        last = 0
        while True:
            with opened(self._path) as db:
                row = db.execute("SELECT id, body FROM block WHERE id > ? ORDER BY id LIMIT 1", (last,)).fetchone()
                tail = db.execute("SELECT body FROM tail ORDER BY id").fetchall() if row is None else []
            if row is None:
                yield from (self._decode("its end", body) for (body,) in tail)
                return
            last, body = row
            yield self._decode(f"block {last}", body)

    def _decode(self, what: str, body: bytes) -> Sequence[RecordedEvent]:
        try:
            return [_EVENT.decode(packed) for packed in decompress(body)]
        except (ValueError, TypeError) as error:
            log.warning("%s: events are missing, because %s is damaged: %s", self._path.name, what, error)
            return []
