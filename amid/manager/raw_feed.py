"""Detects missing events of a server from their numbers."""

from __future__ import annotations

from typing import NamedTuple


class Loss(NamedTuple):
    """missed: the number of missing events; None if unknown, because a new session with Asterisk
    began. misses_boot: whether the first event of that session, FullyBooted, is missing too: a new
    reader does not wait for its subscribers."""

    missed: int | None
    misses_boot: bool = False


class RawFeed:
    """Compares the numbers of consecutive messages. Nothing is missing before the first one."""

    def __init__(self) -> None:
        self.epoch: int | None = None
        self._seq = 0

    def receive(self, epoch: int, first: int, count: int) -> Loss | None:
        """Process a message with `count` events, the first of which has the number `first`."""
        loss = self._compare(epoch, first - 1)
        self._seq = first + count - 1
        return loss

    def receive_tick(self, epoch: int, seq: int) -> Loss | None:
        """Process a tick: the last published event has the number `seq`."""
        loss = self._compare(epoch, seq)
        self._seq = seq
        return loss

    def _compare(self, epoch: int, seq: int) -> Loss | None:
        known, self.epoch = self.epoch, epoch
        if known is None:
            return None
        if epoch != known:
            return Loss(None, seq > 0)
        return Loss(seq - self._seq) if seq > self._seq else None
