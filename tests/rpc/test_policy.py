"""`allow` and `deny`: permitted and denied actions, and the error messages."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from amid.config.tables import Caller
from amid.errors import AmidError
from amid.rpc.policy import check_action, check_admin, check_history, matches
from amid.rpc.requests import CallParams, CallsParams

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
def test_rules_allow_and_deny(allow: tuple[str, ...], deny: tuple[str, ...], action: str, passes: bool) -> None:
    assert allowed(action, {}, **{"[callers.local]": Caller(allow=list(allow), deny=list(deny))}) is passes


def test_all_lists_must_allow_an_action() -> None:
    server, caller = Caller(deny=["Originate"]), Caller(allow=["Originate", "Ping"])
    assert allowed("Ping", server=server, caller=caller)
    assert not allowed("Originate", server=server, caller=caller)
    assert not allowed("Status", server=server, caller=caller)


DIAL = {"Channel": "PJSIP/7", "Application": "Dial"}
SALES = {"Exten": "1", "Context": "sales"}
Rules = tuple[dict[str, list[str]], str, dict[str, Any], bool]
RULES: dict[str, Rules] = {
    "an allowed command": ({"allow": ["Command: core show *"]}, "Command", {"Command": "core  SHOW uptime"}, True),
    "another command": ({"allow": ["Command: core show *"]}, "Command", {"Command": "core stop now"}, False),
    "no command": ({"allow": ["Command: core show *"]}, "Command", {}, False),
    "another action": ({"allow": ["Command: core show *"]}, "Ping", {}, False),
    "one of two rules": ({"allow": ["Ping", "command : CORE show *"]}, "Command", {"Command": "core show version"}, True),
    "a denied command": ({"deny": ["Command: module *"]}, "Command", {"Command": 'mod"ule" unload x'}, False),
    "not the denied command": ({"deny": ["Command: module *"]}, "Command", {"Command": "core show version"}, True),
    "deny wins": ({"allow": ["Command"], "deny": ["Command: core stop*"]}, "Command", {"Command": "core stop now"}, False),
    "a denied application": ({"deny": ["Originate: *Vm"]}, "Originate", {"application": "MyVm"}, False),
    "not the denied application": ({"deny": ["Originate: *System"]}, "Originate", DIAL, True),
    "an allowed application": ({"allow": ["Originate: Dial"]}, "Originate", DIAL, True),
    "an extension, where applications are": ({"allow": ["Originate: Dial"]}, "Originate", {"Exten": "1", "Context": "x"}, False),
    "an allowed context": ({"allow": ["Originate: *@sales"]}, "Originate", SALES, True),
    "an application, where a context is": ({"allow": ["Originate: *@sales"]}, "Originate", DIAL, False),
    "a Local channel elsewhere": ({"allow": ["Originate: Dial"]}, "Originate", {**DIAL, "Channel": "Local/1@x"}, False),
    "a function": ({"allow": ["Originate: Dial"]}, "Originate", {**DIAL, "Variable": "FILE(/x)=1"}, False),
    "an allowed function": ({"allow": ["Originate: *", "Ping"]}, "Originate", {**DIAL, "Variable": "CALLERID(name)=x"}, True),
    "an allowed variable": ({"allow": ["Getvar: CDR(*)"]}, "Getvar", {"Variable": "CDR(src)"}, True),
    "another variable": ({"allow": ["Getvar: CDR(*)"]}, "Getvar", {"Variable": "AST_CONFIG(manager.conf,amid,secret)"}, False),
    "a name with a colon": ({"allow": ["Command: core*"]}, "Command: core", {}, False),
}
"""What rules could say before there were others."""

MIX = ("MixMonitor", {"File": "x.wav", "Command": "touch F"})
RECORD: tuple[str, dict[str, Any]] = ("ConfbridgeStartRecord", {"Conference": "1", "RecordFile": "x.wav,,touch F;true"})
MORE: dict[str, Rules] = {
    "a wildcard gives the action": ({"allow": ["Queue*"]}, "QueuePause", {"Interface": "PJSIP/1"}, True),
    "and an endpoint": ({"allow": ["Queue*"]}, "QueueAdd", {"Interface": "PJSIP/1"}, True),
    "a wildcard does not give an extension": ({"allow": ["Queue*"]}, "QueueAdd", {"Interface": "Local/78@secret/n"}, False),
    "a wildcard does not give a trunk": ({"allow": ["Queue*"]}, "QueueAdd", {"Interface": "PJSIP/0900@trunk"}, False),
    "a whole name gives an extension": ({"allow": ["QueueAdd"]}, "QueueAdd", {"Interface": "Local/78@agents/n"}, True),
    "a context for members": ({"allow": ["Queue*", "QueueAdd: *@agents"]}, "QueueAdd", {"Interface": "Local/78@agents/n"}, True),
    "a wildcard does not record": ({"allow": ["Confbridge*"]}, *RECORD, False),
    "a whole name does not give a shell": ({"allow": ["ConfbridgeStartRecord"]}, *RECORD, False),
    "a whole name gives a recording": ({"allow": ["Monitor"]}, "Monitor", {"File": "x"}, True),
    "but not another file": ({"allow": ["Monitor"]}, "Monitor", {"File": "/x"}, False),
    "nor a shell": ({"allow": ["Monitor"]}, "Monitor", {"File": 'm";touch F;"'}, False),
    "a folder": ({"allow": ["Monitor: /srv/*"]}, "Monitor", {"File": "/srv/x"}, True),
    "out of a folder": ({"allow": ["Monitor: /srv/*"]}, "Monitor", {"File": "/srv/../etc/x"}, False),
    "names of files are not paths": ({"allow": ["Monitor: *x"]}, "Monitor", {"File": "/srv/x"}, False),
    "a shell for itself": ({"allow": ["MixMonitor", "MixMonitor: !touch *"]}, *MIX, True),
    "not among files": ({"allow": ["MixMonitor: *"]}, *MIX, True),
    "a name of a file is no shell": ({"allow": ["MixMonitor", "MixMonitor: *f"]}, *MIX, False),
    "a parker": ({"allow": ["Park"]}, "Park", {"TimeoutChannel": "Local/77@secret/n"}, False),
    "passwords by a wildcard": ({"allow": ["PJSIPShow*"]}, "PJSIPShowAuths", {}, False),
    "a list beside them": ({"allow": ["PJSIPShow*"]}, "PJSIPShowContacts", {}, True),
    "passwords by the whole name": ({"allow": ["PJSIPShowAuths"]}, "PJSIPShowAuths", {}, False),
    "passwords by a rule": ({"allow": ["PJSIPShowAuths: passwords"]}, "PJSIPShowAuths", {}, True),
    "passwords by no rule": ({}, "PJSIPShowAuths", {}, False),
    "everything but what is guarded": ({"allow": ["*"]}, "PJSIPShowAuths", {}, False),
    "everything": ({"allow": ["*: *"]}, "PJSIPShowAuths", {}, True),
    "everything and one": ({"allow": ["*", "Originate: FILE()"]}, "Originate", {**DIAL, "Variable": "FILE(/x)=1"}, True),
    "a shell by no rule": ({}, "Originate", {**DIAL, "Variable": "FILE(/x)=1"}, False),
    "a shell by the whole name": ({"allow": ["Originate"]}, "Originate", {"Application": "System"}, False),
    "an operator's call": ({}, "Originate", {"Channel": "Local/1@x", "Exten": "1", "Context": "x"}, True),
    "an operator's command": ({}, "Command", {"Command": "core show uptime"}, True),
    "an unknown action": ({}, "Nonsense", {}, True),
    "an unknown action by its name": ({"allow": ["Nonsense"]}, "Nonsense", {}, True),
    "an unknown action by a wildcard": ({"allow": ["Non*"]}, "Nonsense", {}, False),
    "two slashes": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "Local/11@secret/x@sales/n"}, False),
    "options as a context": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "Local/11/x@sales/n"}, False),
    "an endpoint": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "PJSIP/alice"}, True),
    "an address": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "PJSIP/alice/sip:1@sales"}, False),
    "a trunk of that name": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "PJSIP/0900@sales"}, False),
    "a socket": ({"allow": ["Originate: *@sales"]}, "Originate", {**SALES, "Channel": "AudioSocket/h:1/u@sales"}, False),
    "a socket by no rule": ({}, "Originate", {**SALES, "Channel": "AudioSocket/h:1/u"}, False),
    "a trunk by a rule": (
        {"allow": ["Originate: *@sales", "Originate: PJSIP/*"]}, "Originate", {**SALES, "Channel": "PJSIP/1@t"}, True,
    ),
    "an address is not a channel": (
        {"allow": ["Originate: *@sales", "Originate: PJSIP/*"]}, "Originate", {**SALES, "Channel": "PJSIP/a/sip:b@c"}, False,
    ),
    "an address by a rule": (
        {"allow": ["Originate: *@sales", "Originate: PJSIP/*/sip:*"]}, "Originate", {**SALES, "Channel": "PJSIP/a/sip:b@c"}, True,
    ),
    "a denied endpoint": ({"deny": ["Originate: PJSIP/alice"]}, "Originate", {**SALES, "Channel": "PJSIP/alice"}, False),
    "a denied number": ({"deny": ["Originate: 911*"]}, "Originate", {"Exten": "911", "Context": "x"}, False),
    "a denied number with dashes": ({"deny": ["Originate: 911@*"]}, "Originate", {"Exten": "9-1-1", "Context": "x"}, False),
    "an extension that looks like a context": (
        {"allow": ["Originate: *@sales*"]}, "Originate", {"Exten": "1@sales", "Context": "secret"}, False,
    ),
    "contexts of one beginning": ({"allow": ["Originate: *@sales*"]}, "Originate", {"Exten": "1", "Context": "sales-eu"}, True),
    "a question mark is no wildcard": ({"allow": ["Pin?"]}, "Ping", {}, False),
    "brackets are no wildcard": ({"allow": ["Getvar: HASH(x[1])"]}, "Getvar", {"Variable": "HASH(x[1])"}, True),
    "brackets are themselves": ({"deny": ["Command: core show [a-z]*"]}, "Command", {"Command": "core show uptime"}, True),
}  # fmt: skip


@pytest.mark.parametrize(("lists", "action", "fields", "passes"), MORE.values(), ids=MORE)
def test_rules_with_targets(lists: dict[str, list[str]], action: str, fields: dict[str, Any], passes: bool) -> None:
    assert allowed(action, fields, **{"[servers.pbx1]": Caller(), "[callers.local]": Caller(**lists)}) is passes  # type: ignore[arg-type]


def test_a_guarded_target_may_be_allowed_for_a_server_or_a_caller() -> None:
    guarded = "Getvar", {"Variable": "SHELL(id)"}
    widened = Caller(allow=["*", "Getvar: SHELL(*)"])
    assert allowed(*guarded, server=widened, caller=Caller()) and allowed(*guarded, server=Caller(), caller=widened)
    assert not allowed(*guarded, server=widened, caller=Caller(allow=["*"]))


REMEDIES = {
    "a shell": ((), "Originate", {"Channel": "PJSIP/1", "Application": "System"}, '["*", "Originate: system"] in [callers.local]'),
    "a list": (("Ping", "Originate: x"), "Originate", {"Channel": "DAHDI/1", "Application": "X"}, '[..., "Originate: dahdi/1"]'),
    "an answer": (("PJSIP*",), "PJSIPShowAuths", {}, '[..., "PJSIPShowAuths: passwords"]'),
    "a wildcard in the value": (("Orig*",), "Originate", {"Exten": "*97", "Context": "x"}, '[..., "Originate"]'),
}


@pytest.mark.parametrize(("allow", "action", "fields", "remedy"), REMEDIES.values(), ids=REMEDIES)
def test_a_refusal_says_which_rule_to_add(allow: tuple[str, ...], action: str, fields: dict[str, Any], remedy: str) -> None:
    with pytest.raises(AmidError) as caught:
        check_action(action, fields, "local", {"[servers.pbx1]": Caller(), "[callers.local]": Caller(allow=list(allow))})
    assert remedy in caught.value.message


KEEP_ADMIN = "in [callers.local], and admin = true if that table is new, or local callers lose it)"


@pytest.mark.parametrize(
    ("lists", "kept"), [(Caller(admin=True), True), (Caller(allow=["Ping"]), False)], ids=["no table", "a table"]
)
def test_a_refusal_without_a_table_says_how_to_keep_admin(lists: Caller, kept: bool) -> None:
    """Following the advice took `restart`, `audit` and `trace` away from local callers."""
    with pytest.raises(AmidError) as caught:
        check_action("Getvar", {"Variable": "SHELL(id)"}, "local", {"[servers.pbx1]": Caller(), "[callers.local]": lists})
    assert caught.value.message.endswith(KEEP_ADMIN) is kept
    with pytest.raises(AmidError) as caught:
        check_history("calls", "local", "[callers.local]", lists, CallsParams())
    assert f"history = true {KEEP_ADMIN}" in caught.value.message


def test_names_are_checked_before_fields() -> None:
    """A request of 60 kB caused a quadratic search before its caller was checked."""

    class Unread(dict[str, Any]):
        def items(self) -> Any:
            raise AssertionError("the fields were read")

    with pytest.raises(AmidError) as caught:
        check_action("Originate", Unread(Variable="a" * 60_000 + ")=1"), "web", {"[callers.web]": Caller(allow=["Ping"])})
    assert caught.value.kind == "denied"


def test_checking_fields_takes_bounded_time() -> None:
    fields = {"Channel": "PJSIP/1", "Application": "Wait", "Variable": "a" * 60_000 + ")=1"}
    began = time.process_time()
    with pytest.raises(AmidError, match="1022"):
        check_action("Originate", fields, "web", {"[callers.web]": Caller(allow=["Originate: Wait"])})
    for text in ("a" * 900 + ")=1", "a(" * 450 + ")=1", "," * 900, "=" * 900):
        allowed("Originate", {**fields, "Variable": [text] * 100}, caller=Caller(allow=["Originate: " + "*a" * 100]))
    assert time.process_time() - began < 5


MATCHES = {
    ("*", ""): True, ("*", "x"): True, ("a*", "a"): True, ("a*a", "a"): False, ("a*a", "aa"): True, ("*b*", "abc"): True,
    ("a*b*c", "aXbYc"): True, ("a*b*c", "acb"): False, ("*ab", "aab"): True, ("**", ""): True, ("x", "x"): True, ("x", "xy"): False,
    ("", ""): True, ("", "x"): False, ("a*bc*bc", "abcbc"): True, ("a*bc*bc", "abc"): False,
}  # fmt: skip


@pytest.mark.parametrize(("pattern", "text"), MATCHES)
def test_only_an_asterisk_is_a_wildcard(pattern: str, text: str) -> None:
    assert matches(pattern, text) is MATCHES[pattern, text]


SPELLINGS = [
    "Originate", "originate", "ORIGINATE", "oRiGiNaTe", " Originate", "Originate ", "\tOriginate", "Originate\t", "  Originate  ",
    "Originate\n", "\nOriginate", "Originate\r\n", "\x0bOriginate", "\x0cOriginate", "Originate\x0c", "originate\t \t",
    "\x1cOriginate", "\x1dOriginate", "\x1eOriginate", "\x1fOriginate", "\x85Originate", "\xa0Originate", "Originate\xa0",
    "\u2003Originate", "\u3000Originate", "\u2028Originate", "originatE", "OriginATE", "ORIGINATE ", "\r\nORIGINATE\r\n",
]  # fmt: skip
SENT_AS_THEY_ARE = ["\x01Originate", "Originate:", "Originate\0", "Origi\u200bnate", "\u200bOriginate", "Or\u0131ginate"]
"""Not the name for any rule, and not for Asterisk: `allow` is what they meet, and tests/asterisk sends them."""


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
def test_every_spelling_of_a_denied_action_is_denied(spelling: str) -> None:
    assert len(SPELLINGS) >= 30
    assert not allowed(spelling, {"Exten": "1", "Context": "x"}, caller=Caller(deny=["Originate"]))


@pytest.mark.parametrize("spelling", SENT_AS_THEY_ARE, ids=repr)
def test_an_invalid_name_is_not_allowed(spelling: str) -> None:
    assert not allowed(spelling, caller=Caller(allow=["Originate", "Ping"]))


@pytest.mark.parametrize(("lists", "action", "fields", "passes"), RULES.values(), ids=RULES)
def test_rules_with_applications(lists: dict[str, list[str]], action: str, fields: dict[str, Any], passes: bool) -> None:
    assert allowed(action, fields, **{"[servers.pbx1]": Caller(), "[callers.local]": Caller(**lists)}) is passes  # type: ignore[arg-type]


def test_a_repeated_header_is_refused_where_a_rule_could_miss_it() -> None:
    twice = {"Application": ["Dial", "System"]}
    with pytest.raises(AmidError) as caught:
        check_action("Originate", twice, "web", {"[callers.web]": Caller(allow=["Originate: Dial"])})
    assert (caught.value.kind, caught.value.sent) == ("invalid_params", False)


@pytest.mark.parametrize(
    ("action", "missing"),
    [
        ("Originate", "an extension and a context, or an application (give them;"),
        ("Redirect", "an extension and a context (give them;"),
    ],
)
def test_a_refusal_says_which_fields_are_missing(action: str, missing: str) -> None:
    with pytest.raises(AmidError) as caught:
        check_action(action, {}, "web", {"[callers.web]": Caller(allow=[f"{action}: *@sales"])})
    assert f"the action {action!r} without {missing}" in caught.value.message and "'@'" not in caught.value.message


def test_a_refusal_names_the_caller_the_action_and_the_table() -> None:
    with pytest.raises(AmidError) as caught:
        check_action("Originate", {}, "web", {"[servers.pbx1]": Caller(), "[callers.web]": Caller(deny=["Orig*"])})
    assert all(word in caught.value.message for word in ("'web'", "'Originate'", "[callers.web]"))


REFUSALS: dict[str, tuple[dict[str, Caller], str, str]] = {
    "a name on the caller's deny": ({"[callers.web]": Caller(deny=["Orig*"])}, "Originate", 'deny in [callers.web] has "Orig*"'),
    "a name that is not on the caller's allow": (
        {"[callers.web]": Caller(allow=["Ping"])}, "Originate", 'to allow it: allow = [..., "Originate"] in [callers.web]'
    ),
    "a target on the caller's deny": (
        {"[callers.web]": Caller(deny=["Originate: *@secret"])}, "Originate", 'deny in [callers.web] has "Originate: *@secret"'
    ),
    "a name on the server's deny": ({"[servers.pbx1]": Caller(deny=["Orig*"])}, "Originate", "see deny in [servers.pbx1]"),
    "a target on the server's deny": (
        {"[servers.pbx1]": Caller(deny=["Originate: *@secret"])}, "Originate", "see deny in [servers.pbx1]"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lists", "action", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_denying_rule(lists: dict[str, Caller], action: str, words: str) -> None:
    """A caller may see its own list; the rest of a server's list is confidential."""
    with pytest.raises(AmidError) as caught:
        check_action(action, {"Exten": "1", "Context": "secret", "Priority": "1"}, "web", lists)
    assert words in caught.value.message
    assert "[servers." not in words or "*" not in caught.value.message


