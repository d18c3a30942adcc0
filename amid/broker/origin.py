"""Where a request came from, kept until the answer."""

from __future__ import annotations

from typing import Any, NamedTuple

from amid.broker.caller_message import Connection, Identity, Sender
from amid.errors import AmidError
from amid.process.loop import clock
from amid.rpc.audit import AuditedRequest
from amid.rpc.requests import Params


class Origin(NamedTuple):
    """The sender of a request, its id and codec, and the principal that it counts for.

    asked: what the audit trail records with the answer; None if nothing.
    """

    sender: Sender
    request_id: Any
    as_json: bool
    principal: str
    asked: AuditedRequest | None = None

    @property
    def connection(self) -> Connection:
        return self.sender.connection

    def asks(self, method: str, params: Params) -> AuditedRequest:
        """The request for the audit trail."""
        return AuditedRequest(self.caller, self.principal, method, params, clock.monotonic())

    @property
    def caller(self) -> str:
        """The NAME of the [callers.NAME] whose rights apply."""
        return self.sender.identity.caller


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
