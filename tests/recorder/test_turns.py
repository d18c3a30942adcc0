"""Turns of callers at the recorder."""

from __future__ import annotations

import asyncio

from amid.recorder.turns import Turns

CONCURRENT = 2


async def turns_of(requests: str) -> str:
    """The order in which requests have their turns. A request is named by its caller's letter."""
    turns, order = Turns(CONCURRENT), ""

    async def answer(caller: str) -> None:
        nonlocal order
        async with turns.take(caller):
            order += caller
            await asyncio.sleep(0)

    async with asyncio.timeout(10), asyncio.TaskGroup() as answers:
        for caller in requests:
            answers.create_task(answer(caller))
    return order


def test_a_caller_with_many_requests_delays_no_other() -> None:
    order = asyncio.run(turns_of("a" * 100 + "b" + "c"))
    assert order.index("b") <= 2 * CONCURRENT
    assert order.index("c") <= 2 * CONCURRENT + 1
    assert len(order) == 102


def test_a_caller_alone_has_all_turns() -> None:
    async def both() -> None:
        turns = Turns(CONCURRENT)
        async with asyncio.timeout(10), turns.take("a"), turns.take("a"):
            pass

    asyncio.run(both())


def test_the_requests_of_a_caller_keep_their_order() -> None:
    async def order() -> list[int]:
        turns, done = Turns(CONCURRENT), []

        async def answer(number: int) -> None:
            async with turns.take("a"):
                done.append(number)

        async with asyncio.timeout(10), asyncio.TaskGroup() as answers:
            for number in range(20):
                answers.create_task(answer(number))
        return done

    assert asyncio.run(order()) == list(range(20))