def test_a_refusal_names_no_rule_twice() -> None:
    both = {"Channel": "SIP/1", "ExtraChannel": "SIP/2", "Exten": "500", "Context": "conf", "Priority": "1"}
    fields = {**both, "ExtraExten": "500", "ExtraContext": "conf", "ExtraPriority": "1"}
    with pytest.raises(AmidError) as caught:
        check_action("Redirect", fields, "crm", {"[callers.crm]": Caller(allow=["Redirect: *@sales"])})
    assert caught.value.message.count("Redirect: 500@conf") == 1 and "also" not in caught.value.message


def test_a_refusal_names_all_missing_rules_of_a_list() -> None:
    fields = {"Channel": "Local/1@other", "Application": "Playback", "Data": "x", "Variable": "CALLERID(num)=1"}
    with pytest.raises(AmidError) as caught:
        check_action("Originate", fields, "crm", {"[callers.crm]": Caller(allow=["Originate: *@sales"])})
    advice = caught.value.message.partition(" (to allow it: ")[2]
    rules = re.findall('"(.*?)"', advice)
    assert advice.startswith('allow = [..., "Originate: playback"] in [callers.crm]; it also needs "') and len(rules) == 3
    check_action("Originate", fields, "crm", {"[callers.crm]": Caller(allow=["Originate: *@sales", *rules])})


