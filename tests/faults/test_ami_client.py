"""The judge of the AMI client finds every kind of violation, and none where there is none."""

from __future__ import annotations

import pytest

from tests.faults.ami_client import NAME, AmiJudge

BOOTED = b"Event: FullyBooted\r\nPrivilege: system,all\r\n\r\n"


def answer(number: int, response: bytes = b"Success") -> bytes:
    return b"Response: %b\r\nActionID: %d\r\nMessage: x\r\n\r\n" % (response, number)


def event(number: int) -> bytes:
    return b"Event: UserEvent\r\nUserEvent: %b\r\nActionID: %d\r\nNumber: %d\r\n\r\n" % (NAME, number, number)


def judged(*actions: list[bytes]) -> AmiJudge:
    """actions: the packets after each action."""
    judge = AmiJudge()
    for packets in actions:
        judge.send()
        for packet in packets:
            judge.feed_packet(packet)
    return judge


@pytest.mark.parametrize(
    "actions",
    [
        [[answer(1), event(1)], [answer(2)], [event(2), answer(3), event(3)]],
        [[event(1), answer(1)], [answer(2), event(2)]],
        [[answer(1)], [BOOTED, answer(2, b"Error")], [answer(3), event(3)]],
        [[BOOTED, answer(1)], [answer(2), event(2)]],
        [[answer(1, b"Error"), event(1)], [answer(2, b"Error")], [answer(3), event(3)]],
        [[answer(1)], [answer(2), event(2), event(1)]],
    ],
)
def test_what_a_client_may_receive(actions: list[list[bytes]]) -> None:
    judge = judged(*actions)
    assert judge.violations == [] and judge.answered


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([[answer(7)]], "an answer to b'7' after action 1"),
        ([[answer(1), answer(1)]], "an answer to b'1' after action 1"),
        ([[answer(1), event(1), event(1)]], "event 1 after event 1"),
        ([[answer(1)], [answer(2), event(2), event(1), event(1)]], "event 1 after event 2"),
        ([[answer(1)], [BOOTED], [answer(3), event(3), event(1)]], "event 1 after event 3"),
        ([[answer(1)], *([answer(number), event(number)] for number in range(2, 53))], "events [1] are missing before event 52"),
    ],
)
def test_what_a_client_must_not_receive(actions: list[list[bytes]], said: str) -> None:
    assert said in judged(*actions).violations
