"""What an action runs, however it is spelt: a spelling that Asterisk takes and a rule does not see is a way around the rule."""

from __future__ import annotations

from typing import Any

import pytest

from amid.ami.action import InvalidAction
from amid.ami.reach import reach

LOCAL = {"Channel": "Local/1@sales", "Application": "Wait"}
RUNS: dict[str, tuple[str, dict[Any, Any], list[str]]] = {
    "an action that no rule looks into": ("Ping", {"Command": "x"}, []),
    "a command": ("Command", {"Command": "core show uptime"}, ["core show uptime"]),
    "a command, quoted and escaped": ("command", {b"COMMAND": b'\x01 Core\t "sh"ow  up\\time ""'}, ["core show uptime"]),
    "a quoted blank": ("Command", {"Command": 'database\\ del "a b"'}, ["database del a b"]),
    "no command": ("Command", {}, [""]),
    "a variable": ("Getvar", {"variable": " SHELL(id)"}, ["shell(id)"]),
    "a variable to set": ("SetVar", {"Variable": "FILE(/tmp/x)", "Value": "x"}, ["file(/tmp/x)"]),
    "an application": ("Originate", {"Channel": "PJSIP/7", "Application": "\x02TrySystem "}, ["trysystem"]),
    "an application and an extension": ("Originate", {"application": "Dial", "Exten": "7", "Context": "x"}, ["dial"]),
    "an extension": ("Originate", {"Exten": 100, "CONTEXT": "Sales", "Priority": 1}, ["100@sales"]),
    "an empty application": ("Originate", {"Application": " ", "Exten": "7", "Context": "x"}, ["7@x"]),
    "a Local channel": ("Originate", {**LOCAL, "Channel": "Local/1@sales/n"}, ["wait", "1@sales"]),
    "a Local channel, otherwise": ("Originate", {**LOCAL, "Channel": "\x01LOCAL/a/b@sales/n"}, ["wait", "a/b@sales"]),
    "a Local channel without a context": ("Originate", {**LOCAL, "Channel": "Local/7"}, ["wait", "7@default"]),
    "a Local channel over 255 bytes": (
        "Originate",
        {**LOCAL, "Channel": "Local/1@secret/" + "\u212a" * 100 + "@sales/n"},  # the Kelvin sign: three bytes, in lower case one
        ["wait", "1@secret"],
    ),
    "a subroutine": ("Originate", {"Application": "Wait", "PreDialGoSub": "x,s,1"}, ["wait", "gosub"]),
    "plain variables": ("Originate", {"Application": "Wait", "Variable": ["A=1", "B=call(7) soon, C=2"]}, ["wait"]),
    "a function": ("Originate", {"Application": "Wait", "Variable": ["A=1", 'B=(x),FI"L\\E"(/a,b)=2']}, ["wait", "file()"]),
}  # fmt: skip


@pytest.mark.parametrize(("action", "fields", "runs"), RUNS.values(), ids=RUNS)
def test_what_it_runs(action: str, fields: dict[Any, Any], runs: list[str]) -> None:
    assert reach(action, fields) == runs


REFUSED: dict[str, tuple[str, dict[Any, Any], str]] = {
    "a list": ("Originate", {"Application": ["Dial", "System"]}, "'application' stands there 2 times"),
    "in two spellings": ("Command", {"Command": "core show uptime", "command": "core stop now"}, "give it once"),
    "a repeated Context": ("Originate", {"Exten": "1", "Context": ["sales", "secret"]}, "'context'"),
    "half a million variables": ("Originate", {"Variable": ["A=1"] * 500_000}, "128 headers at most"),
    "no text": ("Command", {"Command": {"a": 1}}, "type dict"),
    "no bytes": ("Command", {"Command": "\ud800"}, "lone surrogate"),
}


@pytest.mark.parametrize(("action", "fields", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_told_is_refused(action: str, fields: dict[Any, Any], said: str) -> None:
    with pytest.raises(InvalidAction, match=said):
        reach(action, fields)
