"""The judge: turns records of calls, events and the witness into violations of the promises. No
socket and no clock.

A record is judged on arrival, as far as possible; what depends on the witness waits for it
(`testimony`). Old records are dropped, so that a soak of any length uses bounded memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.records import Away, Call, Cut, Deaf, Missed, Record, RecordedCall, Seen, Stray, Tick, Witnessed
from tests.faults.sequences import Named, Told, Whole
from tests.faults.testimony import Testimony

PROMISE = 0.05
"""Seconds over its timeout within which a call is answered."""
MARGIN = 1.0
"""Seconds more that a client waits before it gives the broker up; also how long after the broker's return its loss may show."""
SHOWN = 1000
"""Violations that are kept word by word; the others are counted."""

FORBIDDEN = {
    "internal_error",
    "parse_error",
    "invalid_request",
    "unknown_method",
    "invalid_params",
    "denied",
    "unknown_server",
    "too_large",
}
"""How no call of the load may end, whatever the fault."""


@dataclass
class Judge:
    """`take` each record, `end` behind the last; `violations` is what was found so far."""

    violations: list[str] = field(default_factory=list)
    found: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    worst: float = 0.0
    allowed: float = 0.0
    recorded_calls: int = 0

    def __post_init__(self) -> None:
        self._published: dict[str, Whole | Named] = {"stream": Whole(), "names": Named()}
        self._pulled = {"client": Told(), "pull": Told(by_name=True), "recorder": Told()}
        self.sequences: dict[str, Whole | Named | Told] = {**self._published, **self._pulled}
        self._testimony = Testimony()
        self._away: list[Away] = []
        self._settled = -math.inf

    @property
    def missed(self) -> int:
        """Events that the client library reported as missing."""
        return self._pulled["client"].missed

    @property
    def unrecorded(self) -> tuple[int, int]:
        """Events that the recorder reported as missing, and ends of epochs, where their number is unknown."""
        return self._pulled["recorder"].missed, self._pulled["recorder"].ends

    def remembered(self) -> int:
        """How many records are kept: bounded, however long it lasts."""
        return len(self._testimony) + len(self._away) + len(self.violations)

    def take(self, record: Record) -> None:
        match record:
            case Call():
                self._call(record)
                self._settle(record.ended)
            case Seen():
                self._seen(record)
            case Tick():
                self._note(record.subscriber, self._published[record.subscriber].tick(record))
            case Missed():
                self._note(record.subscriber, self._pulled[record.subscriber].gap(record))
            case Witnessed():
                self._find(self._testimony.seen_by_witness(record))
            case Cut():
                self._testimony.cut(record)
            case Away():
                self._away = [one for one in self._away[-20:] if one.until is not None] + [record]
            case Stray():
                self._find([f"unexpected or duplicate answer: {record}"])
            case Deaf():
                self._find([f"{record.who} never had the last event of all"])
            case RecordedCall():
                self.recorded_calls += 1
                self._find([f"not the call of its events: {record}"] if record.found != record.expected else [])

    def end(self) -> list[str]:
        """No record comes any more."""
        self._find(self._testimony.settle(math.inf))
        return self.violations

    # ── calls ──

    def _call(self, call: Call) -> None:
        self.kinds[f"{call.action} {call.kind}" + ("" if not call.own else ", by the client")] += 1
        self._find(f"{fault}: {call}" for fault in self._faults(call))
        if call.token:
            self._find(self._testimony.call(call))

    def _faults(self, call: Call) -> list[str]:
        away = self._no_broker(call)
        over = call.ended - call.began - call.timeout
        self._measure(call, over, away)
        checks = {
            "the broker was there and gave no answer": call.own and not away,
            f"answered {over * 1000:.0f} ms after its timeout": over > self._allowed(call, away),
            f"it timed out {-over * 1000:.0f} ms too early": call.kind == "timeout" and over < -0.002,
            "no call may end so": call.kind in FORBIDDEN,
            f"not its own answer ({call.wrong})": bool(call.wrong),
        }
        return [text for text, wrong in checks.items() if wrong]

    def _allowed(self, call: Call, away: bool) -> float:
        """The allowed seconds over its timeout; not checked if the fault is that no reply comes."""
        if call.own and not away:
            return math.inf
        return PROMISE + call.late + (MARGIN if away else 0.0)

    def _measure(self, call: Call, over: float, away: bool) -> None:
        if not away:
            self.worst = max(self.worst, over)
            self.allowed = max(self.allowed, call.late if over > PROMISE else 0.0)

    def _no_broker(self, call: Call) -> bool:
        ends = ((one.since, math.inf if one.until is None else one.until + MARGIN) for one in self._away)
        return any(since <= call.ended and call.began <= until for since, until in ends)

    # ── events ──

    def _seen(self, event: Seen) -> None:
        sequence = self.sequences[event.subscriber]
        self.events[event.subscriber] += 1
        self._note(event.subscriber, sequence.event(event))
        if event.token:
            self._testimony.heard(event, sequence.run)

    def _note(self, subscriber: str, wrong: str) -> None:
        self._find([f"subscriber {subscriber}: {wrong}"] if wrong else [])

    # ── what was found ──

    def _settle(self, now: float) -> None:
        """Once a second of the records' own time."""
        if now >= self._settled + 1.0:
            self._settled = now
            self._find(self._testimony.settle(now))

    def _find(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.found += 1
            if len(self.violations) < SHOWN:
                self.violations.append(text)
