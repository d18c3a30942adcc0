"""Large results are encoded in portions, each in a pass of the loop, and each portion asks for the next."""

from __future__ import annotations

import time

import pytest

from amid import wire
from amid.reader.result_encoder import ResultEncoder
from amid.rpc.messages import Failure
from amid.rpc.result import Items
from tests.processes.on_loop import Loop

LENGTH = 200_000


Answered = list[tuple[int, bytes | None]]


def encoder_on(loop: Loop, answered: Answered) -> ResultEncoder:
    def deliver(call_id: int, result: bytes | None, error: Failure | None) -> None:
        assert error is None
        answered.append((call_id, result))

    async def made() -> ResultEncoder:
        return ResultEncoder(deliver)

    return loop.run(made())


def items() -> Items:
    return Items(LENGTH, ({"Event": "Item", "Number": str(number)} for number in range(LENGTH)))


def test_each_portion_schedules_the_next(loop: Loop) -> None:
    answered: Answered = []
    encoder = encoder_on(loop, answered)
    encoder.start(1, time.monotonic() + 600, items(), as_json=False)
    loop.turn(1)
    assert encoder.pending and not answered
    loop.eventually(lambda: answered, "all portions are encoded")
    ((call_id, result),) = answered
    assert call_id == 1 and result is not None and len(wire.unpack(result)) == LENGTH
    assert not encoder.pending


@pytest.mark.parametrize(("forgotten", "left"), [(None, []), (1, [2])])
def test_a_forgotten_result_is_not_delivered(loop: Loop, forgotten: int | None, left: list[int]) -> None:
    """All, when the broker has ended."""
    answered: Answered = []
    encoder = encoder_on(loop, answered)
    for call_id in (1, 2):
        encoder.start(call_id, time.monotonic() + 600, items(), as_json=False)
    encoder.forget(forgotten)
    loop.eventually(lambda: not encoder.pending, "nothing is pending")
    assert [call_id for call_id, _ in answered] == left
