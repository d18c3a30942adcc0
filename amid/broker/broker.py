"""The broker: takes requests from any program, hands actions to the readers, and answers every caller.

A single thread polls and moves bytes; `rpc.calls` decides what becomes of each call. A caller that has gone, or does not read
its answers, costs an answer that is counted and dropped, and nobody else anything.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from typing import Any

import msgspec
import zmq

from amid import wire
from amid.ami.action import InvalidAction, encode_action, own_action_id, without_action_id
from amid.ami.session import new_action_id
from amid.broker import status_report
from amid.broker.audit_log import AuditLog
from amid.broker.caller_sockets import PASS_S, CallerSockets, Identity, Message
from amid.broker.origin import Origin
from amid.broker.reader_links import Readers
from amid.broker.reply_backlog import Connection
from amid.config import Caller, Config
from amid.errors import AmidError
from amid.process.child import Child
from amid.process.pipe import Message as ReaderMessage
from amid.process.pipe import Pipe
from amid.process.run_dir import why_not
from amid.process.settings import BrokerSettings, broker_settings
from amid.rpc import requests
from amid.rpc.calls import Calls
from amid.rpc.open_call import Effect, Order, Reply, Send
from amid.rpc.policy import Lists, check_action, check_admin

log = logging.getLogger("amid.broker")

class Broker:
    """`step` is one pass of the loop."""

    def __init__(self, child: Child, settings: BrokerSettings, now: float) -> None:
        self._child = child
        self._settings = settings
        self._context = zmq.Context()
        self._counters: Counter[str] = Counter()
        self._callers = CallerSockets(self._context, settings, self._counters)
        self._readers = Readers(f"{settings.run_dir}/{wire.READERS_SOCKET}", self._hear_reader, self._lost_reader, self._counters)
        self._calls = Calls(*self._limits(), now, first_id=time.monotonic_ns())
        self._audit = AuditLog()
        self._configure_audit()
        self._drain_until: float | None = None

    def _configure_audit(self) -> None:
        self._audit.configure(self._settings.rpc.audit == "all", list(self._settings.servers))

    def _limits(self) -> tuple[dict[str, int], int, int]:
        rpc = self._settings.rpc
        queues = {name: server.queue for name, server in self._settings.servers.items()}
        return queues, rpc.max_calls, rpc.max_calls_per_caller

    # ── the loop ──

    def run(self) -> None:
        while not self._over(time.monotonic()):
            self.step()
        self._do(self._calls.fail_all())
        self._callers.close()
        self._context.destroy(linger=500)

    def _over(self, now: float) -> bool:
        if self._child.orphaned:
            return True
        return self._drain_until is not None and (now >= self._drain_until or not len(self._calls))

    def step(self) -> None:
        now = time.monotonic()
        ready = dict(zmq.zmq_poll(self._poll_items(now), self._patience(now)))
        now = time.monotonic()
        self._child.beat(now)
        self._callers.acceptor.step(ready, now)
        self._readers.step(ready, now)
        for message in self._callers.receive(ready):
            self._handle_request(message)
        for connection in self._callers.gone(ready):
            self._drop_calls(connection)
        if not self._child.poll_fds().isdisjoint(ready):
            self._listen_to_supervisor(now)
        self._report_failures()
        self._callers.flush()
        self._readers.flush()

    def _report_failures(self) -> None:
        """Reply to calls that have failed. Of thousands at one moment, some in each pass of the loop, as with requests."""
        now = time.monotonic()
        while effects := self._calls.tick(now):
            self._do(effects)
            if time.monotonic() >= now + PASS_S:
                return

    def _poll_items(self, now: float) -> list[Any]:
        supervisor = ((fd, zmq.POLLIN) for fd in self._child.poll_fds())
        return [*self._callers.poll_items(), *supervisor, *self._readers.poll_items(now)]

    def _patience(self, now: float) -> int:
        """Milliseconds until something is due, rounded up, so that no deadline is polled for in a spin."""
        if self._callers.has_turns:
            return 0
        due = [now + 0.5, self._calls.next_deadline(), self._drain_until, self._callers.acceptor.next_check]
        return max(0, int((min(t for t in due if t is not None) - now) * 1000) + 1)

    def _listen_to_supervisor(self, now: float) -> None:
        for configuration in self._child.drain():
            self._settings = msgspec.convert(configuration, BrokerSettings)
            self._do(self._calls.configure(*self._limits(), now))
            self._callers.configure(self._settings)
            self._configure_audit()
            log.info("took a new configuration: servers %s", ", ".join(self._settings.servers) or "none")
        if self._child.stopping and self._drain_until is None:
            self._drain_until = now + self._settings.drain
            log.info("ending: no new calls; %d open ones have %g s", len(self._calls), self._settings.drain)

    # ── readers ──

    def _hear_reader(self, pipe: Pipe, message: ReaderMessage) -> None:
        value, payload = message
        now = time.monotonic()
        if value[0] == "large answer":  # on a pipe of its own, so it says nothing about how things stand now
            self._do(self._calls.answered(value[1], payload, None, now))
            return
        kind, server, started, free, taken, *rest = value
        effects: list[Effect] = []
        info = None
        if kind == "answer":
            call_id, failure = rest
            error = AmidError(**failure) if failure else None
            effects = self._calls.answered(call_id, payload, error, now)
        elif kind == "until":
            self._calls.until(*rest)
        elif kind == "unsent":
            effects = self._calls.unsent(rest[0], now)
        elif kind in ("state", "leaving"):
            (info,) = rest
        self._do(self._calls.state(server, pipe, started, free, taken, info, now))  # first what the lane waits for
        self._do(effects)
        if kind == "leaving":
            self._do([Send(pipe, ["bye"])])

    def _lost_reader(self, pipe: Pipe) -> None:
        self._do(self._calls.gone(pipe, pipe.unheard))

    # ── callers ──

    def _handle_request(self, message: Message) -> None:
        self._counters["requests"] += 1
        sender, payload, fault = message
        origin = Origin(sender, None, wire.is_json(payload), sender.identity.principal)
        try:
            if fault:
                log.warning("refused a message from %s: %s", sender.identity.principal, fault)
                raise AmidError("invalid_request", fault)
            value = self._decode(payload, sender.identity.principal)
            origin = origin._replace(request_id=requests.request_id(value))
            method, params = requests.check_request(value)
            origin = origin._replace(principal=_principal(value, sender.identity))
            if self._audit.records_all:
                origin = origin._replace(asked=origin.asks(method, params))
            self._answer(origin, method, params)
        except AmidError as error:
            if error.kind == "denied":
                origin = origin._replace(asked=origin.asks(method, params))
            self._reply(Reply(origin, error=error))
        except Exception:  # a bug in here must cost one caller an error and the others nothing
            log.exception("a request could not be carried out")
            self._reply(Reply(origin, error=AmidError("internal_error", "amid failed on this request; its log says how")))

    def _decode(self, payload: bytes, principal: str) -> Any:
        limit = self._settings.rpc.max_request_bytes
        if len(payload) > limit:
            self._counters["too_large_requests"] += 1
            message = f"the request has {len(payload)} bytes; {limit} are allowed (max_request_bytes)"
            log.warning("refused a request from %s: %s", principal, message)
            raise AmidError("invalid_request", message)
        return wire.decode_request(payload)

    def _answer(self, origin: Origin, method: str, params: Any) -> None:
        rights = self._rights(origin.caller)
        match method:
            case "ping":
                self._result(origin, {})
            case "servers":
                self._result(origin, status_report.servers(self._settings, self._calls, origin.sender.identity.local))
            case "status":
                local = origin.sender.identity.local
                self._result(origin, status_report.status(self._settings, self._calls, self._counters, local))
            case "restart":
                self._result(origin, self._restart(origin.caller, rights, params))
            case "audit":
                check_admin("audit", origin.caller, rights)
                self._result(origin, self._audit.page(params.after, params.limit))
            case "cancel":
                self._result(origin, self._cancel(origin, params))
            case "replay":
                self._open(origin, params, Order("replay", {**msgspec.to_builtins(params), "json": origin.as_json}))
            case "actions":
                asked = requests.ActionParams(action="ListCommands", server=params.server, timeout=params.timeout)
                self._open_action(origin, rights, asked, "actions")
            case _:
                self._open_action(origin, rights, params, "action")

    def _open_action(self, origin: Origin, rights: Caller, params: requests.ActionParams, shape: str) -> None:
        server = self._server(params.server)
        settings = self._settings.servers[server]
        lists: dict[str, Lists] = {f"servers.{server}": settings, f"callers.{origin.caller}": rights}
        check_action(params.action, params.fields, origin.caller, lists)
        if params.until is not None and settings.events_off:
            raise AmidError("invalid_params", f"`until` waits for an event, and server {server} is configured without events")
        action_id = new_action_id()
        try:
            own_id = own_action_id(params.fields)
            packet = encode_action(params.action, action_id, without_action_id(params.fields))
        except InvalidAction as error:
            raise AmidError("invalid_params", str(error)) from None
        body = {
            "action": params.action,
            "action_id": action_id,
            "own_id": own_id,
            "packet": packet,
            "until": params.until,
            "shape": shape,
            "json": origin.as_json,
            "max_bytes": settings.max_reply_bytes,
            "began": time.monotonic(),
        }
        self._open(origin, params, Order("call", body))

    def _open(self, origin: Origin, params: Any, order: Order) -> None:
        if self._drain_until is not None:
            raise AmidError("not_connected", "amid is ending and takes no new calls")
        now = time.monotonic()
        self._do(self._calls.open(origin, self._server(params.server), order, now + params.timeout, now))

    def _server(self, name: str | None) -> str:
        """The server that a request means; it may be left out when there is one."""
        servers = self._settings.servers
        if name is None and len(servers) == 1:
            return next(iter(servers))
        known = ", ".join(servers) or "none"
        if name is None:
            raise AmidError("invalid_params", f"`server` must be named; the servers are {known}")
        if name not in servers:
            raise AmidError("unknown_server", f"there is no server {name[:60]!r}; the servers are {known}")
        return name

    def _drop_calls(self, connection: Connection) -> None:
        """The caller has gone."""
        ended, effects = self._calls.disconnected(connection)
        self._do(effects)
        for call in ended:
            origin: Any = call.origin
            self._audit.write_abandoned(origin.asked, call.sent)

    def _cancel(self, origin: Origin, params: requests.CancelParams) -> dict[str, Any]:
        ended, effects = self._calls.cancel(origin, params.id)
        self._do(effects)
        return {"cancelled": len(ended), "sent": any(call.sent for call in ended)}

    def _restart(self, caller: str, rights: Caller, params: requests.ServerParams) -> dict[str, Any]:
        check_admin("restart", caller, rights)
        server = self._server(params.server)
        self._child.say(f"restart {server}")
        return {"server": server}

    def _rights(self, caller: str) -> Caller:
        """What the configuration says of a caller. Raises `AmidError` of kind `denied` for one that was
        taken out of it while connected."""
        rights = self._settings.callers.get(caller)
        if rights is None:
            raise AmidError("denied", "no [callers.NAME] is for this connection: its key was taken out, or it speaks ZMTP 2")
        return rights

    # ── sending ──

    def _result(self, origin: Origin, value: Any) -> None:
        self._reply(Reply(origin, wire.pack_json(value) if origin.as_json else wire.pack(value)))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Reply):
                self._reply(effect)
            else:
                effect.reader.say(effect.message)

    def _reply(self, reply: Reply) -> None:
        origin: Origin = reply.origin
        body = self._body(reply)
        if not self._callers.has_room(origin.sender, len(body)):
            message = f"there is an answer of {len(body)} bytes, and the caller has too much unread: read answers as they come"
            reply = Reply(origin, error=AmidError("too_large", message, sent=True))
            body = self._body(reply)
        if origin.asked is not None:
            self._audit.write_reply(origin.asked, reply.error)
        self._counters[f"answers_{reply.error.kind}" if reply.error else "answers_ok"] += 1
        if self._callers.has_room(origin.sender, len(body)):
            self._callers.send(origin.sender, body)
            return
        self._counters["undeliverable_answers"] += 1
        log.warning("dropped an answer: %s has over max_unread_bytes of answers unread", origin.sender.identity.principal)

    def _body(self, reply: Reply) -> bytes:
        origin: Origin = reply.origin
        if reply.error is not None:
            return wire.encode_reply(wire.error(origin.request_id, reply.error), origin.as_json)
        assert reply.result is not None
        return (wire.json_result if origin.as_json else wire.packed_result)(origin.request_id, reply.result)


def _principal(value: dict[str, Any], identity: Identity) -> str:
    """What a request counts for in quotas, fairness and the audit trail. The gateway's count for its tokens."""
    token = requests.on_behalf_of(value)
    if token is None:
        return identity.principal
    if not identity.own:
        message = f"`on_behalf_of` is for processes of amid's own Unix user; this caller is {identity.principal}"
        raise AmidError("denied", message)
    return f"token:{token}"


def main(config: Config | None = None) -> None:
    """`python -m amid broker`: started by the supervisor, or by hand with a configuration, for debugging."""
    child = Child(broker_settings(config) if config else None)
    settings = msgspec.convert(child.configuration, BrokerSettings)
    child.set_up_log([settings.curve.secret_key], process="broker")
    try:
        broker = Broker(child, settings, time.monotonic())
    except (OSError, zmq.ZMQError) as error:
        log.error("cannot start in %s: %s", settings.run_dir, why_not(settings.run_dir, error))
        sys.exit(1)
    broker.run()
