"""The rules for every call: one outcome, its own, in time, with a correct `sent`
(clients/README.md).

Callers report their requests and replies, PBXs what they received and answered. Faults excuse some
errors; without a fault there is no excuse.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.client import Connection
from tests.simulation.loop import Scheduler
from tests.simulation.pbx import Received

PROMISE_S = 0.050
DELIVERY_S = 0.030
"""For the way to the broker and back, pauses of the simulated machine included."""
MEMORY_S = 40.0
"""Seconds for which a fault excuses: the longest chain is silence, a Ping without an answer, and a back-off."""
PLENTY_S = 1.0
"""Seconds before the deadline at which an answer is certainly early enough."""
SENT_KINDS = {"action_failed", "timeout", "connection_lost", "too_large", "cancelled"}
UNSENT_KINDS = {"timeout", "not_connected", "busy", "cancelled", "unknown_server"}
LATE_SHARE = 0.05
"""Of the calls that timed out or were cancelled and may have been sent, those that were not: their lane came free just before."""
ANSWERED = {"ok", "list", "slow", "twice"}
"""Ways of the PBX that end a call well."""


@dataclass(slots=True)
class Asked:
    """A call, as its caller knows it. connection: where its answer arrives; stalls: when the caller read no answers."""

    marker: str
    server: str
    timeout: float
    until: str | None
    own_id: str | None
    asked: float
    connection: Connection
    stalls: list[tuple[float, float]]
    cancelled: bool = False
    outcome: str = ""
    _delay_before: float = 0.0

    def __post_init__(self) -> None:
        self._delay_before = self.connection.delay_s

    @property
    def delay_s(self) -> float:
        """The connection's `delay_s` since the call was made."""
        return self.connection.delay_s - self._delay_before


