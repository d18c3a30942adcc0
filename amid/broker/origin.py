"""Where a request came from, kept until the answer, and what is wrong with the frames of its message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct

from amid.broker.local_callers import MAX_FRAMES, LocalConnection
from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import AuditedRequest
from amid.rpc.requests import Params

MAX_ENVELOPE_BYTES = 1024
"""Limit of the frames that route an answer back; they are kept until it is sent."""

OWN = "amid:"
"""Begins the principal of requests that a service of this amid sends for itself, as `amid:state`."""

Connection = LocalConnection | bytes
"""A local connection, or the routing id of one over TCP."""


class Identity(NamedTuple):
    """Who is at the other end of a connection.

    caller: the NAME of the [callers.NAME] whose rights apply. principal: what quotas, fairness and
    audit count for, `uid:1000` on ipc and `key:crm` over TCP. local: connected over ipc. own: its
    process runs as amid's own user.
    """

    caller: str
    principal: str
    local: bool = False
    own: bool = False


class Origin(Struct, eq=False):
    """Who sent a request, the way back, and what the answer needs of the request.

    envelope: the frames that go before an answer, up to the empty delimiter. principal: what the
    request counts for. asked: what the audit trail records with the answer; None if nothing.
    """

    connection: Connection
    envelope: list[bytes]
    identity: Identity
    principal: str
    as_json: bool = False
    request_id: Any = None
    asked: AuditedRequest | None = None

    @property
    def caller(self) -> str:
        """The NAME of the [callers.NAME] whose rights apply."""
        return self.identity.caller

    def asks(self, method: str, params: Params) -> AuditedRequest:
        """The request for the audit trail."""
        return AuditedRequest(self.caller, self.principal, method, params, clock.monotonic())


Message = tuple[Origin, bytes, str]
"""The origin of a request, the request, and what is wrong with the frames, or ""."""


def parse_message(connection: Connection, frames: list[bytes], identity: Identity, sets_id: bool) -> Message:
    """The message in `frames`, without its routing id. sets_id: whether the caller has set that itself."""
    end = frames.index(b"") + 1 if b"" in frames else 0
    envelope, payload = frames[:end], frames[end:]
    is_long = end > 1 and sum(map(len, envelope)) > MAX_ENVELOPE_BYTES
    fault = _fault(envelope, payload, is_long, sets_id)
    origin = Origin(connection, [b""] if is_long else envelope, identity, identity.principal)
    return origin, payload[0] if payload else b"", fault


def _fault(envelope: list[bytes], payload: list[bytes], is_long: bool, sets_id: bool) -> str:
    """What is wrong with the frames of a message, or ""."""
    if sets_id:  # the id could be another client's too, which would get its answers
        return "the socket sets a routing id (ZMQ_ROUTING_ID, ZMQ_IDENTITY); leave it unset"
    if not envelope:
        return "no empty delimiter frame: a DEALER must send one before its request; a REQ socket does"
    if is_long:
        return f"the frames before the empty delimiter have more than {MAX_ENVELOPE_BYTES} bytes"
    if len(payload) != 1:
        over = len(envelope) + len(payload) == MAX_FRAMES
        count = f"{len(payload)} or more" if over else len(payload)
        return f"a request is one frame after an empty delimiter frame; there were {count}"
    return ""


def principal_of(token: str | None, origin: Origin, service_with: Callable[[int], str]) -> str:
    """Who a request counts for in quotas, fairness and audit; for the gateway, its token.

    service_with: the name of the service that is the process with a pid. Raises `AmidError` of kind
    `denied`.
    """
    identity, connection = origin.identity, origin.connection
    if token is not None:
        if not identity.own:
            raise denied_to_others("on_behalf_of", identity)
        return f"token:{token}"
    service = service_with(connection.pid) if identity.own and isinstance(connection, LocalConnection) else ""
    return OWN + service if service else identity.principal


def denied_to_others(member: str, identity: Identity) -> AmidError:
    """The error for a member of a request that only amid's own processes may use."""
    return AmidError("denied", f"`{member}` is for processes of amid's own Unix user; this caller is {identity.principal}")
