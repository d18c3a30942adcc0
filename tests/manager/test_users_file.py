"""Users in the format of manager.conf."""

from __future__ import annotations

import hashlib

import pytest

from amid.manager.classes import ALL, BITS
from amid.manager.user import User
from amid.manager.user_entry import UserEntry
from amid.manager.users_file import read_users

COPIED = r"""
; a typical manager.conf
[general]
enabled = yes
port = 5038
bindaddr = 0.0.0.0

[crm]
secret = s3cret\;with=signs   ; a comment
deny=0.0.0.0/0.0.0.0
permit=127.0.0.1/255.255.255.0
permit = 10.0.0.0/8,!10.0.0.13
read = system,call,agent
write => all
eventfilter = !Event: RTCP
eventfilter(name(Newchannel),header(Channel),method(starts_with)) = PJSIP/
writetimeout = 5000
displayconnects = no
;-- a block
secret = none
--;
allow = Originate: *@sales
allow = Ping, QueueStatus
deny = ModuleLoad
server = pbx2
on_reconnect = close
allowmultiplelogin = no
"""


def errors(text: str) -> list[tuple[str, str]]:
    users, findings = read_users(text)
    assert not users
    return [(finding.section, finding.key) for finding in findings if finding.refused]


def test_a_section_of_manager_conf_can_be_copied() -> None:
    users, findings = read_users(COPIED)
    assert not findings
    assert users == {
        "crm": UserEntry(
            secret="s3cret;with=signs",
            read="system,call,agent",
            write="all",
            eventfilters=[("!Event: RTCP", None), ("PJSIP/", "name(Newchannel),header(Channel),method(starts_with)")],
            access=[(False, "0.0.0.0/0"), (True, "127.0.0.0/24"), (True, "10.0.0.0/8"), (False, "10.0.0.13/32")],
            allow=["Originate: *@sales", "Ping", "QueueStatus"],
            deny=["ModuleLoad"],
            server="pbx2",
            allowmultiplelogin=False,
            on_reconnect="close",
        )
    }
    crm = User("crm", users["crm"])
    assert crm.read == BITS[b"system"] | BITS[b"call"] | BITS[b"agent"] and crm.write == ALL


def test_criteria_keep_their_case() -> None:
    users, _ = read_users("[a]\nsecret=x\neventfilter(name(VarSet)) =\n")
    assert users["a"].eventfilters == [("", "name(VarSet)")]


@pytest.mark.parametrize(
    ("address", "may"),
    [("127.0.0.9", True), ("10.1.2.3", True), ("10.0.0.13", False), ("192.0.2.1", False), ("::1", True)],
)
def test_the_last_matching_line_decides(address: str, may: bool) -> None:
    users, _ = read_users(COPIED)
    assert User("crm", users["crm"]).may_connect_from(address) == may


def test_templates() -> None:
    users, findings = read_users("[base](!)\nread = call\nwrite = call\n[one](base)\nsecret = a\n[one](+)\nread = all\n")
    assert not findings and users == {"one": UserEntry(secret="a", read="all", write="call")}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[a]\nread=all", [("a", "secret")]),
        ("[a]\nsecret=x\npermit=10.0.0.O/8", [("a", "permit")]),
        ("[a]\nsecret=x\npermit=10.0.0.0/0.255.255.255", [("a", "permit")]),
        ("[a]\nsecret=x\ndeny=10.0.0.O/8", [("a", "deny")]),
        ("[a]\nsecret=x\ndeny=host.example.com", [("a", "deny")]),
        ("[a]\nsecret=x\ndeny=fe80::1/200", [("a", "deny")]),
        ("[a]\nsecret=x\nallow=10.0.0.0/8", [("a", "allow")]),
        ("[a]\nsecret=x\nacl=office", [("a", "acl")]),
        ("[a]\nsecret=x\neventfilter=[", [("a", "eventfilter")]),
        ("[a]\nsecret=x\non_reconnect=maybe", [("a", "on_reconnect")]),
        ("[" + "n" * 60 + "]\nsecret=x", [("n" * 59, "")]),
    ],
)
def test_errors(text: str, where: list[tuple[str, str]]) -> None:
    assert errors(text) == where


@pytest.mark.parametrize(
    "text",
    [
        "#include users.conf\n",
        "secret=x\n",
        "[a]\nsecret=x\nnonsense\n",
        "[a]\nsecret=x\n[A]\nsecret=y\n",
        "[b](c)\nsecret=x\n",
        "[x\n",
    ],
)
def test_syntax_errors(text: str) -> None:
    assert any(finding.refused for finding in read_users(text)[1])


def test_warnings() -> None:
    users, findings = read_users("[a]\nsecret=x\nread=system, call\nsetvar=A=1\ncolour=blue\n")
    assert set(users) == {"a"} and [(each.key, each.refused) for each in findings] == [
        ("read", False),
        ("setvar", False),
        ("colour", False),
    ]
    assert "did you mean 'call'?" in findings[0].what


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("wrtie", "write"), ("raed", "read"), ("denny", "deny"), ("Premit", "permit"), ("sercet", "secret"), ("alow", "allow")),
        *(("event_filter", "eventfilter"), ("eventfilter(name", "eventfilter"), ("srever", "server")),
    ],
)
def test_a_misspelt_key_is_refused_with_a_suggestion(key: str, meant: str) -> None:
    """Without its `deny`, a user could log in from everywhere, and without its `write`, do nothing."""
    users, (finding,) = read_users(f"[a]\nsecret=x\n{key}=call\n")
    assert finding == ("a", key, f"is not a key of a user; did you mean {meant!r}?", True)
    assert not users


@pytest.mark.parametrize(
    "key", ["callerid", "authtimeout", "httptimeout", "bindaddr", "channelvars", "timestampevents", "hasmanager"]
)
def test_a_key_of_another_asterisk_is_accepted(key: str) -> None:
    users, (finding,) = read_users(f"[a]\nsecret=x\n{key}=5\nwritetimeout=5\n")
    assert finding == ("a", key, "is not a key of a user", False) and set(users) == {"a"}


def test_secrets() -> None:
    user = User("a", UserEntry(secret="grüße"))
    assert user.check_secret("grüße".encode()) and not user.check_secret(b"") and not User("b", UserEntry()).check_secret(b"")
    key = hashlib.md5("123grüße".encode()).hexdigest()
    assert user.check_key(b"123", key.encode()) and not user.check_key(b"124", key.encode()) and not user.check_key(b"", b"")
