"""Large results are encoded a portion at a time, and each portion asks for the next."""

from __future__ import annotations

import time

from amid import wire
from amid.reader.result_encoder import ResultEncoder
from amid.rpc.messages import Failure
from amid.rpc.result import Items

LENGTH = 50_000


def test_each_portion_schedules_the_next() -> None:
    answered: list[bytes] = []
    asked: list[bool] = []

    def deliver(call_id: int, result: bytes | None, error: Failure | None) -> None:
        assert result is not None and error is None
        answered.append(result)

    encoder = ResultEncoder(deliver, lambda: asked.append(True))
    items = Items(LENGTH, ({"Event": "Item", "Number": str(number)} for number in range(LENGTH)))
    encoder.start(1, time.monotonic() + 600, items, as_json=False)
    while not answered:
        assert asked, "no further step is scheduled"
        asked.clear()
        encoder.step()
    assert len(wire.unpack(answered[0])) == LENGTH
    assert not encoder.pending