@dataclass
class Judge:
    """`away` gives the seconds in which the broker did not run, between two times."""

    scheduler: Scheduler
    away: Any = None
    outcomes: Counter[str] = field(default_factory=Counter)
    received: dict[str, Received] = field(default_factory=dict)
    _asked: dict[str, Asked] = field(default_factory=dict)
    _never: set[str] = field(default_factory=set)
    _claimed: list[tuple[Asked, float]] = field(default_factory=list)
    _faults: list[float] = field(default_factory=list)
    _number: int = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def note_fault(self, lasting: float = 0.0) -> None:
        """Record a fault that lasts for this many seconds."""
        self._faults.append(self.scheduler.now + lasting)

    def is_excused(self, since: float) -> bool:
        """Whether a fault may be the cause of what happened between then and now."""
        return bool(self._faults) and max(self._faults[-50:]) >= since - MEMORY_S

    # ── what the PBX says ──

    def receive(self, server: str, received: Received) -> None:
        marker = received.marker
        asked = self._asked.get(marker)
        if asked is None or asked.server != server:
            self._fail(marker, f"was received by {server} without a request")
        if marker in self.received:
            self._fail(marker, "was sent twice")
        if marker in self._never:
            self._fail(marker, "was received although its caller was told that it was not sent")
        self.received[marker] = received
        if received.kind in ("bare", "foreign", "silent"):
            self.note_fault(asked.timeout if asked is not None else 0.0)

    # ── what callers say ──

    def ask(self, asked: Asked) -> None:
        self._asked[asked.marker] = asked

    def cancel(self, asked: Asked, result: dict[str, Any]) -> None:
        if result["cancelled"] and not result["sent"]:
            self._check_unsent(asked)

    def may_be_unanswered(self, asked: Asked) -> bool:
        """Whether the broker, or the caller itself, was away so long that no answer can have come yet."""
        now = self.scheduler.now
        return self._slack(asked) > now - asked.asked - asked.timeout - PROMISE_S

    def end(self, asked: Asked, reply: dict[str, Any] | None) -> None:
        """A call's reply, or None when its connection has ended."""
        if asked.outcome:
            self._fail(asked.marker, f"has two outcomes: {asked.outcome}, then {reply}")
        if reply is None:
            asked.outcome = "disconnected"
        else:
            error = reply.get("error")
            asked.outcome = "ok" if error is None else error["data"]["kind"]
            self._check_time(asked)
            if error is None:
                self._check_result(asked, reply["result"])
            else:
                self._check_error(asked, error["message"], error["data"])
        self.scheduler.decide(f"{asked.marker} {asked.outcome}")
        self.outcomes[asked.outcome] += 1

    def end_question(self, asked: Asked, reply: dict[str, Any] | None) -> None:
        """The reply to a method that is no action."""
        if reply is not None:
            asked.outcome = "result" if "result" in reply else reply["error"]["data"]["kind"]
            self._check_time(asked)
            if asked.marker != "actions" and asked.outcome != "result":
                self._fail(asked.marker, f"failed: {reply}")

    def finish(self) -> None:
        """At the end, when all that was sent has arrived."""
        for marker, asked in self._asked.items():
            if not asked.outcome:
                self._fail(marker, "has no outcome at the end")
        never = [(one, ended) for one, ended in self._claimed if one.marker not in self.received]
        unfounded = [one for one, ended in never if not self._excused_at(one.asked, ended)]
        late = [one for one in unfounded if one.outcome in ("timeout", "cancelled")]
        if len(late) > 3 + len(self._claimed) * LATE_SHARE or len(late) < len(unfounded):
            self._fail(unfounded[-1].marker, f"and {len(unfounded) - 1} others have errors with sent true, but were not sent")

    # ── the rules ──

    def _slack(self, asked: Asked) -> float:
        now = self.scheduler.now
        stalled = sum(max(0.0, min(now, end) - max(asked.asked, begin)) for begin, end in asked.stalls)
        return DELIVERY_S + float(self.away(asked.asked, now)) + stalled + asked.delay_s

    def _check_time(self, asked: Asked) -> None:
        took = self.scheduler.now - asked.asked
        if took > asked.timeout + PROMISE_S + self._slack(asked):
            self._fail(asked.marker, f"{asked.outcome} after {took:.3f} s; its timeout is {asked.timeout:g} s")
        if asked.outcome == "timeout" and took < asked.timeout:
            self._fail(asked.marker, f"timeout after {took:.3f} s of {asked.timeout:g} s")

    def _check_result(self, asked: Asked, result: dict[str, Any]) -> None:
        received = self.received.get(asked.marker)
        if received is None or received.kind not in ANSWERED:
            self._fail(asked.marker, f"has a result, but the PBX said {received}: {result}")
            return
        packets = [result["response"], *result["events"]]
        packets += [one for one in (result["complete"], result.get("until")) if one is not None]
        markers = {packet.get("Marker") for packet in packets}
        if markers != {asked.marker}:
            self._fail(asked.marker, f"has the answer of {sorted(map(str, markers))}")
        if {packet.get("ActionID") for packet in packets} != {asked.own_id or received.action_id}:
            self._fail(asked.marker, f"has packets with another ActionID: {packets}")
        if result["action_id"] != received.action_id or result["server"] != asked.server:
            self._fail(asked.marker, f"has the ActionID of another: {result['action_id']}")
        numbers = [packet["Number"] for packet in result["events"]]
        if numbers != list(map(str, range(received.items))) or (result["complete"] is None) != (received.kind != "list"):
            self._fail(asked.marker, f"has {len(numbers)} items of {received.items}")
        if (asked.until is not None) != ("until" in result):
            self._fail(asked.marker, f"waits for {asked.until}, and its result has {result.get('until')}")

    def _check_error(self, asked: Asked, message: str, data: dict[str, Any]) -> None:
        kind, sent, marker = data["kind"], data["sent"], asked.marker
        if kind not in (SENT_KINDS if sent else UNSENT_KINDS):
            self._fail(marker, f"has {kind} with sent {sent}: {message}")
        if kind == "cancelled" and not asked.cancelled:
            self._fail(marker, "was cancelled without a request")
        if sent:
            self._claimed.append((asked, self.scheduler.now))
        else:
            self._check_unsent(asked)
        received = self.received.get(marker)
        if kind == "action_failed":
            self._check_failure(asked, received, data)
        elif kind == "too_large" and (received is None or received.kind != "huge"):
            self._fail(marker, f"is too large, but the PBX said {received}")
        elif kind in ("connection_lost", "not_connected", "unknown_server") and not self.is_excused(asked.asked):
            self._fail(marker, f"has {kind} without a fault: {message}")
        elif kind == "timeout":
            self._check_timeout(asked, received)

    def _check_failure(self, asked: Asked, received: Received | None, data: dict[str, Any]) -> None:
        kind = received.kind if received is not None else "nothing"
        said = data.get("response", {})
        own = (kind == "bare" and "Marker" not in said) or (kind == "error" and said.get("Marker") == asked.marker)
        if not own or (received is not None and data.get("action_id") != received.action_id):
            self._fail(asked.marker, f"has failed with {data}, but the PBX said {received}")

    def _check_timeout(self, asked: Asked, received: Received | None) -> None:
        if received is None or received.kind in ("foreign", "huge"):
            return
        done = received.completed if asked.until else received.answered
        if done is not None and done < asked.asked + asked.timeout - PLENTY_S and not self.is_excused(asked.asked):
            self._fail(asked.marker, f"timed out, but was answered early enough: {received}")

    def _check_unsent(self, asked: Asked) -> None:
        self._never.add(asked.marker)
        if asked.marker in self.received:
            self._fail(asked.marker, f"has {asked.outcome} with sent false, but was received: {self.received[asked.marker]}")

    def _excused_at(self, begin: float, end: float) -> bool:
        return any(begin - MEMORY_S <= fault and fault <= end + MEMORY_S for fault in self._faults)

    def _fail(self, marker: str, what: str) -> None:
        self.scheduler.fail(f"call {marker} {what}")
