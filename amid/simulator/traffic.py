"""Random incoming calls, and originated calls.

A seeded generator makes random calls at a mean rate: external callers who call a person, the
support queue or the conference, talk and hang up. No clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from amid.simulator import model
from amid.simulator.dialing import await_answer, call_out
from amid.simulator.dialplan import enter, live, pause
from amid.simulator.model import Channel
from amid.simulator.pbx import Pbx, Program
from amid.simulator.tasks import Steps
from amid.simulator.wire import Header

CALLERS = (
    ("+442071838750", "Priya Nair"),
    ("+4989123456", "Müller & Söhne"),
    ("+33140205050", "Zoë Durand"),
    ("+12025550143", "Dana Whitfield"),
    ("+81335811111", "佐藤 健"),
    ("+48221234567", "Łukasz Nowak"),
)
DESTINATIONS = ("6001", "6004", "6004", "300", "300", "400")
"""Mostly extensions without a queue member, so that the members have time for the queue."""

NO_ANSWER, ANSWERED, FAILED = 3, 4, 0
"""`Reason` of an OriginateResponse: the frame that ended the wait (AST_CONTROL_RINGING, _ANSWER,
none)."""


def traffic(pbx: Pbx, calls_per_minute: float) -> Steps:
    """Start calls at random times; none at 0 calls a minute."""
    while calls_per_minute > 0:
        yield from pause(pbx, pbx.random.expovariate(calls_per_minute / 60))
        exten = pbx.random.choice(DESTINATIONS)
        channel = pbx.new_channel("PJSIP/trunk", model.RING, exten, caller=pbx.random.choice(CALLERS))
        enter(pbx, channel, pbx.program("default", exten))
        pbx.tasks.start(_hang_up_after(pbx, channel, pbx.random.uniform(8, 60)))


def _hang_up_after(pbx: Pbx, channel: Channel, seconds: float) -> Steps:
    """A caller hangs up after this time, whether served or not."""
    yield from pause(pbx, seconds)
    pbx.hang_up(channel, 16)


@dataclass(eq=False)
class Origination:
    """An originated call. `done` is called at its end with whether it was answered."""

    target: str
    then: Program
    shown: list[Header]
    """What it runs, as OriginateResponse repeats it."""
    action_id: str
    timeout: float
    announce: bool
    done: Callable[[bool], None]
    number: str = ""
    caller_name: str = ""
    place: tuple[str, str] | None = None
    """Context and extension for the answered channel; None when it runs an application."""
    variables: list[tuple[str, str]] = field(default_factory=list)

    def run(self, pbx: Pbx) -> Steps:
        leg = call_out(pbx, self.target, None)
        reason = FAILED
        if leg is not None:
            leg.watcher = self._task
            self._prepare(pbx, leg)
            answered = yield from await_answer(pbx, None, leg, self.target, self.timeout)
            reason = ANSWERED if answered else NO_ANSWER
        if leg is not None and reason == ANSWERED:
            self._connect(pbx, leg)
        elif leg is not None:
            pbx.hang_up(leg, 19)
        self._finish(pbx, leg, reason)
        yield 0

    def start(self, pbx: Pbx) -> None:
        self._task = pbx.tasks.start(self.run(pbx))

    def _connect(self, pbx: Pbx, leg: Channel) -> None:
        """Run the application or extension on the answered channel. A phone remains a person who
        talks and hangs up."""
        if self.place is not None:
            leg.context, leg.exten = self.place
        if leg.task is None and self.place is not None:
            enter(pbx, leg, self.then)
        elif leg.task is None:
            pbx.run_on(leg, live(pbx, leg, self.then))

    def _prepare(self, pbx: Pbx, leg: Channel) -> None:
        pbx.set_application(leg, "AppDial2", "(Outgoing Line)")
        for half in (leg, leg.half):
            if half is None:
                continue
            for name, value in self.variables:
                pbx.set_variable(half, name, value)
            if self.number or self.caller_name:
                pbx.set_caller(half, self.number, self.caller_name)
                pbx.set_connected(half, self.number, self.caller_name)

    def _finish(self, pbx: Pbx, leg: Channel | None, reason: int) -> None:
        answered = reason == ANSWERED
        if self.announce:
            identity = [("ActionID", self.action_id)] if self.action_id else []
            pbx.emit(
                "OriginateResponse",
                "call",
                identity,
                [
                    ("Response", "Success" if answered else "Failure"),
                    ("Channel", leg.name if leg and answered else self.target.removesuffix("/n")),
                ],
                self.shown,
                [
                    ("Reason", str(reason)),
                    ("Uniqueid", leg.uniqueid if leg and answered else model.UNKNOWN),
                    ("CallerIDNum", self.number or model.UNKNOWN),
                    ("CallerIDName", self.caller_name or model.UNKNOWN),
                ],
            )
        self.done(answered)
