"""The process `state`, one for all servers: a client like any other, and a service of the broker.

A server is followed from the first request for its state, or the first subscription to its changes,
so an unused state costs nothing. The supervisor starts the process; `python -m amid state` starts it
by hand with a configuration, for debugging.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import zmq

from amid import wire
from amid.client import AsyncClient
from amid.config.tables import Config, Curve
from amid.errors import AmidError
from amid.process import loop
from amid.process.child import Child
from amid.process.loop import Alarm, Soon, clock
from amid.process.run_dir import describe_run_dir_error
from amid.process.service import Service
from amid.process.settings import StateSettings, state_settings
from amid.reader.event_socket import EventSocket, EventSockets
from amid.reader.result_encoder import ResultEncoder
from amid.rpc.messages import CallService, Failure, ServiceHello
from amid.rpc.policy import check_action
from amid.rpc.requests import Cursor, EventsParams, Params, StateParams
from amid.rpc.result import Items
from amid.state import query
from amid.state_service.follower import Follower

log = logging.getLogger("amid.state")

SEND_HWM = 5000
"""Messages that are buffered for a slow subscriber."""
MAX_SUBSCRIBERS = 200
"""Connections of one Unix user to each socket."""
TICK_S = 1.0
"""Time between two ticks."""
PASS_S = 0.02
"""Time for answers in one pass of the loop: a copy of 10,000 channels takes that long."""
RESULTS_AT_ONCE = 4
"""Results that are encoded at the same time, besides the first one of each caller; each may be a copy
of the whole state."""
EARLY_S = 0.1
"""Time before its deadline at which a request is answered with the reason for the delay."""


class StateService:
    """Made on the running loop; `run` returns when it has ended. Raises `OSError` if it cannot bind
    its sockets."""

    def __init__(self, child: Child[StateSettings], settings: StateSettings) -> None:
        self._child = child
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._sockets = EventSockets(settings.run_dir, Counter(), MAX_SUBSCRIBERS, Curve(), {})
        self._published = {name: self._open(name) for name in settings.servers}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._client = AsyncClient(settings.run_dir)
        self._followers: dict[str, Follower] = {}
        self._waiting: dict[int, tuple[CallService, Params]] = {}
        self._answer_soon = Soon(self._loop, self._answer_waiting)
        self._alarm = Alarm(self._loop, self._answer_waiting)
        self._encoder = ResultEncoder(self._deliver)
        hello = ServiceHello("state", ["state", "events"])
        self._service = Service(settings.run_dir, hello, self._handle_call, self._forget, self._answer_soon)

    def _open(self, server: str) -> EventSocket:
        return self._sockets.open(wire.state_socket(server), SEND_HWM, lambda _: self._follow(server))

    async def run(self) -> None:
        self._child.start(self._configure)
        self._tick()
        await self._child.ended.wait()
        if not self._child.orphaned:
            await self._service.close()

    def _configure(self, settings: StateSettings) -> None:
        self._settings = settings

    def _tick(self) -> None:
        for follower in self._followers.values():
            follower.publish_tick()
        self._service.report({name: follower.report() for name, follower in self._followers.items()})
        self._answer_waiting()
        self._loop.call_later(TICK_S, self._tick)

    def _follow(self, server: str) -> Follower:
        """The follower of a server, made at the first request."""
        follower = self._followers.get(server)
        if follower is None:
            state, run_dir = self._settings.state, self._settings.run_dir
            limits = state.reconcile, state.history_bytes
            socket = self._published[server]
            check = partial(self._check_action, server)
            follower = Follower(self._client, self._context, run_dir, server, socket, limits, check, self._answer_soon)
            self._followers[server] = follower
        return follower

    def _check_action(self, server: str, action: str, headers: Mapping[str, Any]) -> None:
        """Raise `AmidError` of kind `denied` if the broker would deny an action."""
        check_action(action, headers, self._settings.caller, self._settings.rules[server])

    # ── requests ──

    def _handle_call(self, call: CallService, params: Params) -> None:
        if call.server not in self._published:  # new in the configuration: this process is about to be replaced
            self._service.refuse(call, AmidError("not_connected", f"the state of server {call.server} is not known yet; retry"))
            return
        self._follow(call.server)
        if isinstance(params, EventsParams):
            params = self._with_cursor(call, params)
        self._waiting[call.call_id] = call, params
        self._answer_soon()

    def _with_cursor(self, call: CallService, params: EventsParams) -> EventsParams:
        """`params` with a cursor; without one, the changes from now on are meant."""
        if params.after is not None:
            return params
        state = self._followers[call.server].state
        after = Cursor(epoch=state.epoch, seq=state.seq, rev=state.change_log.rev)
        return msgspec.structs.replace(params, after=after)

    def _forget(self, call_id: int | None) -> None:
        if call_id is None:
            self._waiting.clear()
        else:
            self._waiting.pop(call_id, None)
        self._encoder.forget(call_id)
        self._answer_soon()

    # ── answers ──

    def _answer_waiting(self) -> None:
        """Answer the requests that can be answered now, and those whose time is over, as many as one
        pass of the loop permits."""
        now = clock.monotonic()
        if self._service.is_backlogged:  # `_answer_soon` is called when it ends
            return
        for call, params in self._in_turn():
            if self._has_its_share(call):
                continue
            if now >= call.deadline:  # the broker has answered it
                del self._waiting[call.call_id]
                continue
            try:
                result = self._result(call, params, now)
            except AmidError as error:
                del self._waiting[call.call_id]
                self._service.refuse(call, error)
                continue
            if result is not None:
                del self._waiting[call.call_id]
                self._start_encoding(call, result)
                if self._service.is_backlogged:
                    return
                if clock.monotonic() >= now + PASS_S:
                    self._answer_soon()
                    break
        next_ends = (_answer_by(call) for call, _ in self._waiting.values() if not self._has_its_share(call))
        self._alarm.set(min(next_ends, default=None))

    def _in_turn(self) -> list[tuple[CallService, Params]]:
        """The requests of one caller in their order, and the callers in turn."""
        turns: Counter[str] = Counter()

        def turn(waiting: tuple[CallService, Params]) -> int:
            turns[waiting[0].principal] += 1
            return turns[waiting[0].principal]

        return sorted(self._waiting.values(), key=turn)

    def _has_its_share(self, call: CallService) -> bool:
        """Whether further results of this caller must wait for others that are being encoded.
        `_answer_soon` is called when one is complete."""
        return self._encoder.pending >= RESULTS_AT_ONCE and self._encoder.is_busy_for(call.principal)

    def _start_encoding(self, call: CallService, result: dict[str, Any]) -> None:
        """Encode in portions between other work: the state of 10,000 channels takes 0.2 s."""
        lists = {name: Items(len(value), iter(value)) for name, value in result.items() if isinstance(value, list)}
        self._encoder.start(call.call_id, call.deadline, {**result, **lists}, call.as_json, owner=call.principal)

    def _deliver(self, call_id: int, encoded: bytes | None, failure: Failure | None) -> None:
        if encoded is not None:
            self._service.answer_encoded(call_id, encoded)
            self._answer_soon()

    def _result(self, call: CallService, params: Params, now: float) -> dict[str, Any] | None:
        """None while the request must wait. Raises `AmidError`."""
        follower = self._followers[call.server]
        if isinstance(params, EventsParams):
            return _changes(follower, call, params, now)
        assert isinstance(params, StateParams)
        unavailable = follower.unavailable
        if unavailable and (follower.is_disconnected or now >= _answer_by(call)):
            raise AmidError("not_connected", unavailable)
        return None if unavailable else _snapshot(follower, params)


def _answer_by(call: CallService) -> float:
    """When a request is answered even without what it waits for, in monotonic seconds."""
    return call.end - EARLY_S if call.end == call.deadline else call.end


def _snapshot(follower: Follower, params: StateParams) -> dict[str, Any]:
    """The result of `state`. Raises `AmidError` of kind `invalid_params`."""
    try:
        conditions = query.parse_conditions(params.where, params.kinds)
    except ValueError as error:
        raise AmidError("invalid_params", f"state: `params.where`: {error}") from None
    return {**follower.state.head(query.parse_kinds(params.kinds)), **query.select(follower.state.model, params.kinds, conditions)}


def _changes(follower: Follower, call: CallService, params: EventsParams, now: float) -> dict[str, Any] | None:
    """The result of `events` with kinds; None if there is none and the request may wait. Raises
    `AmidError` of kind `invalid_params`."""
    state, after = follower.state, params.after
    assert after is not None
    if params.names is not None:
        raise AmidError("invalid_params", "events: give `names` for events, or `kinds` for changes of state, not both")
    if not state.epoch and now < call.end:
        return None
    page = state.change_log.page_after(after.epoch, after.seq, after.rev, query.parse_kinds(params.kinds), params.limit)
    if not (page.deltas or page.missed != 0 or now >= call.end):
        after.seq, after.rev = page.seq, page.rev  # what was searched is not searched again at each change
        return None
    cursor = {"server": state.server, "epoch": state.epoch, "seq": page.seq, "rev": page.rev}
    return {**cursor, "events": page.deltas, "missed": page.missed, "more": page.more}


async def _run(by_hand: StateSettings | None) -> None:
    child = Child(StateSettings, by_hand)
    settings = child.settings
    child.set_up_log(process="state")
    try:
        service = StateService(child, settings)
    except (OSError, zmq.ZMQError) as error:
        log.error("cannot start in %s: %s", settings.run_dir, describe_run_dir_error(settings.run_dir, error))
        sys.exit(1)
    await service.run()


def main(config: Config | None = None) -> None:
    loop.run_child(_run(state_settings(config) if config else None))
