"""The parser of raw packets for the fold."""

from __future__ import annotations

from amid.state.packets import parse_events


def packet(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode()


def test_only_events_of_the_fold_are_parsed() -> None:
    data = (
        packet("Event: CEL", "A: b")
        + packet("Event: Newstate", "Channel: PJSIP/1", "CallerIDNum: ")
        + packet("Event: VarSet", "Channel: PJSIP/1", "Uniqueid: 1", "Linkedid: 2", "Variable: X", "Value: y")
        + packet("Event: VarSet", "Channel: none", "Variable: AMID_BARRIER", "Value: 7")
        + packet("Event: VarSet", "Channel: none", "Variable: OTHER", "Value: 7")
        + packet("Event: Hangup", "Uniqueid: 1", "Odd")
    )
    newstate, varset, barrier, hangup = parse_events(data)
    assert newstate == ("Newstate", {"Event": "Newstate", "Channel": "PJSIP/1", "CallerIDNum": ""})
    assert varset == ("VarSet", {"Uniqueid": "1", "Linkedid": "2"})
    assert barrier[1]["Value"] == "7" and hangup[1]["Uniqueid"] == "1"


def test_values_that_are_not_utf_8_stay_bytes() -> None:
    data = packet("Event: Hangup", "Uniqueid: 1") + b"Event: Newstate\r\nCallerIDName: J\xfcrgen\r\n\r\n" + packet("Event: CEL")
    assert [name for name, _ in parse_events(data)] == ["Hangup", "Newstate"]
    assert parse_events(data)[1][1]["CallerIDName"] == b"J\xfcrgen"
