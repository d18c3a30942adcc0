"""Large results are encoded in portions, each in a pass of the loop, and each portion asks for the next."""

from __future__ import annotations

import time

from amid import wire
from amid.reader.result_encoder import ResultEncoder
from amid.rpc.messages import Failure
from amid.rpc.result import Items
from tests.processes.on_loop import Loop

LENGTH = 200_000


def test_each_portion_schedules_the_next(loop: Loop) -> None:
    answered: list[bytes] = []

    def deliver(call_id: int, result: bytes | None, error: Failure | None) -> None:
        assert result is not None and error is None
        answered.append(result)

    async def encoder_on_loop() -> ResultEncoder:
        return ResultEncoder(deliver)

    encoder = loop.run(encoder_on_loop())
    items = Items(LENGTH, ({"Event": "Item", "Number": str(number)} for number in range(LENGTH)))
    encoder.start(1, time.monotonic() + 600, items, as_json=False)
    loop.turn(1)
    assert encoder.pending and not answered
    loop.eventually(lambda: answered, "all portions are encoded")
    assert len(wire.unpack(answered[0])) == LENGTH
    assert not encoder.pending
