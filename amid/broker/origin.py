"""Where a request came from, kept until the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from amid.broker.local_callers import LocalConnection
from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import AuditedRequest
from amid.rpc.requests import Params

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


def principal_of(token: str | None, identity: Identity) -> str:
    """Who a request counts for in quotas, fairness and audit; for the gateway, its token.

    Raises `AmidError` of kind `denied`.
    """
    if token is None:
        return identity.principal
    if not identity.own:
        raise denied_to_others("on_behalf_of", identity)
    return f"token:{token}"


def denied_to_others(member: str, identity: Identity) -> AmidError:
    """The error for a member of a request that only amid's own processes may use."""
    return AmidError("denied", f"`{member}` is for processes of amid's own Unix user; this caller is {identity.principal}")
