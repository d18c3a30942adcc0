"""Turns what the lanes complete into results and errors for callers, each with `sent`.

A call with `until` stays here, off its lane, until the event with its ActionID has come on the
event session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.exchange import Answer, TooLarge
from amid.ami.lane import Call
from amid.ami.packet import Headers, Packet, Text, text
from amid.process.loop import clock
from amid.reader.result_encoder import Deliver, ResultEncoder
from amid.rpc.messages import Failure, RunAction
from amid.rpc.result import Items

MAX_EAGER_ITEMS = 50
"""A list up to this length is parsed at once, a longer one while it is encoded."""


class PendingAnswer(Struct):
    """A call in progress: the broker's request, and what has arrived so far."""

    request: RunAction
    own_id: Text | None
    until: str | None
    event: Packet | None = None
    answer: Answer | None = None
    events_lost: bool = False


class Answers:
    """deliver: takes each result or error. report_progress: takes the response of a call that waits
    for its event."""

    def __init__(self, server: str, deliver: Deliver, report_progress: Callable[[int, Headers], object]) -> None:
        self._server = server
        self._deliver = deliver
        self._report_progress = report_progress
        self.counters = {"calls": 0}
        self._results = ResultEncoder(deliver)
        self._waits: dict[int, PendingAnswer] = {}
        self._untils: dict[str, PendingAnswer] = {}

    @property
    def open(self) -> bool:
        """Whether any call is in progress."""
        return bool(self._waits) or self._results.pending

    def expect(self, request: RunAction) -> None:
        """The action was given to a lane."""
        own_id = text(request.own_id) if request.own_id is not None else None
        until = request.until.decode("utf-8", "surrogateescape").lower() if request.until is not None else None
        wait = self._waits[request.call_id] = PendingAnswer(request, own_id, until)
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
            wait.answer = answer
            self._fail(wait, "action_failed", _message(answer), answer.response)
        else:
            wait.answer = answer
            self._complete(wait)

    def lost(self, call: Call, reason: str) -> None:
        """The session ended with `call` in flight."""
        wait = self._waits.get(call.call_id)
        if wait is not None:
            self._fail(wait, "connection_lost", reason)

    def events(self, batch: EventBatch) -> None:
        """Check new events for those that calls wait for."""
        if not self._untils:
            return
        for packet in batch.packets():
            wait = self._untils.get(packet.action_id)
            if wait is not None and wait.event is None and packet.event.lower() == wait.until:
                wait.event = packet
                self._complete(wait)

    def event_session_lost(self) -> None:
        """End the calls that wait for an event, which may have been missed."""
        for wait in list(self._untils.values()):
            if wait.event is None:
                wait.events_lost = True
                self._complete(wait)

    def drop_overdue(self, now: float) -> None:
        """Forget calls after their deadline, which the broker has answered."""
        for wait in [wait for wait in self._waits.values() if now >= wait.request.deadline]:
            self._forget(wait)

    def forget(self, call_id: int) -> None:
        """The caller has disconnected or cancelled the call."""
        wait = self._waits.get(call_id)
        if wait is not None:
            self._forget(wait)
        self._results.forget(call_id)

    def _complete(self, wait: PendingAnswer) -> None:
        if wait.answer is None:
            return
        if wait.until is not None and wait.event is None:
            if wait.events_lost:
                self._fail(wait, "connection_lost", _event_missed(wait), wait.answer.response)
            elif wait.answer.response is not None:
                self._report_progress(wait.request.call_id, _packet(wait.answer.response, wait))
            return
        self._forget(wait)
        request = wait.request
        self._results.start(request.call_id, request.deadline, self._shaped(wait, wait.answer), request.as_json)

    def _shaped(self, wait: PendingAnswer, answer: Answer) -> dict[str, Any] | list[dict[str, str]]:
        match wait.request.shape:
            case "action":
                return self._result(wait, answer)
            case "raw":
                return self._packets(wait, answer)
            case _:
                return self._commands(answer)

    def _packets(self, wait: PendingAnswer, answer: Answer) -> dict[str, Any]:
        packets = [packet.raw + BLANK for packet in (*answer.packets, wait.event) if packet is not None]
        return {
            "server": self._server,
            "action_id": wait.request.action_id,
            "packets": packets,
            "elapsed": round(clock.monotonic() - wait.request.began, 6),
        }

    def _result(self, wait: PendingAnswer, answer: Answer) -> dict[str, Any]:
        result: dict[str, Any] = {
            "server": self._server,
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

    def _commands(self, answer: Answer) -> list[dict[str, str]]:
        """The actions in an answer to ListCommands.

        Each header is `Name: synopsis  (Priv: classes)` (action_listcommands, main/manager.c).
        """
        assert answer.response is not None
        known = []
        for name, value in answer.response.headers.items():
            if name in ("Response", "ActionID") or not isinstance(name, str) or not isinstance(value, str):
                continue
            synopsis, _, privilege = value.rpartition("(Priv: ")
            known.append({"name": name, "synopsis": synopsis.strip(), "privilege": privilege.removesuffix(")")})
        return sorted(known, key=lambda command: command["name"].lower())

    def _fail(self, wait: PendingAnswer, kind: str, message: str, response: Packet | None = None) -> None:
        self._forget(wait)
        data: dict[str, Any] = {"server": self._server, "action_id": wait.request.action_id}
        if wait.request.shape == "raw" and wait.answer is not None:
            data["packets"] = [packet.raw + BLANK for packet in wait.answer.packets]
        elif response is not None:
            data["response"] = _packet(response, wait)
        self._deliver(wait.request.call_id, None, Failure(kind, message, True, data))

    def _forget(self, wait: PendingAnswer) -> None:
        self._waits.pop(wait.request.call_id, None)
        self._untils.pop(wait.request.action_id, None)


def _packet(packet: Packet, wait: PendingAnswer) -> Headers:
    """The packet's headers, with the caller's own ActionID in place of amid's."""
    headers = packet.headers
    if wait.own_id is None:
        return headers
    return {name: wait.own_id if value == wait.request.action_id else value for name, value in headers.items()}


def _event_missed(wait: PendingAnswer) -> str:
    return f"the event session was lost before {(wait.request.until or b'').decode('utf-8', 'backslashreplace')} came"


def _items(packets: list[Packet], wait: PendingAnswer) -> list[Headers] | Items:
    headers = (_packet(packet, wait) for packet in packets)
    return list(headers) if len(packets) <= MAX_EAGER_ITEMS else Items(len(packets), headers)


def _message(answer: Answer) -> str:
    """Asterisk's reason.

    For a failed Command that is the output, which its Message only announces.
    """
    first = next((line for line in answer.output if line), "")
    if first:
        return "the command failed: " + (first if isinstance(first, str) else first.decode("utf-8", "backslashreplace"))
    reason = answer.response.get("Message").strip() if answer.response is not None else ""
    advice = "; add the action's class to `write` of amid's user in manager.conf" if reason == "Permission denied" else ""
    return f"Asterisk answered Error: {reason}{advice}" if reason else "Asterisk answered Error"
