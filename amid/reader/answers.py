"""Turns what the lanes complete into results and errors for callers, each with `sent`.

A call with `until` stays here, off its lane, until the event with its ActionID has come on the
event session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from amid.ami.event_batch import BLANK, EventBatch
from amid.ami.exchange import Answer, Call, TooLarge
from amid.ami.packet import Headers, Packet, text
from amid.process.loop import clock
from amid.reader.result_encoder import Deliver, ResultEncoder
from amid.rpc.messages import Failure, RunAction
from amid.rpc.result import Items

DENIED_ADVICE = "; add the action's class to `write` of amid's user in manager.conf (`manager show command ACTION` shows it)"
MAX_EAGER_ITEMS = 50
"""A list up to this length is parsed at once, a longer one while it is encoded."""


class AwaitedEvent(Struct):
    """The event that a call waits for after its answer. name: in lower case. missed: it may have
    come while there was no event session."""

    request: RunAction
    name: str
    answer: Answer | None = None
    event: Packet | None = None
    missed: bool = False


class Answers:
    """deliver: takes each result or error. report_progress: takes the response of a call that waits
    for its event."""

    def __init__(self, server: str, deliver: Deliver, report_progress: Callable[[int, Headers], object]) -> None:
        self._server = server
        self._deliver = deliver
        self._report_progress = report_progress
        self.counters = {"calls": 0}
        self._results = ResultEncoder(deliver)
        self._open: dict[int, RunAction] = {}
        self._awaited: dict[str, AwaitedEvent] = {}
        """By ActionID."""

    @property
    def open(self) -> bool:
        """Whether any call is in progress."""
        return bool(self._open or self._results.pending)

    @property
    def unencoded_bytes(self) -> int:
        """The size of the answers whose results are being encoded."""
        return self._results.pending_bytes

    def expect(self, request: RunAction) -> None:
        """The action was given to a lane."""
        self._open[request.call_id] = request
        self.counters["calls"] += 1
        if request.until is not None:
            name = request.until.decode("utf-8", "surrogateescape").lower()
            self._awaited[request.action_id] = AwaitedEvent(request, name)

    def finish(self, call: Call, answer: Answer | TooLarge | None, reason: str = "") -> None:
        """A lane has completed `call`, or its session ended without an answer, for this reason."""
        request = self._open.get(call.call_id)
        if request is None:
            return
        if answer is None:
            self._fail(request, "connection_lost", f"the session was lost with the action in flight: {reason}")
        elif isinstance(answer, TooLarge):
            self._fail(request, "too_large", f"the answer went over {request.max_bytes} bytes (max_reply_bytes)")
        elif answer.failed:
            self._fail(request, "action_failed", _message(answer), answer)
        elif (awaited := self._awaited.get(request.action_id)) is None:
            self._complete(request, answer)
        else:
            awaited.answer = answer
            self._complete_both(awaited)

    def events(self, batch: EventBatch) -> None:
        """Check new events for those that calls wait for."""
        if not self._awaited:
            return
        for packet in batch.packets():
            awaited = self._awaited.get(packet.action_id)
            if awaited is not None and awaited.event is None and packet.event.lower() == awaited.name:
                awaited.event = packet
                self._complete_both(awaited)

    def event_session_lost(self) -> None:
        """End the calls that wait for an event, which may have been missed."""
        for awaited in list(self._awaited.values()):
            awaited.missed = True
            self._complete_both(awaited)

    def drop_overdue(self, now: float) -> None:
        """Forget calls after their deadline, which the broker has answered."""
        for request in [request for request in self._open.values() if now >= request.deadline]:
            self._forget(request)

    def forget(self, call_id: int) -> None:
        """The caller has disconnected or cancelled the call."""
        request = self._open.get(call_id)
        if request is not None:
            self._forget(request)
        self._results.forget(call_id)

    def forget_all(self) -> None:
        """The broker that sent the calls has ended."""
        self._open.clear()
        self._awaited.clear()
        self._results.forget(None)

    def _complete_both(self, awaited: AwaitedEvent) -> None:
        """Complete a call once its answer and its event have come."""
        request, answer = awaited.request, awaited.answer
        if answer is None:
            return
        if awaited.event is not None:
            self._complete(request, answer, awaited.event)
        elif awaited.missed:
            self._fail(request, "connection_lost", _event_missed(request), answer)
        elif answer.response is not None:
            self._report_progress(request.call_id, _packet(answer.response, request))

    def _complete(self, request: RunAction, answer: Answer, event: Packet | None = None) -> None:
        self._forget(request)
        result = self._shaped(request, answer, event)
        self._results.start(request.call_id, request.deadline, result, request.as_json, answer.size)

    def _shaped(self, request: RunAction, answer: Answer, event: Packet | None) -> dict[str, Any] | list[dict[str, str]]:
        match request.shape:
            case "action":
                return self._result(request, answer, event)
            case "raw":
                return self._packets(request, answer, event)
            case _:
                return self._commands(answer)

    def _packets(self, request: RunAction, answer: Answer, event: Packet | None) -> dict[str, Any]:
        packets = [packet.raw + BLANK for packet in (*answer.packets, event) if packet is not None]
        return {
            "server": self._server,
            "action_id": request.action_id,
            "packets": packets,
            "elapsed": round(clock.monotonic() - request.began, 6),
        }

    def _result(self, request: RunAction, answer: Answer, event: Packet | None) -> dict[str, Any]:
        result: dict[str, Any] = {
            "server": self._server,
            "action_id": request.action_id,
            "response": _packet(answer.response, request) if answer.response else {},
            "events": _items(answer.events, request),
            "complete": _packet(answer.complete, request) if answer.complete else None,
            "output": answer.output,
        }
        if event is not None:
            result["until"] = _packet(event, request)
        result["elapsed"] = round(clock.monotonic() - request.began, 6)
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

    def _fail(self, request: RunAction, kind: str, message: str, answer: Answer | None = None) -> None:
        self._forget(request)
        data: dict[str, Any] = {"server": self._server, "action_id": request.action_id}
        if answer is not None and request.shape == "raw":
            data["packets"] = [packet.raw + BLANK for packet in answer.packets]
        elif answer is not None and answer.response is not None:
            data["response"] = _packet(answer.response, request)
        self._deliver(request.call_id, None, Failure(kind, message, True, data))

    def _forget(self, request: RunAction) -> None:
        self._open.pop(request.call_id, None)
        self._awaited.pop(request.action_id, None)


def _packet(packet: Packet, request: RunAction) -> Headers:
    """The packet's headers, with the caller's own ActionID in place of amid's."""
    headers = packet.headers
    if request.own_id is None:
        return headers
    own_id = text(request.own_id)
    return {name: own_id if value == request.action_id else value for name, value in headers.items()}


def _event_missed(request: RunAction) -> str:
    return f"the event session was lost before {(request.until or b'').decode('utf-8', 'backslashreplace')} came"


def _items(packets: list[Packet], request: RunAction) -> list[Headers] | Items:
    headers = (_packet(packet, request) for packet in packets)
    return list(headers) if len(packets) <= MAX_EAGER_ITEMS else Items(len(packets), headers)


def _message(answer: Answer) -> str:
    """Asterisk's reason.

    For a failed Command that is the output, which its Message only announces.
    """
    first = next((line for line in answer.output if line), "")
    if first:
        return "the command failed: " + (first if isinstance(first, str) else first.decode("utf-8", "backslashreplace"))
    reason = answer.response.get("Message").strip() if answer.response is not None else ""
    advice = DENIED_ADVICE if reason == "Permission denied" else ""
    return f"Asterisk answered Error: {reason}{advice}" if reason else "Asterisk answered Error"
