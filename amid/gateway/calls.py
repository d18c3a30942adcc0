"""Calls that come over HTTP: checked as the broker would, allowed or not, and passed on; each kind of error has an HTTP status."""

from __future__ import annotations

import time
from typing import Any

from amid import wire
from amid.broker.audit_log import AuditLog
from amid.client import AsyncClient
from amid.client.rules import MARGIN, Call
from amid.errors import AmidError
from amid.gateway.access import Holder
from amid.rpc.audit import Asked
from amid.rpc.requests import Params, check_request, request_id

STATUSES = {
    "parse_error": 400,
    "invalid_request": 400,
    "invalid_params": 400,
    "unknown_method": 404,
    "unknown_server": 404,
    "denied": 403,
    "cancelled": 409,
    "gone": 410,
    "action_failed": 422,
    "busy": 429,
    "internal_error": 500,
    "connection_lost": 502,
    "too_large": 502,
    "not_connected": 503,
    "unreachable": 503,
    "timeout": 504,
}
"""RFC 9110. What Asterisk itself refused is 422: the request was understood, and could not be carried out."""

MAX_BATCH = 100
"""Requests in one batch."""


class Calls:
    """`answer` takes what a body held and gives what goes back, with its HTTP status."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._audit = AuditLog()

    async def answer(self, value: Any, holder: Holder) -> tuple[int, Any]:
        """A JSON-RPC request, or a batch of them, whose requests are carried out one after the other."""
        if not isinstance(value, list):
            return await self._one(value, holder)
        if not 0 < len(value) <= MAX_BATCH:
            refused = AmidError("invalid_request", f"a batch has 1 to {MAX_BATCH} requests, not {len(value)}")
            return 400, wire.error(None, refused)
        return 200, [(await self._one(one, holder))[1] for one in value]

    async def _one(self, value: Any, holder: Holder) -> tuple[int, Any]:
        try:
            return 200, wire.result(request_id(value), await self.result(value, holder))
        except AmidError as error:
            return STATUSES.get(error.kind, 500), wire.error(request_id(value), error)

    async def result(self, value: Any, holder: Holder) -> Any:
        """The result of a request. Raises `AmidError`."""
        method, params, _, _ = check_request(value)
        if method == "cancel":  # its ids are those of the gateway's own connection
            raise AmidError("unknown_method", "over HTTP, a call is cancelled by closing its request")
        try:
            holder.check(method, params)
        except AmidError as error:
            self._audit.write_reply(Asked(holder.name, f"token:{holder.name}", method, params, time.monotonic()), error)
            raise
        patience = getattr(params, "timeout", 5.0) + MARGIN
        acts = method in ("action", "restart")
        return await self._client.call(Call(method, _given(value, params), patience, acts, on_behalf_of=holder.name))


def _given(value: Any, params: Params) -> dict[str, Any]:
    """The params as they came: what was left out is left out again."""
    return {name: given for name, given in (value.get("params") or {}).items() if name in params.__struct_fields__}
