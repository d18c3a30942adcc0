"""Answers calls that arrive over NATS for the servers whose leases this instance holds.

A subject is subscribed only while the server's session is up and this instance has the lease. At
other times NATS tells callers at once that there are no responders, so they know that nothing was
sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from amid.broker.audit_log import AuditLog
from amid.bus.connection import Connection
from amid.bus.local_broker import MAX_ENVELOPE_BYTES, LocalBroker
from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol import requests
from amid.bus.protocol.requests import Caller
from amid.bus.protocol.subjects import EVERY_INSTANCE, Subjects
from amid.bus.server_states import ServerStates
from amid.config.tables import Caller as Rights
from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import AuditedRequest

log = logging.getLogger("amid.bus")

INSTANCE = "Amid-Instance"
"""The header that names the instance of a reply."""

OWN_TABLE = 'a table [callers.NAME] with nats = "NAME", for calls on the prefix of NAME'
"""Where a caller without a prefix could get `admin` and `history`."""
DENIED_S = 30.0
"""Seconds after which a refused subscription is repeated."""
NO_TABLE = Rights()
"""Rights of callers without a prefix when the configuration has no table `callers.local`."""


def callers_by_prefix(tables: Mapping[str, Rights]) -> dict[str, Caller]:
    """The callers by their prefixes. Callers without a prefix ("") have the lists of `local`,
    without `admin` and `history`."""
    local = tables.get("local", NO_TABLE)
    base = Rights(allow=local.allow, deny=local.deny)
    named = {
        table.nats: Caller(name, f"[callers.{name}]", f"[callers.{name}]", table) for name, table in tables.items() if table.nats
    }
    return {"": Caller("nats", "[callers.local]", OWN_TABLE, base), **named}


class RpcForwarder:
    """Forwards requests to the broker and sends its replies, on one connection."""

    def __init__(self, connection: Connection, broker: LocalBroker, instance: str) -> None:
        self._connection = connection
        self._broker = broker
        self._headers = {INSTANCE: instance}
        self._audit = AuditLog()

    @property
    def denied_at(self) -> float:
        """When NATS last refused or ended a subscription, in monotonic seconds."""
        return self._connection.denied_at

    async def subscribe(self, subject: str, caller: Caller, queue: str = "") -> Subscription:
        """Subscribe to a caller's requests. queue: of several subscribers with the same queue, one
        gets each request."""

        async def on_message(message: Msg) -> None:
            await self._receive(message, caller)

        return await self._connection.client.subscribe(subject, queue=queue, cb=on_message)

    async def _receive(self, message: Msg, caller: Caller) -> None:
        if not message.reply:
            log.warning("ignored a request on %s without a reply subject; publish it as a request", message.subject)
            return
        try:
            self._forward(message, caller)
        except AmidError as error:
            if error.kind == "timeout":
                log.warning("%s: %s", message.subject, error.message)
            await self.send_reply(message.reply, requests.refusal(message.data, error))

    def _forward(self, message: Msg, caller: Caller) -> None:
        if len(message.reply) > MAX_ENVELOPE_BYTES:
            raise AmidError("invalid_request", f"the reply subject is longer than {MAX_ENVELOPE_BYTES} bytes")
        try:
            call = requests.accept(
                message.subject, message.headers or {}, message.data, caller, clock.wall() * 1000, clock.monotonic()
            )
        except AmidError as error:
            if error.kind == "denied":
                who, what = (caller.name, f"token:nats:{caller.name}"), requests.asked(message.subject, message.data)
                self._audit.write_reply(AuditedRequest(*who, *what, clock.monotonic()), error)
            raise
        self._broker.forward(message.reply, call.payload)

    async def send_reply(self, reply_to: str, reply: bytes) -> None:
        """Send a reply, or an error when it is larger than a message of NATS may be."""
        if len(reply) > self._connection.max_body_bytes:
            reply = requests.too_large(reply, self._connection.max_body_bytes)
        try:
            await self._connection.publish(reply_to, reply, self._headers)
        except NATS_ERRORS as error:
            log.warning("cannot send a reply to NATS, its caller will time out: %s", describe(error))


class RpcResponder:
    """Subscribes to the calls for one server while its session is up."""

    def __init__(
        self,
        forwarder: RpcForwarder,
        states: ServerStates,
        server: str,
        subjects: Subjects,
        callers: dict[str, Caller],
    ) -> None:
        self._forwarder = forwarder
        self._states = states
        self._server = server
        self._subjects = subjects
        self._callers = callers
        self._subscriptions: list[Subscription] = []
        self._subscribed_at = 0.0

    async def run(self) -> None:
        """Run until cancelled, and unsubscribe then. A subscription that NATS has refused is repeated:
        it does not tell when the right is there."""
        try:
            while True:
                now = clock.monotonic()
                is_denied = self._forwarder.denied_at >= self._subscribed_at
                if not self._states.is_up(self._server) or (is_denied and now >= self._subscribed_at + DENIED_S):
                    await self._unsubscribe()
                if self._states.is_up(self._server) and not self._subscriptions:
                    await self._subscribe()
                    self._subscribed_at = now
                await self._states.updated.wait()
        finally:
            await self._unsubscribe()

    async def _subscribe(self) -> None:
        for prefix, caller in self._callers.items():
            subject = self._subjects.rpc(self._server, prefix)
            self._subscriptions.append(await self._forwarder.subscribe(subject, caller, self._server))

    async def _unsubscribe(self) -> None:
        while self._subscriptions:
            subscription = self._subscriptions.pop()
            try:
                await subscription.unsubscribe()
            except NATS_ERRORS as error:
                log.debug("%s: cannot unsubscribe: %s", self._server, describe(error))


async def subscribe_for_instance(forwarder: RpcForwarder, subjects: Subjects, callers: dict[str, Caller]) -> None:
    """Subscribe to the methods that every instance answers."""
    for prefix, caller in callers.items():
        for method in sorted(EVERY_INSTANCE):
            await forwarder.subscribe(subjects.rpc_of_instance(method, prefix), caller)
