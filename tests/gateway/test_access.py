"""Tokens, their rights, and the delay of guesses."""

from __future__ import annotations

import pytest

from amid.config import Token
from amid.errors import AmidError
from amid.events.replay_buffer import NamesFolder
from amid.gateway.access import FORGET_S, LOCK_OVER_S, MAX_DELAY_S, REMEMBERED, Access, Guesses, Principal
from amid.gateway.sessions import digest
from amid.rpc.requests import check_request

WORD = "0123456789abcdefghij"


def principal(**rights: object) -> Principal:
    return Principal("crm", Token(token=WORD, **rights))  # type: ignore[arg-type]


def test_a_token_identifies_its_principal() -> None:
    access = Access({"crm": Token(token=WORD), "wall": Token(token=WORD + "2")})
    assert [access.principal(word) and access.principal(word).name for word in (WORD, WORD + "2", WORD[:-1], "", "\udcff")] == [  # type: ignore[union-attr]
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
        ({}, "events", "", {}, True),
        ({}, "events", "", {"names": ["Hangup"]}, True),
        ({"events_allow": ["Hangup"]}, "events", "", {}, False),
        ({"events_allow": ["Hangup"]}, "events", "", {"names": ["HANGUP"]}, True),
        ({"events_allow": ["Hangup"]}, "events", "", {"names": ["Hangup", "Newchannel"]}, False),
        ({"events_allow": ["Hang*"]}, "events", "", {"names": ["HangupRequest", "Hangup"]}, True),
        ({"events_allow": ["Hang*"]}, "events", "", {"names": ["*"]}, False),
        ({"events_deny": ["Hangup"]}, "events", "", {}, False),
        ({"events_deny": ["Hangup"]}, "events", "", {"names": ["hangUP"]}, False),
        ({"events_deny": ["Hangup"]}, "events", "", {"names": ["Newchannel"]}, True),
        ({"events_deny": ["UserEvent"]}, "events", "", {"names": ["U\u017fereVent"]}, False),
        ({"events_deny": ["U\u017fereVent"]}, "events", "", {"names": ["UserEvent"]}, False),
    ],
)
def test_rights_to_methods(rights: dict[str, object], method: str, action: str, fields: dict[str, str], allowed: bool) -> None:
    given = {"action": {"action": action, "fields": fields}, "events": fields}.get(method)
    _, params, _, _ = check_request({"method": method, "params": given})
    if allowed:
        principal(**rights).check(method, params)
        return
    with pytest.raises(AmidError, match="crm") as refused:
        principal(**rights).check(method, params)
    assert (refused.value.kind, refused.value.sent) == ("denied", False)


def test_rights_to_events() -> None:
    some = principal(events_allow=["Queue*", "Hangup"], events_deny=["QueueMember*"])
    heard = {name: some.may_receive(name) for name in ("QueueCallerJoin", "hangup", "QueueMemberPause", "Newchannel")}
    assert heard == {"QueueCallerJoin": True, "hangup": True, "QueueMemberPause": False, "Newchannel": False}
    assert principal().may_receive("Newchannel") and not principal(events_deny=["*"]).may_receive("Newchannel")


MARK, RIGHT = digest("guess"), digest(WORD)


def test_each_wrong_token_from_a_network_is_delayed_longer() -> None:
    guesses, now, waits = Guesses(), 0.0, []
    for _ in range(10):
        waits.append(guesses.failed("192.0.2.1", now))
        now += waits[-1]
    assert waits == sorted(waits) and waits[0] == 0.1 and waits[-1] == pytest.approx(MAX_DELAY_S)
    assert guesses.failed("192.0.2.2", now) == pytest.approx(0.1), "another network begins at the beginning"
    assert guesses.failed("192.0.2.1", now + FORGET_S) == pytest.approx(0.1), "and so does one that was quiet"
    assert guesses.count == 12


def test_simultaneous_wrong_tokens_are_no_faster() -> None:
    """720 connections of one network that try tokens one after the other for a minute."""
    guesses, answered = Guesses(), []
    for now in range(60):
        for _ in range(720):
            if not guesses.locked_s("192.0.2.1", MARK, float(now)):
                answered.append(now + guesses.failed("192.0.2.1", float(now)))
    assert answered == sorted(answered) and len(answered) < 25
    assert not guesses.locked_s("192.0.2.2", MARK, 59.0), "others are compared at once"


def test_a_valid_token_is_accepted_during_guesses_from_its_network() -> None:
    guesses = Guesses()
    guesses.succeeded("192.0.2.1", RIGHT)
    while not guesses.locked_s("192.0.2.1", MARK, 0.0):
        guesses.failed("192.0.2.1", 0.0)
    assert guesses.locked_s("192.0.2.1", RIGHT, 0.0) == 0
    assert guesses.locked_s("192.0.2.1", MARK, 0.0) > LOCK_OVER_S
    assert guesses.locked_s("192.0.2.1", MARK, MAX_DELAY_S) == 0, "it is a short while"


def test_event_names_are_folded_before_they_are_denied() -> None:
    """The daemon folds names: a token with a long s (U+017F) got events that its list denies."""
    some = principal(events_deny=["UserEvent"])
    assert NamesFolder()("U\u017ferEvent") == NamesFolder()("UserEvent") and not some.may_receive("U\u017ferEvent")


def test_the_number_of_remembered_networks_is_limited() -> None:
    guesses = Guesses()
    for number in range(REMEMBERED + 10):
        guesses.failed(str(number), 0.0)
        guesses.succeeded(str(number), RIGHT)
    assert len(guesses._recent) == len(guesses._right) == REMEMBERED
