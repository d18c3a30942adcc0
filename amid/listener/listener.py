"""The listener's process: joins the sessions of AMI clients to the broker and to the events of the
readers.

`python -m amid listener`: started by the supervisor, or manually with a configuration, to debug it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from collections import Counter
from functools import partial
from typing import Any

import zmq

from amid.broker.audit_log import AuditLog
from amid.config.tables import Config
from amid.errors import AmidError
from amid.listener.broker_link import BrokerLink
from amid.listener.client_connection import ClientConnection
from amid.listener.ports import Ports
from amid.listener.raw_events import RawEvents
from amid.listener.upstreams import Upstreams
from amid.manager.backlog import largest_backlogs
from amid.manager.event_block import EventBlock
from amid.manager.failures import Failure
from amid.manager.forwarding import Forward
from amid.manager.manager import Limits, Manager
from amid.manager.raw_feed import Loss
from amid.manager.request_parser import Request
from amid.manager.responses import fully_booted
from amid.manager.user import User
from amid.process import loop
from amid.process.child import Child
from amid.process.loop import Alarm, clock
from amid.process.service import Service
from amid.process.settings import ListenerSettings, listener_settings
from amid.rpc.audit import AuditedRequest
from amid.rpc.messages import ServiceHello
from amid.rpc.requests import ActionParams

log = logging.getLogger("amid.listener")

HANDSHAKE_S = 10.0
"""Time for a TLS handshake."""
REPORT_S = 1.0
"""Time between two reports for `status`."""
BACKLOG_S = 0.1
"""Time between two checks of the unread bytes of all clients."""

COUNTERS = (
    "connections",
    "refused_connections",
    "logins",
    "failed_logins",
    "actions",
    "events_sent",
    "missed_events",
    "slow_clients_closed",
)
"""Reported from the start: a counter that appears with its first event hides it from `rate()`."""


class AmiListener:
    """Must be created on the running loop; `run` returns when the process is asked to stop.

    counters: for `status`, by the names in COUNTERS.
    """

    def __init__(self, child: Child[ListenerSettings], settings: ListenerSettings) -> None:
        self._child = child
        self._settings = settings
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = BrokerLink(settings.run_dir)
        self.manager = Manager(settings.servers[0], settings.servers, _limits(settings))
        self.max_unread_bytes_per_client = settings.listener.max_unread_bytes_per_client
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._clients: dict[str, set[ClientConnection]] = {name: set() for name in settings.servers}
        self._unauthenticated: set[ClientConnection] = set()
        self._handshakes = 0
        self._unread_bytes = 0
        self._backlog_alarm = Alarm(asyncio.get_running_loop(), self._check_backlog)
        self._events = {name: self._follow(name) for name in settings.servers}
        self._upstreams = Upstreams(self.manager, self._link, self._greet_all)
        self._ports = Ports(self._accept, child.report_problem)
        self._audit = AuditLog()
        self._tasks: set[asyncio.Task[None]] = set()
        self._service = Service(settings.run_dir, ServiceHello("listener", []), lambda *_: None, lambda _: None)

    async def run(self) -> None:
        self._set_users()
        self._ports.configure(self._settings.listener)
        self._child.start(self._configure)
        self._report()
        await self._child.ended.wait()
        self._ports.close()
        for client in self._all():
            client.close()

    def _report(self) -> None:
        """Report to the broker, for `status`."""
        clients = sum(map(len, self._clients.values()))
        unauthenticated = len(self._unauthenticated) + self._handshakes
        gauges = {"clients": clients, "unauthenticated_clients": unauthenticated, "unread_bytes": self._unread_bytes}
        self._service.report({**gauges, **self.counters})
        asyncio.get_running_loop().call_later(REPORT_S, self._report)

    def _check_backlog(self) -> None:
        """Checked from time to time while there are clients, because sockets take the bytes of a
        pass only at its end."""
        unread = {client: client.unread_bytes for client in self._all()}
        self._unread_bytes = sum(unread.values())
        for client in largest_backlogs(unread, self._settings.listener.max_unread_bytes_total):
            client.close_slow("max_unread_bytes_total")
            self._unread_bytes -= unread[client]
        if unread or self._handshakes:
            self._backlog_alarm.set(clock.monotonic() + BACKLOG_S)

    # ── configuration ──

    def _configure(self, settings: ListenerSettings) -> None:
        """Apply a new configuration. A client stays unless its user was removed or has another
        server."""
        self._settings = settings
        self.max_unread_bytes_per_client = settings.listener.max_unread_bytes_per_client
        self.manager.limits = _limits(settings)
        self._set_servers(settings.servers)
        self._set_users()
        self._ports.configure(settings.listener)
        for client in self._all():
            user = self.manager.user(client.user.name) if client.user is not None else None
            if user is not None and client in self._clients[user.entry.server or self.manager.first]:
                client.change_user(user)
            elif client.user is not None:
                log.warning("closed the connection of %s: the user was removed or has another server", client.user.name)
                client.close()
        log.info("applied a new configuration with %d users", len(settings.listener.users))

    def _set_servers(self, servers: list[str]) -> None:
        for name in [name for name in self._events if name not in servers]:
            self._events.pop(name).close()
            for client in self._clients[name]:
                client.close()
        for name in servers:
            self._clients.setdefault(name, set())
            if name not in self._events:
                self._events[name] = self._follow(name)
        self.manager.set_servers(servers[0], servers)

    def _set_users(self) -> None:
        self.manager.set_users(User(name, entry) for name, entry in self._settings.listener.users.items())

    # ── connections ──

    def _accept(self, accepted: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        listener = self._settings.listener
        unauthenticated = len(self._unauthenticated) + self._handshakes
        total = len(self._all()) + self._handshakes
        self.counters["connections"] += 1
        is_full = total >= listener.max_clients
        if is_full or (unauthenticated >= listener.auth_limit and not self._answer_failed_login()):
            self.counters["refused_connections"] += 1
            message = "refused a connection from %s: %d connections have not logged in (auth_limit), %d are open (max_clients)"
            log.warning(message, address, unauthenticated, total)
            accepted.close()
            return
        self._handshakes += 1
        task = asyncio.get_running_loop().create_task(self._connect(accepted, address, context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer_failed_login(self) -> bool:
        """Answer the failed login that is due first, and close its connection. A client with an old
        secret would otherwise occupy all connections without a login, because its answers are
        delayed for longer than by Asterisk.

        False if there is none, or if as many as `auth_limit` are being closed: the end of TLS waits
        for the client.
        """
        waiting = {client: due for client in self._unauthenticated if (due := client.refusal_due) is not None}
        closing = sum(client.is_closing for client in self._unauthenticated)
        if not waiting or closing >= self._settings.listener.auth_limit:
            return False
        min(waiting, key=waiting.__getitem__).refuse()
        return True

    async def _connect(self, accepted: socket.socket, address: str, context: ssl.SSLContext | None) -> None:
        """The connection counts as a handshake until, in the same pass of the loop, it is in
        `_unauthenticated`."""
        timeout = HANDSHAKE_S if context is not None else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._new_client(address), accepted, ssl=context, ssl_handshake_timeout=timeout
            )
        except (OSError, ssl.SSLError) as error:
            accepted.close()
            log.debug("a connection from %s failed: %s", address, error)
        finally:
            self._handshakes -= 1

    def _new_client(self, address: str) -> ClientConnection:
        self._backlog_alarm.set(clock.monotonic() + BACKLOG_S)
        return ClientConnection(self, address, self._unauthenticated)

    @property
    def is_ready(self) -> bool:
        """Whether clients can be greeted: Asterisk is known, and its events arrive here."""
        return self.manager.is_ready and self._events[self.manager.first].has_begun

    def _greet_all(self) -> None:
        for client in list(self._unauthenticated):
            client.greet()

    def logged_in(self, client: ClientConnection, user: User) -> None:
        self._unauthenticated.discard(client)
        self._clients[user.entry.server or self.manager.first].add(client)
        self.manager.logged_in[user.key] += 1

    def disconnected(self, client: ClientConnection) -> None:
        self._unauthenticated.discard(client)
        for clients in self._clients.values():
            clients.discard(client)
        if client.user is not None:
            self.manager.logged_in[client.user.key] -= 1

    def _all(self) -> list[ClientConnection]:
        return [*self._unauthenticated, *(client for clients in self._clients.values() for client in clients)]

    # ── actions and events ──

    def forward(self, client: ClientConnection, forward: Forward, user: User) -> None:
        """Send an action to the broker."""
        self.counters["actions"] += 1
        params = {
            "action": forward.action,
            "lines": forward.lines,
            "raw": True,
            "server": user.entry.server or self.manager.first,
            "timeout": forward.timeout_s,
            "action_id": forward.wire_id,
        }

        def on_reply(result: Any, error: AmidError | None) -> None:
            failure = Failure.of(error) if error is not None else None
            client.answer(forward.number, result["packets"] if result is not None else None, failure)

        self._link.call("action", params, on_reply, acts=True, user=f"ami:{user.name}")

    def record_refusal(self, request: Request, user: User) -> None:
        """Write an action that was refused here to the audit trail."""
        server = user.entry.server or self.manager.first
        action = request.action.decode("utf-8", "surrogateescape")
        params = ActionParams(action=action, lines=request.other_lines, raw=True, server=server)
        asked = AuditedRequest(user.name, f"token:ami:{user.name}", "action", params, clock.monotonic())
        self._audit.write_reply(asked, AmidError("denied", ""))

    def _follow(self, server: str) -> RawEvents:
        on_events, on_loss = partial(self._send_events, server), partial(self._handle_loss, server)
        return RawEvents(self._context, self._settings.run_dir, server, on_events, on_loss, self._greet_all)

    def _send_events(self, server: str, data: bytes, count: int) -> None:
        clients = self._clients[server]
        if not clients:
            return
        block = EventBlock(data, count, self.manager.upstreams[server].ids)
        now = clock.monotonic()
        for client in list(clients) if block else ():
            client.send_events(block, now)

    def _handle_loss(self, server: str, loss: Loss) -> None:
        """AMI cannot mark a gap. Clients whose user has `on_reconnect = close` are closed, so that
        they request their lists again; the others get the FullyBooted of a new session."""
        self.counters["missed_events"] += loss.missed or 0
        clients = self._clients[server]
        closed = [client for client in clients if client.user and client.user.entry.on_reconnect == "close"]
        what = "a new session with Asterisk began" if loss.missed is None else f"{loss.missed} events were lost"
        message = "%s: %s; closed %d clients (on_reconnect = close), kept %d"
        if clients:
            log.warning(message, server, what, len(closed), len(clients) - len(closed))
        for client in closed:
            client.close()
        if loss.misses_boot:
            self._send_events(server, fully_booted(*self.manager.upstreams[server].ages(clock.monotonic())), 1)


def _limits(settings: ListenerSettings) -> Limits:
    listener = settings.listener
    hold_bytes = listener.max_unread_bytes_per_client // 4
    return Limits(listener.auth_timeout, listener.max_open_actions, listener.action_timeout, hold_bytes=hold_bytes)


async def _run(by_hand: ListenerSettings | None) -> None:
    child = Child(ListenerSettings, by_hand)
    child.set_up_log([user.secret for user in child.settings.listener.users.values()], process="listener")
    await AmiListener(child, child.settings).run()


def main(config: Config | None = None) -> None:
    if config is not None and config.listener is None:
        sys.exit("amid: the configuration has no [listener]")
    by_hand = listener_settings(config, config.listener) if config is not None and config.listener is not None else None
    loop.run_child(_run(by_hand))
