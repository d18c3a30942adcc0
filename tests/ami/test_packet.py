"""A packet: its headers, its kind and its ActionID."""

from __future__ import annotations

import pytest

from amid.ami.packet import Headers, Packet, parse_headers

HEADERS: dict[str, tuple[bytes, Headers]] = {
    "plain": (b"Event: Hangup\r\nCause: 16", {"Event": "Hangup", "Cause": "16"}),
    "bare lf": (b"Event: Hangup\nCause: 16", {"Event": "Hangup", "Cause": "16"}),
    "no space": (b"Action:Ping", {"Action": "Ping"}),
    "no value": (b"A:\r\nB: \r\nC:  ", {"A": "", "B": "", "C": " "}),
    "no colon": (b"No categories found", {"": "No categories found"}),
    "no colon, a space before": (b" no members", {"": " no members"}),
    "two without colon": (b"a\r\nb", {"": ["a", "b"]}),
    "nothing but a colon": (b":x", {"": "x"}),
    "colons in the value": (b"X: sip:a@b:5060", {"X": "sip:a@b:5060"}),
    "colon and no space, then both": (b"X:a: b", {"X": "a: b"}),
    "spaces kept": (b"X:  a \r\nY: b", {"X": " a ", "Y": "b"}),
    "repeated": (b"V: a\r\nW: x\r\nV: b\r\nV: c", {"V": ["a", "b", "c"], "W": "x"}),
    "repeated empty": (b"V: \r\nV: ", {"V": ["", ""]}),
    "output": (b"A: 1\r\nOutput: a\r\nOutput: b: c\r\nOutput: \r", {"A": "1", "Output": ["a", "b: c", ""]}),
    "one line of output": (b"A: 1\r\nOutput: a\r\r", {"A": "1", "Output": "a\r"}),
    "output first": (b"Output: a\r\nOutput: b\r\nOutput: c", {"Output": ["a", "b", "c"]}),
    "output, and more behind it": (b"A: 1\r\nOutput: a\r\nOutput: b\r\nB: 2", {"A": "1", "Output": ["a", "b"], "B": "2"}),
    "output with a bare lf": (b"A: 1\r\nOutput: a\nOutput: b\r\nOutput: c", {"A": "1", "Output": ["a", "b", "c"]}),
    "output with text between": (b"A: 1\r\nOutput: a\n b\r\nOutput: c", {"A": "1", "Output": ["a", "c"], "": " b"}),
    "case is text": (b"X: 1\r\nx: 2", {"X": "1", "x": "2"}),
    "channel variable": (b"ChanVariable(SIP/x-1): a=b", {"ChanVariable(SIP/x-1)": "a=b"}),
    "spaces in a name": (b"Line 1 [x]-2: v", {"Line 1 [x]-2": "v"}),
    "cr in a value": (b"X: a\rb\r\r\nY: c\r", {"X": "a\rb\r", "Y": "c"}),
    "utf-8": ("Name: Žofie ☎".encode(), {"Name": "Žofie ☎"}),
    "latin-1 beside utf-8": (b"A: caf\xe9\r\nB: caf\xc3\xa9", {"A": b"caf\xe9", "B": "café"}),
    "latin-1 repeated": (b"A: \xe9\r\nA: e", {"A": [b"\xe9", "e"]}),
    "latin-1 name": (b"\xe9: x", {b"\xe9": "x"}),
    "latin-1, no colon": (b"caf\xe9", {"": b"caf\xe9"}),
}


@pytest.mark.parametrize(("raw", "expected"), HEADERS.values(), ids=HEADERS)
def test_headers_are_parsed(raw: bytes, expected: Headers) -> None:
    assert parse_headers(raw) == expected


@pytest.mark.parametrize(("raw", "expected"), HEADERS.values(), ids=HEADERS)
def test_one_odd_byte_does_not_change_the_other_headers(raw: bytes, expected: Headers) -> None:
    """Text uses the fast path, anything else the exact one; both must agree."""
    assert parse_headers(b"Odd: \xff\r\n" + raw) == {"Odd": b"\xff", **expected}


