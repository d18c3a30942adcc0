"""However many pages of past events are asked for at once, a few are worked on: an answer may have all that the ring holds."""

from __future__ import annotations

import time
from typing import cast

from amid.events.message import Event
from amid.events.ring import Held, Ring
from amid.events.sequence import Numberer
from amid.reader.publisher import Publisher
from amid.reader.replays import AT_ONCE, PORTION, Replays
from amid.rpc.messages import Failure, ReplayEvents

EVENTS = 10 * PORTION


class Past:
    """What a publisher has of the past."""

    def __init__(self) -> None:
        self.numbers = Numberer(1)
        self.ring = Ring(1 << 24)
        first, nths = self.numbers.number(["X"] * EVENTS)
        self.ring.add(1, first, nths, 0.0, b"Event: X\r\n\r\n" * EVENTS)

    def replayed(self, epoch: int, held: Held) -> Event:
        return Event("pbx1", epoch, held.seq, held.nth, held.time, "X", {})


def test_a_few_answers_grow_at_once_and_all_are_given() -> None:
    answered: list[int] = []

    def deliver(call_id: int, result: bytes | None, error: Failure | None) -> None:
        assert result is not None and error is None
        answered.append(call_id)

    replays = Replays("pbx1", cast(Publisher, Past()), deliver)
    for call_id in range(20):
        replays.ask(ReplayEvents(call_id, time.monotonic() + 60, 1, 0, EVENTS))
    while replays.pending:
        replays.step()
        assert len(replays._begun) <= AT_ONCE and not any(replay.events for replay in replays._waiting)
    assert answered == list(range(20))
