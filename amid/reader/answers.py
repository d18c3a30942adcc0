"""Turns what the lanes complete into what callers get: the result's map, or the error with its kind and an honest `sent`.

A call that asked for `until` stays here, off its lane, until the event with its ActionID has come on the event session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amid.ami.burst import Burst
from amid.ami.exchange import Answer, TooLarge
from amid.ami.lane import Call
from amid.ami.packet import Headers, Packet, Text, text
from amid.process.loop import clock
from amid.reader.result_encoder import Deliver, ResultEncoder
from amid.rpc.messages import Failure, RunAction
from amid.rpc.result import Items

FEW = 50
"""Items of a list that are taken apart at once; those of a longer one when it is their turn."""


@dataclass(slots=True)
class Wait:
    """A call under way: what the broker sent for it, and what has come so far."""

    request: RunAction
    own_id: Text | None
    until: str | None
    event: Packet | None = None
    answer: Answer | None = None
    events_lost: bool = False


@dataclass(slots=True)
class Answers:
    """`deliver` takes each result or error, `report_progress` the response of a call that waits on; `step_soon` asks for
    `results.step`, since a large result is encoded in portions."""

    server: str
    deliver: Deliver
    report_progress: Callable[[int, Headers], object]
    step_soon: Callable[[], object]
    counters: dict[str, int] = field(default_factory=lambda: {"calls": 0})
    results: ResultEncoder = field(init=False)
    _waits: dict[int, Wait] = field(default_factory=dict)
    _untils: dict[str, Wait] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results = ResultEncoder(self.deliver, self.step_soon)

    @property
    def open(self) -> bool:
        """Whether any call is under way."""
        return bool(self._waits) or self.results.pending

    def expect(self, request: RunAction) -> None:
        """The action has been given to a lane."""
        own_id = text(request.own_id) if request.own_id is not None else None
        until = request.until.decode("utf-8", "surrogateescape").lower() if request.until is not None else None
        wait = self._waits[request.call_id] = Wait(request, own_id, until)
        self.counters["calls"] += 1
        if until is not None:
            self._untils[request.action_id] = wait

    def finish(self, call: Call, answer: Answer | TooLarge) -> None:
        """A lane has completed `call`."""
        wait = self._waits.get(call.call_id)
        if wait is None:
            return
        if isinstance(answer, TooLarge):
            self._fail(wait, "too_large", f"the answer went over {call.max_bytes} bytes (max_reply_bytes)")
        elif answer.failed:
            self._fail(wait, "action_failed", _message(answer), answer.response)
        else:
            wait.answer = answer
            self._complete(wait)

    def lost(self, call: Call, reason: str) -> None:
        """The session ended with `call` in flight."""
        wait = self._waits.get(call.call_id)
        if wait is not None:
            self._fail(wait, "connection_lost", reason)

    def events(self, burst: Burst) -> None:
        """Events have come; one may be what a call waits for."""
        if not self._untils:
            return
        for packet in burst.packets():
            wait = self._untils.get(packet.action_id)
            if wait is not None and wait.event is None and packet.event.lower() == wait.until:
                wait.event = packet
                self._complete(wait)

    def event_session_lost(self) -> None:
        """What waits for an event may have missed it."""
        for wait in list(self._untils.values()):
            if wait.event is None:
                wait.events_lost = True
                self._complete(wait)

    def drop_overdue(self, now: float) -> None:
        """Forget the calls whose deadline has passed: the broker has told their callers."""
        for wait in [wait for wait in self._waits.values() if now >= wait.request.deadline]:
            self._forget(wait)

    def forget(self, call_id: int) -> None:
        """The caller of this call has gone, or has cancelled it."""
        wait = self._waits.get(call_id)
        if wait is not None:
            self._forget(wait)
        self.results.forget(call_id)

    def _complete(self, wait: Wait) -> None:
        if wait.answer is None:
            return
        if wait.until is not None and wait.event is None:
            if wait.events_lost:
                self._fail(wait, "connection_lost", _event_missed(wait), wait.answer.response)
            elif wait.answer.response is not None:
                self.report_progress(wait.request.call_id, _packet(wait.answer.response, wait))
            return
        self._forget(wait)
        request = wait.request
        shape = self._commands if request.shape == "actions" else self._result
        self.results.start(request.call_id, request.deadline, shape(wait, wait.answer), request.as_json)

    def _result(self, wait: Wait, answer: Answer) -> dict[str, Any]:
        result: dict[str, Any] = {
            "server": self.server,
            "action_id": wait.request.action_id,
            "response": _packet(answer.response, wait) if answer.response else {},
            "events": _items(answer.events, wait),
            "complete": _packet(answer.complete, wait) if answer.complete else None,
            "output": answer.output,
        }
        if wait.event is not None:
            result["until"] = _packet(wait.event, wait)
        result["elapsed"] = round(clock.monotonic() - wait.request.began, 6)
        return result

    def _commands(self, wait: Wait, answer: Answer) -> list[dict[str, str]]:
        """ListCommands says `Name: what it does  (Priv: classes)` in a header each (action_listcommands, main/manager.c)."""
        assert answer.response is not None
        known = []
        for name, value in answer.response.headers.items():
            if name in ("Response", "ActionID") or not isinstance(name, str) or not isinstance(value, str):
                continue
            synopsis, _, privilege = value.rpartition("(Priv: ")
            known.append({"name": name, "synopsis": synopsis.strip(), "privilege": privilege.removesuffix(")")})
        return sorted(known, key=lambda command: command["name"].lower())

    def _fail(self, wait: Wait, kind: str, message: str, response: Packet | None = None) -> None:
        self._forget(wait)
        data: dict[str, Any] = {"server": self.server, "action_id": wait.request.action_id}
        if response is not None:
            data["response"] = _packet(response, wait)
        self.deliver(wait.request.call_id, None, Failure(kind, message, True, data))

    def _forget(self, wait: Wait) -> None:
        self._waits.pop(wait.request.call_id, None)
        self._untils.pop(wait.request.action_id, None)


def _packet(packet: Packet, wait: Wait) -> Headers:
    """The packet's headers, with the caller's own ActionID where amid's stood on the wire."""
    headers = packet.headers
    if wait.own_id is None:
        return headers
    return {name: wait.own_id if value == wait.request.action_id else value for name, value in headers.items()}


def _event_missed(wait: Wait) -> str:
    return f"the event session was lost before {(wait.request.until or b'').decode('utf-8', 'backslashreplace')} came"


def _items(packets: list[Packet], wait: Wait) -> list[Headers] | Items:
    headers = (_packet(packet, wait) for packet in packets)
    return list(headers) if len(packets) <= FEW else Items(len(packets), headers)


def _message(answer: Answer) -> str:
    """What Asterisk said; for a Command that failed, its Message only announces the output."""
    first = next((line for line in answer.output if line), "")
    if first:
        return "the command failed: " + (first if isinstance(first, str) else first.decode("utf-8", "backslashreplace"))
    said = answer.response.get("Message").strip() if answer.response is not None else ""
    return f"Asterisk answered Error: {said}" if said else "Asterisk answered Error"
