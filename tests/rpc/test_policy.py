"""`allow` and `deny`: what passes, what is refused, and what the refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from amid.config import Caller
from amid.errors import AmidError
from amid.rpc.policy import check_action, check_admin

LISTS = {
    "no lists": ((), (), "Ping", True),
    "allowed": (("Ping",), (), "Ping", True),
    "not among the allowed": (("Ping",), (), "Originate", False),
    "denied": ((), ("Originate",), "Originate", False),
    "not among the denied": ((), ("Originate",), "Ping", True),
    "deny wins": (("Originate",), ("Originate",), "Originate", False),
    "in another case": ((), ("originate",), "ORIGINATE", False),
    "allowed in another case": (("ORIGINATE",), (), "originate", True),
    "a pattern": ((), ("DB*",), "DBDelTree", False),
    "not of the pattern": ((), ("DB*",), "Dial", True),
    "everything denied": ((), ("*",), "Ping", False),
    "all but some": (("*",), ("Command",), "Ping", True),
    "spaces around it, which Asterisk takes away": ((), ("Originate",), " Originate\t", False),
    "a name with a pattern's signs is no pattern": (("Ping",), (), "P*", False),
}


def allowed(action: str, fields: dict[str, Any] | None = None, **lists: Caller) -> bool:
    try:
        check_action(action, fields or {}, "local", lists)
    except AmidError as failure:
        assert (failure.kind, failure.sent) == ("denied", False)
        return False
    return True


@pytest.mark.parametrize(("allow", "deny", "action", "passes"), LISTS.values(), ids=LISTS)
def test_lists(allow: tuple[str, ...], deny: tuple[str, ...], action: str, passes: bool) -> None:
    assert allowed(action, **{"callers.local": Caller(allow=list(allow), deny=list(deny))}) is passes


def test_every_list_must_agree() -> None:
    server, caller = Caller(deny=["Originate"]), Caller(allow=["Originate", "Ping"])
    assert allowed("Ping", server=server, caller=caller)
    assert not allowed("Originate", server=server, caller=caller)
    assert not allowed("Status", server=server, caller=caller)


DIAL = {"Channel": "PJSIP/7", "Application": "Dial"}
RULES: dict[str, tuple[dict[str, list[str]], str, dict[str, Any], bool]] = {
    "an allowed command": ({"allow": ["Command: core show *"]}, "Command", {"Command": "core  SHOW uptime"}, True),
    "another command": ({"allow": ["Command: core show *"]}, "Command", {"Command": "core stop now"}, False),
    "no command": ({"allow": ["Command: core show *"]}, "Command", {}, False),
    "another action": ({"allow": ["Command: core show *"]}, "Ping", {}, False),
    "one of two rules": ({"allow": ["Ping", "command : CORE show *"]}, "Command", {"Command": "core show version"}, True),
    "a denied command": ({"deny": ["Command: module *"]}, "Command", {"Command": 'mod"ule" unload x'}, False),
    "not the denied command": ({"deny": ["Command: module *"]}, "Command", {"Command": "core show version"}, True),
    "deny wins": ({"allow": ["Command"], "deny": ["Command: core stop*"]}, "Command", {"Command": "core stop now"}, False),
    "a denied application": ({"deny": ["Originate: *System"]}, "Originate", {"application": "trysystem"}, False),
    "not the denied application": ({"deny": ["Originate: *System"]}, "Originate", DIAL, True),
    "an allowed application": ({"allow": ["Originate: Dial"]}, "Originate", DIAL, True),
    "an extension, where applications are": ({"allow": ["Originate: Dial"]}, "Originate", {"Exten": "1", "Context": "x"}, False),
    "an allowed context": ({"allow": ["Originate: *@sales"]}, "Originate", {"Exten": "1", "Context": "sales"}, True),
    "an application, where a context is": ({"allow": ["Originate: *@sales"]}, "Originate", DIAL, False),
    "a Local channel elsewhere": ({"allow": ["Originate: Dial"]}, "Originate", {**DIAL, "Channel": "Local/1@x"}, False),
    "a function": ({"allow": ["Originate: Dial"]}, "Originate", {**DIAL, "Variable": "FILE(/x)=1"}, False),
    "an allowed function": ({"allow": ["Originate: *", "Ping"]}, "Originate", {**DIAL, "Variable": "CALLERID(name)=x"}, True),
    "an allowed variable": ({"allow": ["Getvar: CDR(*)"]}, "Getvar", {"Variable": "CDR(src)"}, True),
    "another variable": ({"allow": ["Getvar: CDR(*)"]}, "Getvar", {"Variable": "AST_CONFIG(manager.conf,amid,secret)"}, False),
    "a name with a colon": ({"allow": ["Command: core*"]}, "Command: core", {}, False),
}


@pytest.mark.parametrize(("lists", "action", "fields", "passes"), RULES.values(), ids=RULES)
def test_rules_on_what_an_action_runs(lists: dict[str, list[str]], action: str, fields: dict[str, Any], passes: bool) -> None:
    assert allowed(action, fields, **{"servers.pbx1": Caller(), "callers.local": Caller(**lists)}) is passes  # type: ignore[arg-type]


def test_a_repeated_header_is_refused_where_a_rule_could_miss_it() -> None:
    twice = {"Application": ["Dial", "System"]}
    assert allowed("Originate", twice, caller=Caller())
    with pytest.raises(AmidError) as caught:
        check_action("Originate", twice, "web", {"callers.web": Caller(allow=["Originate: Dial"])})
    assert (caught.value.kind, caught.value.sent) == ("invalid_params", False)


def test_a_refusal_names_the_caller_the_action_and_the_table() -> None:
    with pytest.raises(AmidError) as caught:
        check_action("Originate", {}, "web", {"servers.pbx1": Caller(), "callers.web": Caller(deny=["Orig*"])})
    assert all(word in caught.value.message for word in ("'web'", "'Originate'", "[callers.web]"))


def test_only_an_admin_may_change_amid() -> None:
    check_admin("restart", "local", Caller(admin=True))
    with pytest.raises(AmidError) as caught:
        check_admin("restart", "web", Caller())
    assert (caught.value.kind, caught.value.sent) == ("denied", False)
    assert "admin in [callers.web]" in caught.value.message
