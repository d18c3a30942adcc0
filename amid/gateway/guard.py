"""What holds for every request, before any path is looked at.

A browser's requests come from this origin, or from one that the configuration names. Headers on every answer keep a browser from
doing anything else with what it gets.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response
from starlette.websockets import WebSocket

from amid.gateway.replies import json_response

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """An ASGI application in front of `app`."""

    def __init__(self, app: Any, origins: list[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin", "")
        own = origin.partition("://")[2] == headers.get(b"host", "") if origin else True
        allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin in self._origins else {}

        async def sending(message: Any) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                known = {name.lower() for name, _ in message["headers"]}
                more = {**HEADERS, "Cache-Control": "no-store", **allowed}
                message["headers"] = [*message["headers"]] + [
                    (name.lower().encode(), value.encode()) for name, value in more.items() if name.lower().encode() not in known
                ]
            await send(message)

        if not own and not allowed:
            refused = json_response({"error": f"requests from {origin[:100]} are not allowed (origins in [gateway])"}, 403)
            await _answer(refused, scope, receive, sending)
        elif allowed and scope.get("method") == "OPTIONS":
            granted = {"Access-Control-Allow-Headers": "authorization, content-type", "Access-Control-Allow-Methods": "GET, POST"}
            await Response(status_code=204, headers=granted)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)


async def _answer(response: Response, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