@pytest.mark.parametrize("cut", range(len("é☎😀".encode()) + 1))
def test_truncated_utf8_keeps_its_bytes(cut: int) -> None:
    value = "é☎😀".encode()[:cut]
    found = parse_headers(b"Event: X\r\nName: " + value)["Name"]
    assert (found.encode() if isinstance(found, str) else found) == value
    assert isinstance(found, str) == (cut in (0, 2, 5, 9))


KINDS = {
    "event": (b"Event: Hangup\r\nActionID: 1", "Hangup", "", "1"),
    "response": (b"Response: Success\r\nActionID: 1", "", "Success", "1"),
    "lower case, no space": (b"event:Hangup\r\nactionid:1", "Hangup", "", "1"),
    "event behind another header": (b"Privilege: x\r\nEvent: A\r\nActionID: 1", "A", "", "1"),
    "event and response": (b"Event: OriginateResponse\r\nResponse: Failure\r\nActionID: 1", "OriginateResponse", "", "1"),
    "event forged into an answer": (b"Response: Success\r\nActionID: 1\r\nValue: a\r\nEvent: B", "", "Success", "1"),
    "the first ActionID counts": (b"Response: Success\r\nActionID: 1\r\nValue: a\r\nActionID: 2", "", "Success", "1"),
    "lower-case answer": (b"response:Error\r\nMessage: no\r\nEvent: B", "", "Error", ""),
    "event name that is not utf-8": (b"Event: caf\xe9", "caf\ufffd", "", ""),
    "neither": (b"Channel: x", "", "", ""),
    "empty": (b"", "", "", ""),
}


@pytest.mark.parametrize(("raw", "event", "response", "action_id"), KINDS.values(), ids=KINDS)
def test_packets_are_classified(raw: bytes, event: str, response: str, action_id: str) -> None:
    packet = Packet(raw)
    assert (packet.event, packet.response, packet.action_id) == (event, response, action_id)


OLD = b"Response: Follows\r\nPrivilege: Command\r\nActionID: 7\r\n"
OUTPUTS = {
    "new": (b"Response: Success\r\nMessage: m\r\nOutput: a: b\r\nOutput: \r\nOutput:  c", ["a: b", "", " c"]),
    "new, one line": (b"Response: Success\r\nOutput: a", ["a"]),
    "new, none": (b"Response: Success", []),
    "new, failed": (b"Response: Error\r\nMessage: m\r\nOutput: No such command", ["No such command"]),
    "new, latin-1": (b"Response: Success\r\nOutput: \xe9\r\nOutput: e", [b"\xe9", "e"]),
    "old": (OLD + b"a: b\n\n c\n--END COMMAND--", ["a: b", "", " c"]),
    "old, glued": (OLD + b"a\nb--END COMMAND--", ["a", "b"]),
    "old, nothing": (OLD + b"--END COMMAND--", []),
    "old, an empty line": (OLD + b"\n--END COMMAND--", [""]),
    "old, crlf lines": (OLD + b"a\r\nb\r\n--END COMMAND--", ["a", "b"]),
    "old, latin-1": (OLD + b"\xe9\n--END COMMAND--", [b"\xe9"]),
    "old, marker inside": (OLD + b"--END COMMAND--\nx\n--END COMMAND--", ["--END COMMAND--", "x"]),
}


@pytest.mark.parametrize(("raw", "expected"), OUTPUTS.values(), ids=OUTPUTS)
def test_command_output_is_parsed(raw: bytes, expected: list[object]) -> None:
    assert Packet(raw).output == expected


def test_the_text_of_an_old_command_is_not_a_header() -> None:
    packet = Packet(OLD + b"Event: x\nMessage: y\n--END COMMAND--")
    assert packet.headers == {"Response": "Follows", "Privilege": "Command", "ActionID": "7"}
    assert (packet.event, packet.response, packet.action_id) == ("", "Follows", "7")


def test_an_old_command_truncated_within_its_headers() -> None:
    packet = Packet(OLD[:-2])
    assert (packet.response, packet.output) == ("Follows", [])


def test_raw_text_is_split_into_lines() -> None:
    assert Packet(b"a: b\r\n c\n\xe9").lines == ["a: b", " c", b"\xe9"]
