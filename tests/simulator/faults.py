"""Misbehaviour on demand, to test clients with a PBX that breaks the rules.

A real Asterisk has nothing like it, so it wraps the actions of the simulated PBX (`faulty`). The
action `SimFault` arms a fault for the next `Count` actions named `Target` of any session (`*`: any
action):

    Kind: delay         the action runs `Seconds` later, and its session is blocked meanwhile
    Kind: silence       the action runs but is never answered
    Kind: close         the session is closed instead of an answer
    Kind: garbage       bytes that are not AMI precede the answer
    Kind: endless_line  `Size` bytes (default 1 MiB) without a line end replace the answer
    Kind: duplicate     the answer is sent twice
    Kind: wrong_actionid  the answer has another ActionID
    Kind: burst         at once, no Target: `Count` UserEvent events with `Number: 1` to `Count`
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amid.simulator import SimulatedPbx, User
from amid.simulator.actions import act
from amid.simulator.session import Act, Session
from amid.simulator.wire import Request

GARBAGE = bytes(range(128, 256)) + b"no header at all\r\n: :\r\n\r\n"
ACTION_ID = re.compile(rb"^ActionID: [^\r\n]*", re.MULTILINE)


@dataclass
class Fault:
    kind: str
    target: str
    count: int
    seconds: float
    size: int


class Faults:
    """The faults that are armed, for all sessions of one PBX."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def around(self, act: Act) -> Act:
        """`act`, but with SimFault understood and with what is armed done to it."""

        def faulty(session: Session, request: Request) -> None:
            name = request.get("Action").lower()
            if name == "simfault":
                self._order(session, request)
            elif fault := self._take(name):
                _inflict(fault, session, request, act)
            else:
                act(session, request)

        return faulty

    def _take(self, name: str) -> Fault | None:
        fault = next((fault for fault in self._armed if fault.target in (name, "*")), None)
        if fault is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._armed.remove(fault)
        return fault

    def _order(self, session: Session, request: Request) -> None:
        identity = [("ActionID", request.get("ActionID"))] if request.get("ActionID") else []
        kind, count = request.get("Kind").lower(), int(request.get("Count") or 1)
        if kind == "burst":
            session.send([("Response", "Success"), *identity, ("Message", f"{count} events follow")])
            for number in range(1, count + 1):
                session.pbx.emit("UserEvent", "user", [("UserEvent", "Burst"), ("Number", str(number))])
        elif kind in INFLICTIONS or kind == "delay":
            self._armed.append(
                Fault(
                    kind,
                    request.get("Target").lower() or "*",
                    count,
                    float(request.get("Seconds") or 1),
                    int(request.get("Size") or 1 << 20),
                )
            )
            session.send([("Response", "Success"), *identity, ("Message", "Fault armed")])
        else:
            known = ", ".join(("burst", "delay", *INFLICTIONS))
            session.send([("Response", "Error"), *identity, ("Message", f"Kind is one of {known}")])


def _inflict(fault: Fault, session: Session, request: Request, act: Act) -> None:
    if fault.kind == "delay":
        session.block(lambda: act(session, request), session.pbx.now + fault.seconds)
        return
    before = len(session.outgoing)
    act(session, request)
    answer = bytes(session.outgoing[before:])
    del session.outgoing[before:]
    session.write(INFLICTIONS[fault.kind](answer, fault))
    if fault.kind == "close":
        session.close()


INFLICTIONS: dict[str, Callable[[bytes, Fault], bytes]] = {
    "silence": lambda answer, fault: b"",
    "close": lambda answer, fault: b"",
    "garbage": lambda answer, fault: GARBAGE + answer,
    "endless_line": lambda answer, fault: b"x" * fault.size,
    "duplicate": lambda answer, fault: answer * 2,
    "wrong_actionid": lambda answer, fault: ACTION_ID.sub(b"ActionID: another", answer),
}
"""What comes instead of the answer."""


def faulty_pbx(*arguments: Any, **keys: Any) -> SimulatedPbx:
    """A simulated PBX that understands `SimFault`; the arguments are those of `SimulatedPbx`."""
    return SimulatedPbx(*arguments, act=Faults().around(act), **keys)


def main() -> None:
    """`python -m tests.simulator.faults PORT USER SECRET`: such a PBX in a process of its own."""
    port, name, secret = sys.argv[1:]
    pbx = faulty_pbx(port=int(port), users=[User(name, secret)])
    print(f"listening {pbx.host}:{pbx.port}", flush=True)
    pbx.run()


if __name__ == "__main__":
    main()
