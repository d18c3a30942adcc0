"""Whose token it is, what it may do, and how slowly a guess is answered."""

from __future__ import annotations

import pytest

from amid.config import Token
from amid.errors import AmidError
from amid.gateway.access import ADDRESSES, FORGET_S, SLOWEST_S, Access, Failures, Holder
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
def test_what_a_holder_may_call(
    rights: dict[str, object], method: str, action: str, fields: dict[str, str], allowed: bool
) -> None:
    given = {"action": {"action": action, "fields": fields}, "replay": {"epoch": 1, "after": 0}}.get(method)
    _, params = check_request({"method": method, "params": given})
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


def test_each_wrong_token_from_an_address_waits_longer() -> None:
    failures = Failures()
    waits = [failures.failed("10.0.0.1", now) for now in range(10)]
    assert waits == sorted(waits) and waits[0] == 0.1 and waits[-1] == SLOWEST_S
    assert failures.failed("10.0.0.2", 10) == 0.1, "another address begins anew"
    assert failures.failed("10.0.0.1", 9 + FORGET_S) == 0.1, "and so does one that was quiet"
    assert failures.count == 12


def test_addresses_are_bounded() -> None:
    failures = Failures()
    for number in range(ADDRESSES + 10):
        failures.failed(str(number), 0.0)
    assert len(failures._recent) == ADDRESSES
