"""Encoding of actions, and the ones that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from amid.ami.action import InvalidAction, encode_action, encode_lines, fields_of_lines, own_action_id, without_action_id

HEAD = b"Action: A\r\nActionID: 1\r\n"

SENT = {
    "nothing": ({}, b""),
    "text": ({"Queue": "support"}, b"Queue: support\r\n"),
    "empty": ({"Queue": ""}, b"Queue: \r\n"),
    "colons and spaces": ({"X": " sip:a: b "}, b"X:  sip:a: b \r\n"),
    "utf-8": ({"X": "é"}, b"X: \xc3\xa9\r\n"),
    "bytes": ({"X": b"\xe9"}, b"X: \xe9\r\n"),
    "a byte as a lone surrogate": ({"X": "\udce9"}, b"X: \xe9\r\n"),
    "true and false": ({"A1": True, "B": False}, b"A1: true\r\nB: false\r\n"),
    "numbers": ({"I": -3, "F": 0.5}, b"I: -3\r\nF: 0.5\r\n"),
    "a phone number as a float": ({"Exten": 15551234567.0}, b"Exten: 15551234567\r\n"),
    "the largest float that counts": ({"X": 2.0**53}, b"X: 9007199254740992\r\n"),
    "minus zero": ({"X": -0.0}, b"X: 0\r\n"),
    "a large integer": ({"X": 10**16}, b"X: 10000000000000000\r\n"),
    "a small fraction": ({"X": 0.0001}, b"X: 0.0001\r\n"),
    "list": ({"V": ["a=1", 2, True]}, b"V: a=1\r\nV: 2\r\nV: true\r\n"),
    "empty list": ({"V": []}, b""),
    "bytes name": ({b"V": "x"}, b"V: x\r\n"),
    "number name": ({7: "x"}, b"7: x\r\n"),
    "odd name": ({"ChanVariable(SIP/x-1)": "x"}, b"ChanVariable(SIP/x-1): x\r\n"),
}


@pytest.mark.parametrize(("fields", "expected"), SENT.values(), ids=SENT)
def test_actions_are_encoded(fields: dict[Any, Any], expected: bytes) -> None:
    assert encode_action("A", "1", fields) == HEAD + expected + b"\r\n"


REFUSED = {
    "CR in a value": ({"X": "a\rb"}, "'X' holds CR, LF or NUL"),
    "LF in a value": ({"X": "a\nAction: Originate"}, "'X' holds CR, LF or NUL"),
    "NUL in a value": ({"X": "a\0"}, "'X' holds CR, LF or NUL"),
    "LF in bytes": ({"X": b"\n"}, "'X' holds CR, LF or NUL"),
    "LF in a list": ({"X": ["a", "b\n"]}, "'X' holds CR, LF or NUL"),
    "CR in a name": ({"a\rb": "x"}, "holds CR, LF or NUL"),
    "LF in a name": ({"a\nb": "x"}, "holds CR, LF or NUL"),
    "LF at the end of a name": ({"a\n": "x"}, "spaces around"),
    "NUL in a name": ({"a\0b": "x"}, "holds CR, LF or NUL"),
    "colon in a name": ({"a:b": "x"}, "has a colon"),
    "empty name": ({"": "x"}, "is empty"),
    "spaces around a name": ({" Queue": "x"}, "spaces around"),
    "an Action of its own": ({"Action": "Originate"}, "has a header Action"),
    "an action of its own": ({"aCTION": "Originate"}, "has a header Action"),
    "an Action in bytes": ({b"Action": "Originate"}, "has a header Action"),
    "an ActionID of its own": ({"actionid": "x"}, "a second ActionID"),
    "none": ({"X": None}, "the value of 'X' is of type NoneType"),
    "nan": ({"X": float("nan")}, "the value of 'X' is not a"),
    "infinite": ({"X": float("inf")}, "the value of 'X' is not a"),
    "a float that has lost digits": ({"X": 1e16}, "the value of 'X' is the floating-point number 1e\\+16.*send it as text"),
    "a huge float": ({"X": -1e300}, "send it as text"),
    "a float in scientific notation": ({"X": 1e-7}, "the floating-point number 1e-07.*send it as text"),
    "map": ({"X": {}}, "the value of 'X' is of type dict"),
    "list in a list": ({"X": [["a"]]}, "the value of 'X' is of type list"),
    "none in a list": ({"X": [None]}, "the value of 'X' is of type NoneType"),
    "none as a name": ({None: "x"}, "a header's name is of type NoneType"),
    "surrogate that is no byte": ({"X": "a\ud800"}, "the lone surrogate '.ud800'"),
    "surrogate in a name": ({"\ud800": "x"}, "the lone surrogate"),
    "surrogate below 80": ({"X": "\udc0a"}, "the lone surrogate"),
}


@pytest.mark.parametrize(("fields", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_actions_are_refused(fields: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidAction, match=message):
        encode_action("A", "1", fields)


BAD_NAMES = ["", "  ", " Ping", "\x01Originate", "Origi\tnate", "Ping\r\nX: y", "Ping\r\n\r\nAction: B", "Ping\0", "a\ud800"]


@pytest.mark.parametrize("action", [*BAD_NAMES, "x" * 1015])
def test_invalid_action_names_are_refused(action: str) -> None:
    with pytest.raises(InvalidAction):
        encode_action(action, "1", {})


@pytest.mark.parametrize("value", ["v" * 1019, "é" * 509 + "v", b"v" * 1019], ids=["ascii", "utf-8", "bytes"])
def test_a_line_has_at_most_1022_bytes(value: str | bytes) -> None:
    data = encode_action("A", "1", {"X": value})
    assert max(map(len, data.split(b"\r\n"))) == 1022
    with pytest.raises(InvalidAction, match="'XX' has 1023 bytes; Asterisk takes 1022"):
        encode_action("A", "1", {"XX": value})


@pytest.mark.parametrize("fields", [{f"H{i}": "v" for i in range(126)}, {"V": ["x"] * 126}], ids=["names", "list"])
def test_an_action_has_at_most_128_headers(fields: dict[str, Any]) -> None:
    assert encode_action("A", "1", fields).count(b"\r\n") == 128 + 1
    with pytest.raises(InvalidAction, match=r"129 headers, .* takes 128"):
        encode_action("A", "1", {**fields, "More": "v"})


OWN = {
    "none": ({"Queue": "x"}, None),
    "text": ({"ActionID": "mine"}, b"mine"),
    "any case": ({"actionid": "mine"}, b"mine"),
    "spaces around": ({" ActionID ": "mine"}, b"mine"),
    "bytes name": ({b"ActionID": "mine"}, b"mine"),
    "number": ({"ActionID": 7}, b"7"),
    "latin-1": ({"ActionID": b"\xe9"}, b"\xe9"),
    "with line ends": ({"ActionID": "a\r\nb"}, b"a\r\nb"),
}


@pytest.mark.parametrize(("fields", "expected"), OWN.values(), ids=OWN)
def test_the_callers_action_id_is_returned_but_never_sent(fields: dict[Any, Any], expected: bytes | None) -> None:
    assert own_action_id(fields) == expected
    sent = encode_action("A", "1", without_action_id({**fields, "Z": "z"}))
    assert sent.count(b"ActionID") == 1 and b"mine" not in sent and b"Z: z" in sent


@pytest.mark.parametrize("value", [["a", "b"], "x" * 1023], ids=["a list", "too long"])
def test_an_action_id_that_is_too_long_is_refused(value: Any) -> None:
    with pytest.raises(InvalidAction, match="ActionID"):
        own_action_id({"ActionID": value})


def test_lines_are_sent_unchanged() -> None:
    """They are as a client of the listener sent them: text with a CR stays one line of Asterisk's."""
    lines = [b"actionid: mine", "X:\u00fc\r", b"X: \xe9", b"Y:" + b"y" * 1021]
    assert encode_lines("A", "1", lines) == HEAD + b"X:\xc3\xbc\r\r\nX: \xe9\r\nY:" + b"y" * 1021 + b"\n\r\n"
    assert fields_of_lines(lines)[b"x"] == [b"\xc3\xbc\r", b"\xe9"]


@pytest.mark.parametrize("line", ["", "a\nb", "a\0b", b"x" * 1024, 5, True, None, ["X: 1"], "\ud800"], ids=repr)
def test_a_line_that_asterisk_would_not_read_as_one_is_refused(line: Any) -> None:
    with pytest.raises(InvalidAction):
        encode_lines("A", "1", [line])