def test_only_an_admin_may_change_amid() -> None:
    check_admin("restart", "local", "[callers.local]", Caller(admin=True))
    with pytest.raises(AmidError) as caught:
        check_admin("restart", "web", "[web] of tokens.toml", Caller())
    assert (caught.value.kind, caught.value.sent) == ("denied", False)
    assert "to allow it: admin = true in [web] of tokens.toml" in caught.value.message


@pytest.mark.parametrize(
    ("params", "allowed"),
    [
        (CallsParams(), True),
        (CallsParams(number="12345", queue="support"), True),
        (CallsParams(number="123456"), False),
        (CallsParams(number="+1234"), False),
        (CallsParams(name="Alice"), False),
        (CallParams(linkedid="1.1"), True),
        (CallParams(number="123456"), False),
        (CallParams(linkedid="1.1", all=True), False),
        (CallsParams(queue="support", agent="SIP/100"), True),
        (CallsParams(agent="Local/030123456@agents"), False),
        (CallsParams(queue="030123456"), False),
    ],
)
def test_what_a_caller_with_masked_history_may_ask(params: CallsParams | CallParams, allowed: bool) -> None:
    assert not check_history("calls", "web", "[callers.web]", Caller(history=True), params).masked
    with pytest.raises(AmidError, match="history"):
        check_history("calls", "web", "[callers.web]", Caller(), params)
    if allowed:
        assert check_history("calls", "web", "[callers.web]", Caller(history="masked"), params).masked
    else:
        with pytest.raises(AmidError, match="masked"):
            check_history("calls", "web", "[callers.web]", Caller(history="masked"), params)
