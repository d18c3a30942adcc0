"""Turns what the lanes complete into what callers get: the result's map, or the error with its kind and an honest `sent`.

A call that asked for `until` stays here, off its lane, until the event with its ActionID has come on the event session.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amid.ami.burst import Burst
from amid.ami.exchange import Answer, TooLarge
from amid.ami.lane import Call
from amid.ami.packet import Headers, Packet, Text
from amid.ami.session import new_action_id
from amid.errors import AmidError
from amid.reader.result_encoder import Deliver, ResultEncoder
from amid.rpc.result import Items

SETTINGS_S = 5.0
"""Seconds that Asterisk has to tell its version."""

FEW = 50
"""Items of a list that are taken apart at once; those of a longer one when it is their turn."""


@dataclass(slots=True)
class Wait:
    """A call under way: what the broker sent for it, and what has come so far."""

    call: Call
    own_id: Text | None
    shape: str
    began: float
    until: str | None
    as_json: bool
    event: Packet | None = None
    answer: Answer | None = None
    events_lost: bool = False


@dataclass(slots=True)
class Answers:
    """`deliver` takes each result or error, `tell_response` the response of a call that waits on.

    `asterisk` is the version once it is known.
    """

    server: str
    deliver: Deliver
    tell_response: Callable[[int, Headers], object]
    asterisk: str = ""
    counters: dict[str, int] = field(default_factory=lambda: {"calls": 0})
    results: ResultEncoder = field(init=False)
    _waits: dict[int, Wait] = field(default_factory=dict)
    _untils: dict[str, Wait] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.results = ResultEncoder(self.deliver)

    @property
    def open(self) -> bool:
        """Whether any call is under way."""
        return bool(self._waits) or self.results.pending

    def expect(self, call: Call, body: dict[str, Any]) -> None:
        """`call` has been given to a lane; `body` is what the broker sent for it."""
        wait = Wait(call, body["own_id"], body["shape"], body["began"], body["until"], body["json"])
        self._waits[call.call_id] = wait
        self.counters["calls"] += 1
        if wait.until is not None:
            self._untils[call.action_id] = wait

    def ask_version(self, now: float) -> Call:
        """The call that finds out which Asterisk this is; `asterisk` says "unknown" until it is answered."""
        self.asterisk = "unknown"
        return Call.own("CoreSettings", new_action_id(), now + SETTINGS_S, 65536)

    def finish(self, call: Call, answer: Answer | TooLarge) -> None:
        """A lane has completed `call`."""
        if not call.call_id:
            self._take_version(answer)
            return
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
        if not call.call_id:
            self.asterisk = ""
        wait = self._waits.get(call.call_id)
        if wait is not None:
            self._fail(wait, "connection_lost", reason)

    def events(self, burst: Burst) -> None:
        """Events have come; one may be what a call waits for."""
        if not self._untils:
            return
        for packet in burst.packets():
            wait = self._untils.get(packet.action_id)
            if wait is not None and wait.event is None and wait.until is not None and packet.event.lower() == wait.until.lower():
                wait.event = packet
                self._complete(wait)

    def event_session_lost(self) -> None:
        """What waits for an event may have missed it."""
        for wait in list(self._untils.values()):
            if wait.event is None:
                wait.events_lost = True
                self._complete(wait)

    def next_deadline(self) -> float | None:
        """Drops what is overdue, whose callers the broker has told, and says when to look again, in monotonic seconds."""
        now = time.monotonic()
        for wait in [wait for wait in self._waits.values() if now >= wait.call.deadline]:
            self._forget(wait)
        return min((wait.call.deadline for wait in self._untils.values()), default=None)

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
                self._fail(wait, "connection_lost", f"the event session was lost before {wait.until} came", wait.answer.response)
            elif wait.answer.response is not None:
                self.tell_response(wait.call.call_id, _packet(wait.answer.response, wait))
            return
        self._forget(wait)
        shape = self._commands if wait.shape == "actions" else self._result
        self.results.start(wait.call.call_id, wait.call.deadline, shape(wait, wait.answer), wait.as_json)

    def _result(self, wait: Wait, answer: Answer) -> dict[str, Any]:
        result: dict[str, Any] = {
            "server": self.server,
            "action_id": wait.call.action_id,
            "response": _packet(answer.response, wait) if answer.response else {},
            "events": _items(answer.events, wait),
            "complete": _packet(answer.complete, wait) if answer.complete else None,
            "output": answer.output,
        }
        if wait.event is not None:
            result["until"] = _packet(wait.event, wait)
        result["elapsed"] = round(time.monotonic() - wait.began, 6)
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
        error = AmidError(
            kind,
            message,
            sent=True,
            server=self.server,
            action_id=wait.call.action_id,
            response=_packet(response, wait) if response is not None else None,
        )
        self.deliver(wait.call.call_id, None, _plain(error))

    def _forget(self, wait: Wait) -> None:
        self._waits.pop(wait.call.call_id, None)
        self._untils.pop(wait.call.action_id, None)

    def _take_version(self, answer: Answer | TooLarge) -> None:
        if isinstance(answer, Answer) and answer.response is not None and not answer.failed:
            self.asterisk = answer.response.get("AsteriskVersion") or "unknown"


def _packet(packet: Packet, wait: Wait) -> Headers:
    """The packet's headers, with the caller's own ActionID where amid's stood on the wire."""
    headers = packet.headers
    if wait.own_id is None:
        return headers
    return {name: wait.own_id if value == wait.call.action_id else value for name, value in headers.items()}


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


def _plain(error: AmidError) -> dict[str, Any]:
    return {"message": error.message, **error.data()}
