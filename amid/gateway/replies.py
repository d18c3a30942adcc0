"""JSON responses of the gateway, including errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from amid import wire
from amid.errors import AmidError
from amid.gateway.calls import STATUSES


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(wire.pack_json(value), status, headers, media_type="application/json")


def refusal(error: AmidError) -> Response:
    """An error response outside JSON-RPC: the error object alone."""
    return json_response(wire.error(None, error)["error"], STATUSES.get(error.kind, 500))


def rpc_refusal(error: AmidError) -> Response:
    """A JSON-RPC error response for a request whose id is unknown."""
    return json_response(wire.error(None, error), STATUSES.get(error.kind, 500))


async def on_amid_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AmidError)
    return refusal(error)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """A placeholder response: the client has disconnected."""
    return Response(status_code=400)


async def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what, headers = error.detail, dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
        what = f"{request.method} is not allowed here; allowed: {headers['Allow']}"
    elif what == "Not Found":  # Starlette's own
        what = "there is no such path; /openapi.json describes all"
    response = json_response({"error": what}, error.status_code)
    response.headers.update(headers)
    return response
