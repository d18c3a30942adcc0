"""Whose token it is, what it may do, and how slowly a guess is answered."""

from __future__ import annotations

import pytest

from amid.config import Token
from amid.errors import AmidError
from amid.gateway.access import FORGET_S, LONGEST_S, REMEMBERED, SLOWEST_S, Access, Guesses, Holder
from amid.gateway.sessions import digest
from amid.rpc.requests import check_request

WORD = "0123456789abcdefghij"


def holder(**rights: object) -> Holder:
    return Holder("crm", Token(token=WORD, **rights))  # type: ignore[arg-type]


def test_a_token_is_its_holders() -> None:
    access = Access({"crm": Token(token=WORD), "wall": Token(token=WORD + "2")})
    assert [access.holder(word) and access.holder(word).name for word in (WORD, WORD + "2", WORD[:-1], "", "\udcff")] == [  # type: ignore[union-attr]
        "crm", "wall", None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rights", "method", "action", "fields", "allowed"),
    [
        ({}, "action", "Originate", {}, True),
        ({"allow": ["Ping", "Queue*"]}, "action", "queuestatus", {}, True),
        ({"allow": ["Ping", "Queue*"]}, "action", "Originate", {}, False),
        ({"allow": ["*"], "deny": ["Command"]}, "action", "COMMAND", {}, False),
        ({"allow": ["Command: core show *"]}, "action", "Command", {"Command": "core show version"}, True),
        ({"allow": ["Command: core show *"]}, "action", "Command", {"Command": "core stop now"}, False),
        ({"allow": ["Ping"]}, "actions", "", {}, False),
        ({"allow": ["Ping"]}, "status", "", {}, True),
        ({}, "restart", "", {}, False),
        ({"admin": True}, "restart", "", {}, True),
        ({"events_allow": ["Hangup"]}, "replay", "", {}, False),
        ({"events_deny": ["Hangup"]}, "replay", "", {}, False),
        ({}, "replay", "", {}, True),
    ],
)
def test_what_a_holder_may_call(rights: dict[str, object], method: str, action: str, fields: dict[str, str], allowed: bool) -> None:
    given = {"action": {"action": action, "fields": fields}, "replay": {"epoch": 1, "after": 0}}.get(method)
    _, params, _, _ = check_request({"method": method, "params": given})
    if allowed:
        holder(**rights).check(method, params)
        return
    with pytest.raises(AmidError, match="crm") as refused:
        holder(**rights).check(method, params)
    assert (refused.value.kind, refused.value.sent) == ("denied", False)


def test_what_a_holder_hears() -> None:
    some = holder(events_allow=["Queue*", "Hangup"], events_deny=["QueueMember*"])
    heard = {name: some.hears(name) for name in ("QueueCallerJoin", "hangup", "QueueMemberPause", "Newchannel")}
    assert heard == {"QueueCallerJoin": True, "hangup": True, "QueueMemberPause": False, "Newchannel": False}
    assert holder().hears("Newchannel") and not holder(events_deny=["*"]).hears("Newchannel")


MARK, RIGHT = digest("guess"), digest(WORD)


def test_each_wrong_token_from_a_network_waits_longer() -> None:
    guesses, now, waits = Guesses(), 0.0, []
    for _ in range(10):
        waits.append(guesses.failed("192.0.2.1", now))
        now += waits[-1]
    assert waits == sorted(waits) and waits[0] == 0.1 and waits[-1] == pytest.approx(SLOWEST_S)
    assert guesses.failed("192.0.2.2", now) == pytest.approx(0.1), "another network begins at the beginning"
    assert guesses.failed("192.0.2.1", now + FORGET_S) == pytest.approx(0.1), "and so does one that was quiet"
    assert guesses.count == 12


def test_wrong_tokens_that_come_at_once_are_no_faster() -> None:
    """720 connections of one network, each of which tries another token as soon as it has its answer, for a minute."""
    guesses, answered = Guesses(), []
    for now in range(60):
        for _ in range(720):
            if not guesses.locked_s("192.0.2.1", MARK, float(now)):
                answered.append(now + guesses.failed("192.0.2.1", float(now)))
    assert answered == sorted(answered) and len(answered) < 25
    assert not guesses.locked_s("192.0.2.2", MARK, 59.0), "others are compared at once"


def test_a_holder_beside_one_that_guesses_is_served() -> None:
    guesses = Guesses()
    guesses.succeeded("192.0.2.1", RIGHT)
    while not guesses.locked_s("192.0.2.1", MARK, 0.0):
        guesses.failed("192.0.2.1", 0.0)
    assert guesses.locked_s("192.0.2.1", RIGHT, 0.0) == 0
    assert guesses.locked_s("192.0.2.1", MARK, 0.0) > LONGEST_S
    assert guesses.locked_s("192.0.2.1", MARK, SLOWEST_S) == 0, "it is a short while"


def test_networks_are_bounded() -> None:
    guesses = Guesses()
    for number in range(REMEMBERED + 10):
        guesses.failed(str(number), 0.0)
        guesses.succeeded(str(number), RIGHT)
    assert len(guesses._recent) == len(guesses._right) == REMEMBERED
