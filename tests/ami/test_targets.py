"""The targets of actions in every spelling: a spelling that Asterisk accepts and a rule misses
would bypass the rule."""

from __future__ import annotations

import time
from typing import Any

import pytest

from amid.ami.action import InvalidAction
from amid.ami.dialplan import function_names, split_arguments
from amid.ami.field_readers import Needs
from amid.ami.targets import PLAIN, TABLES, targets_of

NAME, WHOLE, PATTERN = Needs.NAME, Needs.WHOLE_NAME, Needs.PATTERN
LOCAL = {"Channel": "Local/1@sales", "Application": "Wait"}
WAIT = ("wait", WHOLE)
REACHES: dict[str, tuple[str, dict[Any, Any], list[tuple[str, Needs]]]] = {
    "an action without targets": ("Ping", {"Command": "x"}, [("", NAME)]),
    "an unknown action": ("Nonsense", {"File": "x"}, [("", WHOLE)]),
    "a command": ("Command", {"Command": "core show uptime"}, [("core show uptime", WHOLE)]),
    "a quoted command": ("command", {b"COMMAND": b'\x01 Core\t "sh"ow  up\\time ""'}, [("core show uptime", WHOLE)]),
    "a quoted blank": ("Command", {"Command": 'database\\ del "a b"'}, [("database del a b", WHOLE)]),
    "an escaped backslash": ("Command", {"Command": r'a\\"b"'}, [(r"a\b", WHOLE)]),
    "no command": ("Command", {}, [("", WHOLE)]),
    # variables
    "a function": ("Getvar", {"variable": " SHELL(id)"}, [("shell(id)", PATTERN)]),
    "a harmless function": ("Getvar", {"variable": "CDR(src)"}, [("cdr(src)", WHOLE)]),
    "a function in a function": ("Getvar", {"variable": "LEN(${SHELL(id)})"}, [("len(${shell(id)})", WHOLE), ("shell()", PATTERN)]),
    "a variable": ("SetVar", {"Variable": "PIN", "Value": "x"}, [("pin", WHOLE)]),
    "a variable that is run": ("Setvar", {"Variable": "__MONITOR_EXEC"}, [("__monitor_exec", PATTERN)]),
    "variables of Status": (
        "Status",
        {"Variables": "A,CDR(a,b),FILE(x)"},
        [("a", WHOLE), ("cdr(a,b)", WHOLE), ("file(x)", PATTERN)],
    ),
    "Status": ("Status", {}, [("", NAME)]),
    # Originate
    "an application": (
        "Originate",
        {"Channel": "PJSIP/7", "Application": "\x02TrySystem "},
        [("trysystem", PATTERN), ("pjsip/7", Needs.NOTHING)],
    ),
    "an application and an extension": ("Originate", {"application": "Dial", "Exten": "7", "Context": "x"}, [("dial", WHOLE)]),
    "an extension": ("Originate", {"Exten": 100, "CONTEXT": "Sales", "Priority": 1}, [("100@sales", WHOLE)]),
    "an empty application": ("Originate", {"Application": " ", "Exten": "7", "Context": "x"}, [("7@x", WHOLE)]),
    "a Local channel": ("Originate", {**LOCAL, "Channel": "Local/1@sales/n"}, [WAIT, ("1@sales", WHOLE)]),
    "a Local channel in capitals": ("Originate", {**LOCAL, "Channel": "\x01LOCAL/1@sales/n"}, [WAIT, ("1@sales", WHOLE)]),
    "a Local channel without a context": ("Originate", {**LOCAL, "Channel": "Local/7"}, [WAIT, ("7@default", WHOLE)]),
    "two slashes": (
        "Originate",
        {**LOCAL, "Channel": "Local/1@secret/x@sales/n"},
        [WAIT, ("1@secret", WHOLE), ("1@secret/x@sales", WHOLE)],
    ),
    "options with a context": (
        "Originate",
        {**LOCAL, "Channel": "Local/1@secret/n@sales/n"},
        [WAIT, ("1@secret", WHOLE), ("1@secret/n@sales", WHOLE)],
    ),
    "a slash before the context": (
        "Originate",
        {**LOCAL, "Channel": "Local/11/x@sales/n"},
        [WAIT, ("11@default", WHOLE), ("11/x@sales", WHOLE)],
    ),
    "a trunk": ("Originate", {**LOCAL, "Channel": "PJSIP/0900@trunk"}, [WAIT, ("pjsip/0900@trunk", WHOLE)]),
    "an address": ("Originate", {**LOCAL, "Channel": "PJSIP/alice/sip:x@evil"}, [WAIT, ("pjsip/alice/sip:x@evil", PATTERN)]),
    "a socket": ("Originate", {**LOCAL, "Channel": "AudioSocket/evil/1"}, [WAIT, ("audiosocket/evil/1", PATTERN)]),
    "RTP": ("Originate", {**LOCAL, "Channel": "UnicastRTP/10.0.0.1:22"}, [WAIT, ("unicastrtp/10.0.0.1:22", PATTERN)]),
    "another technology": ("Originate", {**LOCAL, "Channel": "DAHDI/g1/123"}, [WAIT, ("dahdi/g1/123", WHOLE)]),
    "a subroutine": ("Originate", {"Application": "Wait", "PreDialGoSub": "x,s,1"}, [WAIT, ("gosub", WHOLE)]),
    "plain variables": ("Originate", {"Application": "Wait", "Variable": ["A=1", "B=call(7) soon, C=2"]}, [WAIT]),
    "a variable's function": (
        "Originate",
        {"Application": "Wait", "Variable": ["A=1", 'B=(x),FI"L\\E"(/a,b)=2']},
        [WAIT, ("file()", PATTERN)],
    ),
    "a program to mix with": (
        "Originate",
        {"Application": "Wait", "Variable": "A=1,_MONITOR_EX\\EC=touch"},
        [WAIT, ("monitor_exec", PATTERN)],
    ),
    "the same for all": (
        "Originate",
        {"Application": "Wait", "Variable": "GLOBAL(MONITOR_EXEC)=touch"},
        [WAIT, ("global()", PATTERN)],
    ),
    "another extension at hangup": (
        "Originate",
        {"Application": "Wait", "Variable": "CHANNEL(hangup_handler_push)=x,s,1"},
        [WAIT, ("channel()", PATTERN)],
    ),
    "a language": ("Originate", {"Application": "Wait", "Variable": "CHANNEL(language)=de"}, [WAIT, ("channel()", WHOLE)]),
    "a conference's program": (
        "Originate",
        {"Application": "ConfBridge", "Variable": r"CONFBRIDGE(bridge\,record_command)=x"},
        [("confbridge", WHOLE), ("confbridge()", PATTERN)],
    ),
    "Dial": (
        "Originate",
        {"Application": "Dial", "Data": "PJSIP/1&Local/2@x/n&PJSIP/a/sip:b@c,20,tT"},
        [("dial", WHOLE), ("pjsip/1", Needs.NOTHING), ("2@x", WHOLE), ("pjsip/a/sip:b@c", PATTERN)],
    ),
    "Dial to the dialplan": (
        "Originate",
        {"Application": "Dial", "Data": "PJSIP/1,20,tU(x^1)"},
        [("dial", WHOLE), ("pjsip/1", Needs.NOTHING), ("gosub", WHOLE)],
    ),
    "Queue with AGI": ("Originate", {"Application": "Queue", "Data": "support,t,,,20,x.agi"}, [("queue", WHOLE), ("agi", PATTERN)]),
    "Queue": ("Originate", {"Application": "Queue", "Data": "support,t,,,20"}, [("queue", WHOLE)]),
    "a sound on the web": (
        "Originate",
        {"Application": "Playback", "Data": "http://evil/x"},
        [("playback", WHOLE), ("http://evil/x", PATTERN)],
    ),
    "a variable to read into": (
        "Originate",
        {"Application": "Read", "Data": "FILE(/x),beep"},
        [("read", WHOLE), ("file()", PATTERN)],
    ),
    # others that enter the dialplan
    "Redirect": (
        "Redirect",
        {"Exten": "1", "Context": "x", "ExtraExten": "2", "ExtraContext": "y"},
        [("1@x", WHOLE), ("2@y", WHOLE)],
    ),
    "a transfer": ("BlindTransfer", {"Channel": "PJSIP/1", "Exten": "1"}, [("1@", WHOLE)]),
    "a member": ("QueueAdd", {"Interface": "PJSIP/alice"}, [("pjsip/alice", NAME)]),
    "a member in the dialplan": ("QueueAdd", {"Interface": "Local/78@secret/n"}, [("78@secret", WHOLE)]),
    "a parker": ("Park", {"Channel": "x", "TimeoutChannel": "PJSIP/1-0000001"}, [("pjsip/1-0000001", NAME)]),
    "a parker in the dialplan": ("Park", {"Channel": "x", "Channel2": "Local/77@secret/n"}, [("77@secret", PATTERN)]),
    "an extension to add": (
        "DialplanExtensionAdd",
        {"Extension": "1", "Context": "x", "Application": "System"},
        [("1@x", PATTERN), ("system", PATTERN)],
    ),
    # files and shells
    "a recording": ("ConfbridgeStartRecord", {"Conference": "1", "RecordFile": "a/b-1.wav"}, [("a/b-1.wav", WHOLE)]),
    "no name for it": ("ConfbridgeStartRecord", {"Conference": "1"}, [("", NAME)]),
    "arguments of MixMonitor": (
        "ConfbridgeStartRecord",
        {"RecordFile": "x.wav,,touch F;true"},
        [("!x.wav,,touch f;true", PATTERN)],
    ),
    "a conference's name": ("ConfbridgeStartRecord", {"Conference": "x,,touch F"}, [("!x,,touch f", PATTERN)]),
    "a shell": ("Monitor", {"File": 'm";touch F;"', "Mix": "true"}, [('!m";touch f;"', PATTERN)]),
    "the channel's name in a shell": ("Monitor", {"Channel": "x", "Mix": "1"}, [("!mix", PATTERN)]),
    "a path": ("Monitor", {"File": "/var/www/x"}, [("/var/www/x", PATTERN)]),
    "a way out": ("Monitor", {"File": "a/../../x"}, [("../x", PATTERN)]),
    "MixMonitor": (
        "MixMonitor",
        {"File": "x.wav", "Options": "b", "Command": "touch F"},
        [("x.wav", WHOLE), ("!touch f", PATTERN)],
    ),
    "options of MixMonitor": (
        "MixMonitor",
        {"File": "x.wav", "Options": "r(/etc/x)"},
        [("x.wav", WHOLE), ("options r(/etc/x)", PATTERN)],
    ),
    "a command in the options": (
        "MixMonitor",
        {"File": "x.wav", "Options": "b,touch F"},
        [("x.wav", WHOLE), ("!b,touch f", PATTERN)],
    ),
    "AGI": ("AGI", {"Channel": "x", "Command": "EXEC System id"}, [("exec system id", PATTERN)]),
    # configuration, secrets, messages
    "a file": ("GetConfig", {"Filename": "manager.conf"}, [("manager.conf", PATTERN)]),
    "a file by another path": ("GetConfig", {"Filename": "x/../manager.conf"}, [("manager.conf", PATTERN)]),
    "keys that are pressed": ("PlayDTMF", {"Channel": "x", "Digit": "#", "Receive": True}, [("receive", WHOLE)]),
    "keys that are played": ("PlayDTMF", {"Channel": "x", "Digit": "#"}, [("", NAME)]),
    "a module": ("ModuleLoad", {"LoadType": "load", "Module": "../x.so"}, [("load ../x.so", PATTERN)]),
    "a key": ("DBPut", {"Family": "f", "Key": "k", "Val": "x"}, [("f/k", WHOLE)]),
    "passwords": ("PJSIPShowAuths", {}, [("passwords", PATTERN)]),
    "an endpoint's password": ("PJSIPShowEndpoint", {"Endpoint": "alice"}, [("alice", PATTERN)]),
    "a message": ("MessageSend", {"To": "pjsip:alice"}, [("pjsip:alice", WHOLE)]),
    "a message to an address": ("MessageSend", {"Destination": "pjsip:sip:x@evil"}, [("pjsip:sip:x@evil", PATTERN)]),
    "NOTIFY to an address": ("PJSIPNotify", {"URI": "sip:x@evil"}, [("sip:x@evil", PATTERN)]),
}


