"""Follows one server: its events, its state, and the changes that are published."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import groupby
from operator import itemgetter
from typing import Any

import zmq

from amid import wire
from amid.client import AsyncClient
from amid.process.loop import Soon, clock, start_task
from amid.reader.event_socket import EventSocket
from amid.rpc.server_queue import SESSION_GRACE_S
from amid.state.change_log import Delta
from amid.state.headers import Fields, text
from amid.state.server_state import Event, ServerState
from amid.state_service.loader import Check, Loader
from amid.state_service.subscription import Subscription

log = logging.getLogger("amid.state")

SILENCE_S = 3.0
"""Time without a tick after which the state is unknown."""
MESSAGE_CHANGES = 500
"""Changes in one message."""
PASS_S = 0.02
"""Time for publishing in one pass of the loop."""


class Follower:
    """Made on the running loop. on_change: called when the state, or its availability, has
    changed."""

    def __init__(
        self,
        client: AsyncClient,
        context: zmq.Context[zmq.Socket[bytes]],
        run_dir: str,
        server: str,
        socket: EventSocket,
        limits: tuple[float, int],
        check: Check,
        on_change: Soon,
    ) -> None:
        """limits: seconds between reconciliations, and bytes of changes that are held. check: of
        the actions that it sends."""
        reconcile_s, history_bytes = limits
        self.state = ServerState(server, history_bytes, first_rev=int(clock.wall() * 1e6))
        self._socket = socket
        self._on_change = on_change
        self._server = server
        self._last_tick = clock.monotonic()
        self._session_error = ""
        """Why there is no session with Asterisk, "" if there is one."""
        self._disconnected_at = 0.0
        self._messages: deque[tuple[bytes, list[Delta]]] = deque()
        self._send_soon = Soon(asyncio.get_running_loop(), self._send_messages)
        self._loader = Loader(client, self.state, reconcile_s, check, self._publish)
        endpoint = wire.ipc(run_dir, wire.stream_socket(server))
        self._subscription = Subscription(
            client, context, server, endpoint, self._begin_epoch, self._receive_events, self._receive_tick
        )
        self._loading = start_task(self._loader.run())  # the loop itself holds tasks by weak references
        log.info("%s: following its state", server)

    # ── events ──

    def _begin_epoch(self, epoch: int, seq: int) -> None:
        self.state.begin_epoch(epoch, seq)
        self._loader.begin_epoch()
        self._publish()

    def _receive_events(self, last: int, events: list[Event], time: float) -> None:
        barriers = self.state.feed_events(last, events, time)
        if barriers:
            self._loader.pass_barriers(barriers)
        for name, fields in events:
            if name.startswith("amid:"):
                self._receive_own_event(name, fields)
        if self.state.outdated or self.state.model.stale_queues:
            self._loader.wake()
        if self.state.change_log.unpublished:
            self._publish()

    def _receive_own_event(self, name: str, fields: Fields) -> None:
        """An event of amid itself, which reports the session with Asterisk."""
        if name in ("amid:disconnected", "amid:rejected"):
            if not self._session_error:
                self._disconnected_at = clock.monotonic()
            self._session_error = text(fields, "Reason") or "no session"
            self._publish()
        elif name in ("amid:connected", "amid:booted"):
            self._session_error = ""
            self._loader.wake()

    def _receive_tick(self) -> None:
        self._last_tick = clock.monotonic()

    # ── published changes ──

    def _publish(self) -> None:
        """Changes of different kinds keep their order: a subscriber to all kinds detects loss by `rev`."""
        for kind, run in groupby(self.state.change_log.take_unpublished(), key=itemgetter("kind")):
            topic = wire.state_topic(self._server, kind)
            if self._socket.want(topic):
                deltas = list(run)
                parts = (deltas[start : start + MESSAGE_CHANGES] for start in range(0, len(deltas), MESSAGE_CHANGES))
                self._messages += [(topic, part) for part in parts]
        self._send_messages()
        self._on_change()

    def publish_tick(self) -> None:
        """Publish the last numbers. Due once a second."""
        self._socket.halve_counts()
        topic = wire.tick_topic(self._server)
        if self._socket.want(topic):
            state = self.state
            tick = {"server": self._server, "epoch": state.epoch, "seq": state.seq, "rev": state.change_log.rev}
            self._messages.append((topic, [{**tick, "kind": "tick", "time": clock.wall()}]))
            self._send_messages()
            self._socket.receive()

    def _send_messages(self) -> None:
        """Send as much as one pass of the loop permits: a state that was loaded may be large."""
        end = clock.monotonic() + PASS_S
        while self._messages and clock.monotonic() < end:
            topic, deltas = self._messages.popleft()
            self._socket.send(topic, wire.pack(deltas))
        if self._messages:
            self._send_soon()

    # ── answers ──

    @property
    def unavailable(self) -> str:
        """Why there is no state now, "" if there is one."""
        if clock.monotonic() - self._last_tick > SILENCE_S:
            return f"the reader of server {self._server} does not report"
        if self._session_error:
            return f"server {self._server} has no session: {self._session_error}"
        if not self.state.ready:
            return self._loader.failure or f"the state of server {self._server} is being loaded"
        return ""

    @property
    def is_disconnected(self) -> bool:
        """Whether requests fail at once, as calls do: there is no session, and was none for a while."""
        return bool(self._session_error) and clock.monotonic() >= self._disconnected_at + SESSION_GRACE_S

    def report(self) -> dict[str, Any]:
        """What `status` shows of this server."""
        state = self.state
        lag = self._loader.lag_s
        return {
            "ready": not self.unavailable,
            "exact": state.exact and not self.unavailable,
            "detail": self.unavailable or state.detail(),
            "settled_at": state.settled_at,
            "corrections": state.corrections,
            "changes": state.change_log.count,
            "gaps": self._subscription.gaps,
            "event_lag": round(lag, 6) if lag is not None else None,
        }
