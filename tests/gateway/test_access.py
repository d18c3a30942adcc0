"""Tokens, their rights, and the delay of guesses."""

from __future__ import annotations

import pytest

from amid.config.tables import Token
from amid.errors import AmidError
from amid.gateway.access import Access, Principal
from amid.rpc.requests import check_request

WORD = "0123456789abcdefghij"


def principal(**rights: object) -> Principal:
    return Principal("crm", Token(token=WORD, **rights), "[crm] of tokens.toml")  # type: ignore[arg-type]


def test_a_token_identifies_its_principal() -> None:
    access = Access({"crm": Token(token=WORD), "wall": Token(token=WORD + "2")}, "tokens.toml")
    assert [access.principal(word) and access.principal(word).name for word in (WORD, WORD + "2", WORD[:-1], "", "\udcff")] == [  # type: ignore[union-attr]
        "crm", "wall", None, None, None,
    ]  # fmt: skip


def test_a_refusal_names_the_file_and_the_table_to_change() -> None:
    """It is not amid.toml."""
    for method, given in (("restart", {}), ("call", {"linkedid": "1.1"}), ("action", {"action": "Ping"}), ("state", {})):
        _, params, _, _ = check_request({"method": method, "params": given})
        with pytest.raises(AmidError, match=r"(in|from) \[crm\] of tokens\.toml"):
            principal(allow=["QueueStatus"], events_deny=["VarSet"]).check(method, params)


def test_the_lines_of_an_action_are_checked_like_its_fields() -> None:
    some = principal(allow=["Command: core show *"])
    for command, allowed in (("core show version", True), ("core stop now", False)):
        given = {"action": "Command", "raw": True, "lines": [f"Command: {command}"]}
        _, params, _, _ = check_request({"method": "action", "params": given})
        if allowed:
            some.check("action", params)
            continue
        with pytest.raises(AmidError) as refused:
            some.check("action", params)
        assert refused.value.kind == "denied"


def test_the_action_id_that_asterisk_sees_is_not_for_tokens() -> None:
    given = {"action": "Ping", "action_id": "amid-" + 32 * "0"}
    _, params, _, _ = check_request({"method": "action", "params": given})
    with pytest.raises(AmidError) as refused:
        principal().check("action", params)
    assert refused.value.kind == "denied"


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
        ({"events_allow": ["Hangup"]}, "events", "", {"names": ["Hangup"], "kinds": ["channels"]}, False),
        ({}, "events", "", {"kinds": ["channels"]}, True),
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


def test_event_names_are_folded_before_they_are_denied() -> None:
    """The daemon folds names: a token with a long s (U+017F) got events that its list denies."""
    some = principal(events_deny=["UserEvent"])
    assert not some.may_receive("U\u017ferEvent")