@pytest.mark.parametrize(("action", "fields", "reaches"), REACHES.values(), ids=REACHES)
def test_targets_of_actions_are_found(action: str, fields: dict[Any, Any], reaches: list[tuple[str, Needs]]) -> None:
    assert [(target.text, target.needs) for target in targets_of(action, fields)] == reaches


REFUSED: dict[str, tuple[str, dict[Any, Any], str]] = {
    "a list": ("Originate", {"Application": ["Dial", "System"]}, "'application' is given 2 times"),
    "in two spellings": ("Command", {"Command": "core show uptime", "command": "core stop now"}, "give it once"),
    "a repeated Context": ("Originate", {"Exten": "1", "Context": ["sales", "secret"]}, "'context'"),
    "a repeated Interface": ("QueueAdd", {"Interface": ["PJSIP/1", "Local/1@secret"]}, "'interface'"),
    "half a million variables": ("Originate", {"Variable": ["A=1"] * 500_000}, "128 at most"),
    "a line that is too long": ("Originate", {"Variable": "a" * 60_000 + ")=1"}, "1022 at most"),
    "a Channel that Asterisk cuts": ("Originate", {"Channel": "Local/1@secret/" + "x" * 240 + "@sales/n"}, "after 255"),
    "a context that Asterisk cuts": ("Originate", {"Exten": "1", "Context": "x" * 80}, "after 79"),
    "an Interface that Asterisk cuts": ("QueueAdd", {"Interface": "Local/1@secret" + "x" * 66}, "after 79"),
    "no text": ("Command", {"Command": {"a": 1}}, "type dict"),
    "no bytes": ("Command", {"Command": "\ud800"}, "lone surrogate"),
}


@pytest.mark.parametrize(("action", "fields", "said"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_targets_are_refused(action: str, fields: dict[Any, Any], said: str) -> None:
    with pytest.raises(InvalidAction, match=said):
        targets_of(action, fields)


def test_no_action_is_in_both_tables() -> None:
    assert not TABLES.keys() & PLAIN


@pytest.mark.parametrize("text", ["a" * 200_000 + ")", "a(" * 100_000, "(" * 200_000, '\\"' * 100_000, "," * 200_000])
def test_matching_takes_linear_time(text: str) -> None:
    """A quadratic search takes minutes for these; a linear one, 0.1 s."""
    began = time.process_time()
    function_names(text)
    split_arguments(text)
    assert time.process_time() - began < 5
