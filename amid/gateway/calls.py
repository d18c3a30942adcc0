"""JSON-RPC over HTTP: validates calls as the broker does, checks rights, forwards them, and maps
each kind of error to an HTTP status."""

from __future__ import annotations

import time
from typing import Any

from amid import wire
from amid.broker.audit_log import AuditLog
from amid.client import AsyncClient
from amid.client.protocol import MARGIN_S, Call
from amid.errors import AmidError
from amid.gateway.access import Principal
from amid.rpc.audit import AuditedRequest
from amid.rpc.requests import Params, check_request, request_id
from amid.rpc.services import SERVICES, not_enabled

STATUSES = {
    "parse_error": 400,
    "invalid_request": 400,
    "invalid_params": 400,
    "unknown_method": 404,
    "unknown_server": 404,
    "denied": 403,
    "cancelled": 409,
    "action_failed": 422,
    "busy": 429,
    "internal_error": 500,
    "connection_lost": 502,
    "too_large": 502,
    "not_connected": 503,
    "unreachable": 503,
    "timeout": 504,
}
"""HTTP status for each kind of error (RFC 9110). An action that Asterisk refused is 422: the
request was understood but could not be carried out."""

MAX_BATCH = 100
"""The maximum number of requests in a batch."""


class Calls:
    """Forwards calls to the daemon. records: whether there is a recorder."""

    def __init__(self, client: AsyncClient, records: bool) -> None:
        self._client = client
        self._records = records
        self._audit = AuditLog()

    async def answer(self, value: Any, principal: Principal) -> tuple[int, Any]:
        """The HTTP status and the reply for a JSON-RPC request, or for a batch of them, which runs
        in order."""
        if not isinstance(value, list):
            return await self._one(value, principal)
        if not 0 < len(value) <= MAX_BATCH:
            refused = AmidError("invalid_request", f"a batch has 1 to {MAX_BATCH} requests, not {len(value)}")
            return 400, wire.error(None, refused)
        return 200, [(await self._one(one, principal))[1] for one in value]

    async def _one(self, value: Any, principal: Principal) -> tuple[int, Any]:
        try:
            return 200, wire.result(request_id(value), await self.result(value, principal))
        except AmidError as error:
            return STATUSES.get(error.kind, 500), wire.error(request_id(value), error)

    async def result(self, value: Any, principal: Principal) -> Any:
        """The result of a request. Raises `AmidError`."""
        method, params, _, _ = check_request(value)
        if method == "cancel":  # ids belong to the gateway's own connection
            raise AmidError("unknown_method", "cancel is not available over HTTP: close the connection of the request instead")
        if SERVICES.get(method) == "recorder" and not self._records:  # before a right that would be of no use
            raise not_enabled("recorder", method)
        try:
            added = principal.check(method, params)
        except AmidError as error:
            self._audit.write_reply(
                AuditedRequest(principal.name, f"token:{principal.name}", method, params, time.monotonic()), error
            )
            raise
        client_timeout_s = getattr(params, "timeout", 5.0) + MARGIN_S
        acts = method in ("action", "restart")
        given = _given(value, params) | added
        return await self._client.call(Call(method, given, client_timeout_s, acts, on_behalf_of=principal.name))


def _given(value: Any, params: Params) -> dict[str, Any]:
    """The parameters as the client sent them, without defaults."""
    return {name: given for name, given in (value.get("params") or {}).items() if name in params.__struct_fields__}
