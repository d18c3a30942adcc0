"""The broker: takes requests from programs, gives actions to readers, and answers every caller.

One event loop moves bytes; `rpc.calls` decides about each call. The answer to a caller that has
disconnected or does not read is counted and dropped, without affecting other callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from amid import wire
from amid.broker import status_report
from amid.broker.audit_log import AuditLog
from amid.broker.caller_sockets import PASS_S, CallerSockets, open_caller_sockets
from amid.broker.origin import OWN, Connection, Origin, denied_to_others, principal_of
from amid.broker.reader_links import AnyHello, ReaderLinks, ReaderPipe
from amid.broker.replies import Replies
from amid.config.tables import Caller, Config
from amid.errors import AmidError
from amid.process import loop
from amid.process.child import Child
from amid.process.loop import Alarm, Soon, clock
from amid.process.pipe import Message as ReaderMessage
from amid.process.run_dir import describe_run_dir_error
from amid.process.settings import BrokerSettings, broker_settings
from amid.rpc import reader_requests, requests
from amid.rpc.action_packet import own_params, with_fields
from amid.rpc.calls import Calls
from amid.rpc.messages import (
    Capacity,
    Done,
    Drained,
    Draining,
    Failure,
    FromReader,
    Hello,
    PassOn,
    Progress,
    Request,
    Returned,
    ServiceHello,
    ServiceStatus,
    Status,
)
from amid.rpc.open_call import BUG, Effect, Reply
from amid.rpc.policy import Lists, check_action, check_admin, check_history
from amid.rpc.services import SERVICES

log = logging.getLogger("amid.broker")


class Broker:
    """`run` returns when it has ended. open_callers: opens the caller sockets."""

    def __init__(
        self,
        child: Child[BrokerSettings],
        settings: BrokerSettings,
        open_callers: Callable[[BrokerSettings, Counter[str]], CallerSockets] = open_caller_sockets,
    ) -> None:
        self._child = child
        self._settings = settings
        self._counters: Counter[str] = Counter()
        self._callers = open_callers(settings, self._counters)
        self._readers = ReaderLinks(self._receive_from_reader, self._lose_link, self._counters)
        self._calls = Calls(*self._limits(), clock.monotonic(), first_id=int(clock.monotonic() * 1e9))
        self._audit = AuditLog()
        self._configure_parts()
        self._replies = Replies(self._callers, self._counters, self._audit)
        loop = asyncio.get_running_loop()
        self._alarm = Alarm(loop, self._fail_overdue)
        self._set_alarm_soon = Soon(loop, self._set_alarm)
        self._draining = False
        self._answered = asyncio.Event()

    def _configure_parts(self) -> None:
        self._calls.services.configured = self._settings.services
        self._audit.configure(self._settings.rpc.audit == "all", list(self._settings.servers))

    def _limits(self) -> tuple[dict[str, int], int, int]:
        rpc = self._settings.rpc
        queues = {name: server.queue for name, server in self._settings.servers.items()}
        return queues, rpc.max_calls, rpc.max_calls_per_caller

    async def run(self) -> None:
        """Serve until asked to stop. Raises `OSError` if it cannot listen."""
        await self._readers.listen(f"{self._settings.run_dir}/{wire.READERS_SOCKET}")
        self._child.start(self._configure)
        self._callers.start(self._handle_request, self._drop_calls)
        self._callers.listen(self._settings.rpc.listen, self._child.report_problem)
        await self._child.ended.wait()
        if not self._child.orphaned:
            await self._drain()
        self._do(self._calls.fail_all())
        self._readers.close()
        self._callers.close()

    async def _drain(self) -> None:
        self._draining = True
        drain_s = self._settings.drain
        log.info("ending: no new calls; waiting up to %g s for %d open calls", drain_s, len(self._calls))
        self._do(self._calls.end_pulls())
        self._set_alarm_soon()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), drain_s)
        self._callers.receive_rest()

    def _configure(self, settings: BrokerSettings) -> None:
        before = {caller.key: name for name, caller in self._settings.callers.items()}
        self._settings = settings
        keys = {caller.key for caller in self._settings.callers.values()}
        self._do(self._calls.deny({f"key:{name}" for key, name in before.items() if key and key not in keys}))
        self._do(self._calls.configure(*self._limits(), clock.monotonic()))
        self._callers.configure(self._settings)
        self._configure_parts()
        log.info("new configuration applied: servers %s", ", ".join(self._settings.servers) or "none")

    # ── time ──

    def _fail_overdue(self) -> None:
        """Reply to failed calls; thousands at one moment are spread over passes of the loop."""
        now = clock.monotonic()
        while effects := self._calls.tick(now):
            self._do(effects)
            if clock.monotonic() >= now + PASS_S:
                break
        self._set_alarm()

    def _set_alarm(self) -> None:
        """Due at the end of each pass in which a call was opened or ended."""
        self._alarm.set(self._calls.next_deadline())
        if self._draining and not len(self._calls):
            self._answered.set()

    # ── readers and services ──

    def _receive_from_reader(self, pipe: ReaderPipe, hello: AnyHello, received: list[ReaderMessage[FromReader]]) -> None:
        now = clock.monotonic()
        for message, payload in received:
            match message:
                case Done(call_id, None):
                    self._do(self._calls.answered(call_id, payload, None, now))
                case Done(call_id, Failure(kind, text, sent, data)):
                    self._do(self._calls.answered(call_id, None, AmidError(kind, text, sent=sent, **data), now))
                case Capacity() | Status() if isinstance(hello, Hello):
                    self._callers.flush_local()  # the answers so far, which this would delay
                    self._do(self._calls.reader_reported(pipe, hello, message, now))
                case PassOn():
                    self._do(self._calls.passed_on(message, isinstance(hello, ServiceHello), now))
                case Progress(call_id, response):
                    self._calls.progressed(call_id, response)
                case ServiceHello():
                    self._do(self._calls.service_connected(pipe, message))
                case ServiceStatus(name, report):
                    self._calls.services.reports[name] = report
                case Returned(call_id):
                    self._calls.returned(call_id)
                case Draining():
                    pipe.send(Drained())
        self._set_alarm_soon()

    def _lose_link(self, pipe: ReaderPipe, hello: AnyHello) -> None:
        if isinstance(hello, ServiceHello):
            self._do(self._calls.service_lost(pipe))
        else:
            self._do(self._calls.reader_lost(pipe, pipe.unwritten))
        self._set_alarm_soon()

    # ── callers ──

    def _handle_request(self, origin: Origin, payload: bytes, fault: str) -> None:
        self._counters["requests"] += 1
        try:
            origin.as_json = wire.is_json(payload)
            if fault:
                log.warning("refused a message from %s: %s", origin.principal, fault)
                raise AmidError("invalid_request", fault)
            request = requests.decode_valid(payload, origin.as_json)
            if request is None:  # invalid, or valid with bytes that are not UTF-8
                value = self._decode(payload, origin.principal)
                origin.request_id = requests.request_id(value)
                request = requests.check_request(value)
            method, params, origin.request_id, token = request
            origin.principal = principal_of(token, origin, self._readers.service_with)
            if self._audit.records_all and not origin.principal.startswith(OWN):
                origin.asked = origin.asks(method, params)
            self._answer(origin, method, params)
        except AmidError as error:
            if error.kind == "denied":
                origin.asked = origin.asks(method, params)
            self._replies.send(Reply(origin, error=error))
        except Exception:  # a bug must cost only this caller an error
            log.exception("cannot handle a request")
            self._replies.send(Reply(origin, error=AmidError("internal_error", BUG)))
        self._set_alarm_soon()

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
            case "action":  # the first, since nearly all requests are actions
                self._open_action(origin, rights, params, "raw" if params.raw else "action")
            case "ping":
                self._result(origin, {})
            case "servers":
                self._result(origin, status_report.servers(self._settings, self._calls, origin.identity.local))
            case "status":
                local = origin.identity.local
                self._result(origin, status_report.status(self._settings, self._calls, self._counters, local))
            case "restart":
                self._result(origin, self._restart(origin.caller, rights, params))
            case "audit":
                check_admin("audit", origin.caller, _table(origin.caller), rights)
                self._result(origin, self._audit.page(params.after, params.limit))
            case "cancel":
                self._result(origin, self._cancel(origin, params))
            case "events":
                self._open_pull(origin, params)
            case "actions":
                asked = requests.ActionParams(action="ListCommands", server=params.server, timeout=params.timeout)
                self._open_action(origin, rights, asked, "actions")
            case "calls" | "call":
                self._calls.services.check(SERVICES[method], method)  # before a right that would be of no use
                params = check_history(method, origin.caller, _table(origin.caller), rights, params)
                self._call_service(origin, SERVICES[method], method, params)
            case _:
                self._call_service(origin, SERVICES[method], method, params)

    def _open_action(self, origin: Origin, rights: Caller, params: requests.ActionParams, shape: str) -> None:
        server = self._server(params.server)
        settings = self._settings.servers[server]
        for name in own_params(params) if not origin.identity.own else ():
            raise denied_to_others(name, origin.identity)
        params = with_fields(params)
        lists: dict[str, Lists] = {f"[servers.{server}]": settings, _table(origin.caller): rights}
        check_action(params.action, params.fields, origin.caller, lists)
        if params.until is not None and settings.events_off:
            raise AmidError("invalid_params", f"`until` waits for an event, but server {server} is configured without events")
        now = clock.monotonic()
        what = params, shape, origin.as_json, settings.max_reply_bytes, now
        self._open(origin, server, reader_requests.run_action(self._calls.new_call_id(), *what), now)

    def _open_pull(self, origin: Origin, params: requests.EventsParams) -> None:
        if params.kinds is not None:
            self._call_service(origin, "state", "events", params)
            return
        now = clock.monotonic()
        what = params, origin.as_json, now, "recorder" in self._settings.services
        request = reader_requests.pull_events(self._calls.new_call_id(), *what)
        self._open(origin, self._server(params.server), request, now)

    def _call_service(self, origin: Origin, service: str, method: str, params: Any) -> None:
        """A method that a service answers."""
        self._calls.services.check(service, method)
        server = self._server(params.server)
        now = clock.monotonic()
        what = method, server, params, origin.as_json, origin.principal, now
        request = reader_requests.call_service(self._calls.new_call_id(), *what)
        self._open(origin, server, request, now, service)

    def _open(self, origin: Origin, server: str, request: Request, now: float, service: str = "") -> None:
        if self._draining:
            raise AmidError("not_connected", "amid is ending and accepts no new calls")
        self._do(self._calls.open(origin, server, request, now, service))

    def _server(self, name: str | None) -> str:
        return requests.choose_server(name, self._settings.servers)

    def _drop_calls(self, connection: Connection) -> None:
        """End the calls of a caller that has disconnected."""
        ended, effects = self._calls.disconnected(connection)
        self._do(effects)
        self._set_alarm_soon()
        for call in ended:
            origin: Any = call.origin
            self._audit.write_abandoned(origin.asked, call.sent)

    def _cancel(self, origin: Origin, params: requests.CancelParams) -> dict[str, Any]:
        ended, effects = self._calls.cancel(origin, params.id)
        self._do(effects)
        return {"cancelled": len(ended), "sent": any(call.sent for call in ended)}

    def _restart(self, caller: str, rights: Caller, params: requests.ServerParams) -> dict[str, Any]:
        check_admin("restart", caller, _table(caller), rights)
        server = self._server(params.server)
        self._child.send(f"restart {server}")
        return {"server": server}

    def _rights(self, caller: str) -> Caller:
        """A caller's table. Raises `AmidError` of kind `denied` if it was removed meanwhile."""
        rights = self._settings.callers.get(caller)
        if rights is None:
            raise AmidError("denied", "no [callers.NAME] is for this connection: its key was removed, or it speaks ZMTP 2")
        return rights

    # ── sending ──

    def _result(self, origin: Origin, value: Any) -> None:
        self._replies.send(Reply(origin, wire.pack_json(value) if origin.as_json else wire.pack(value)))

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            try:
                if isinstance(effect, Reply):
                    self._replies.send(effect)
                else:
                    effect.reader.send(effect.message)
            except Exception:  # a bug must cost only this call an error
                log.exception("cannot carry out a %s of a call", type(effect).__name__)
                self._do(self._calls.cannot_carry_out(effect))


async def _run(by_hand: BrokerSettings | None) -> None:
    child = Child(BrokerSettings, by_hand)
    settings = child.settings
    child.set_up_log([settings.curve.secret_key], process="broker")
    try:
        await Broker(child, settings).run()
    except (OSError, zmq.ZMQError) as error:
        log.error("cannot start in %s: %s", settings.run_dir, describe_run_dir_error(settings.run_dir, error))
        sys.exit(1)


def _table(caller: str) -> str:
    """Where the configuration has the rights of a caller."""
    return f"[callers.{caller}]"


def main(config: Config | None = None) -> None:
    """`python -m amid broker`: started by the supervisor, or by hand to debug."""
    loop.run_child(_run(broker_settings(config) if config else None))
