"""Checks of every request before routing.

The Host must be one of this host: a web site can point its own name to this address (DNS
rebinding), and a browser then treats both as one origin. The Origin of a browser's request must be
this host's or one in the configuration. Security headers on every response restrict what a browser
does with it.

A request with two lengths is refused: a proxy in front of the gateway may go by the other one, and
would take the rest of the body for the next request, another user's (RFC 9112, section 11.2).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from starlette.responses import Response
from starlette.websockets import WebSocket

from amid.config.tables import Gateway
from amid.gateway.replies import json_response
from amid.rpc.guesses import plain_address

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

ALLOWED_HEADERS = "authorization, content-type, last-event-id"
"""Request headers that pages of other configured origins may send."""


class Guard:
    """An ASGI application that checks each request and forwards it to `app`."""

    def __init__(self, app: Any, gateway: Gateway) -> None:
        self._app = app
        self._origins = frozenset(gateway.origins)
        self._hosts = frozenset(map(_host_name, ["localhost", *gateway.listen, *gateway.hosts]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not scope["path"].startswith("/") and "://" in scope["path"]:  # its host overrules the header (RFC 9112, section 3.2.2)
            headers[b"host"], _, path = scope["path"].partition("://")[2].partition("/")
            scope["path"] = f"/{path}"
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

        if not self._is_served(headers.get(b"host"), scope):
            refused = f"{headers[b'host'][:100]!r} is not a host name of this gateway (hosts in [gateway])"
            await _answer(json_response({"error": refused}, 421), scope, receive, sending)
        elif b"content-length" in headers and b"transfer-encoding" in headers:
            refused = "a request has a Content-Length or a Transfer-Encoding, not both"
            await _answer(json_response({"error": refused}, 400, {"Connection": "close"}), scope, receive, sending)
        elif not own and not allowed:
            refused = f"requests from {origin[:100]} are not allowed (origins in [gateway])"
            await _answer(json_response({"error": refused}, 403), scope, receive, sending)
        elif allowed and scope.get("method") == "OPTIONS":
            granted = {"Access-Control-Allow-Headers": ALLOWED_HEADERS, "Access-Control-Allow-Methods": "GET, POST"}
            await Response(status_code=204, headers=granted)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    def _is_served(self, host: str | None, scope: Any) -> bool:
        """Whether a Host header is accepted: a configured name, loopback, or the address that the
        client connected to."""
        if host is None:
            return True
        name = _host_name(host)
        try:
            return name in self._hosts or ipaddress.ip_address(name).is_loopback or name == plain_address(scope["server"][0])
        except ValueError:
            return False


def _host_name(host: str) -> str:
    """The host in a Host header or in ADDRESS:PORT, normalised. IPv6 addresses have brackets in
    both, but not elsewhere."""
    host = host.lower()
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host
    return name if name.count(":") > 1 else name.partition(":")[0].removesuffix(".")


async def _answer(response: Response, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)
