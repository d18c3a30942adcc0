"""Other versions of the simulated Asterisk: 16, and 13 with answers in the old forms."""

from __future__ import annotations

import re

from amid.simulator.session import ASTERISK_22, Act, Release, Session
from amid.simulator.wire import Request

ASTERISK_16 = Release(16, "5.0.4", "16.28.0")
ASTERISK_13 = Release(13, "2.6.0", "13.1.0")
RELEASES = {22: ASTERISK_22, 16: ASTERISK_16, 13: ASTERISK_13}

UNMARKED = {"dbget", "status", "queuestatus", "queuesummary", "bridgeinfo", "parkedcalls", "parkinglots"}
"""Actions whose lists were not marked."""


def act_of(version: int, act: Act) -> Act:
    """`act` as the Asterisk of this version carries it out."""
    return _as_13(act) if version < 14 else act


def _as_13(act: Act) -> Act:
    def old(session: Session, request: Request) -> None:
        before = len(session.outgoing)
        act(session, request)
        answer = bytes(session.outgoing[before:])
        del session.outgoing[before:]
        session.write(_old_form(request.get("Action").lower(), answer))

    return old


def _old_form(action: str, answer: bytes) -> bytes:
    if action == "command" and b"Message: Command output follows" in answer:
        answer = re.sub(rb"^Response: \w+\r\n", b"Response: Follows\r\nPrivilege: Command\r\n", answer)
        head, _, output = answer.removesuffix(b"\r\n\r\n").partition(b"Message: Command output follows\r\n")
        lines = [line.removeprefix(b"Output: ") + b"\n" for line in output.split(b"\r\n")]
        return head + b"".join(lines) + b"--END COMMAND--\r\n\r\n"
    if action in UNMARKED:
        return re.sub(rb"(?m)^(?:EventList: \w+|ListItems: \d+)\r\n", b"", answer)
    return answer
