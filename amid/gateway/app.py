"""The paths of the gateway, what is served under each, and what holds for all of them."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from amid import wire
from amid.client import AsyncClient
from amid.daemon.settings import GatewaySettings
from amid.errors import AmidError
from amid.gateway import metrics
from amid.gateway.access import Access, Failures, Holder
from amid.gateway.calls import STATUSES, Calls, decoded, form
from amid.gateway.hub import Hub
from amid.gateway.openapi import document
from amid.gateway.streams import Streams

PAGE = Path(__file__).parent / "page"
COOKIE = "amid_token"
BODY_S = 30.0
"""Seconds that a request's body may take to come."""
READY_S = 1.0
"""Seconds that the daemon has to say whether a server is up."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Handler = Callable[[Request, Holder], Awaitable[Response]]


class Gateway:
    """`app` is the ASGI application; `run` has to run beside it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._gateway = settings.gateway
        self._access = Access(settings.gateway.tokens)
        self._failures = Failures()
        self._client = AsyncClient(settings.run_dir)
        self._calls = Calls(self._client)
        self._hub = Hub(self._client)
        self._streams = Streams(self._hub, settings.servers, settings.gateway.max_streams)
        self._counted: Counter[str] = Counter()
        routes = [
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            Route("/openapi.json", self._openapi),
            Route("/session", self._session),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/rpc", self._for_holders(self._rpc), methods=["POST"]),
            Route("/metrics", self._for_holders(self._metrics)),
            Route("/v1/servers", self._for_holders(self._method("servers"))),
            Route("/v1/status", self._for_holders(self._method("status"))),
            Route("/v1/servers/{server}/actions", self._for_holders(self._actions)),
            Route("/v1/servers/{server}/actions/{action}", self._for_holders(self._action), methods=["POST"]),
            Route("/v1/events", self._for_holders(self._events)),
            WebSocketRoute("/v1/events", self._socket),
            Route("/", lambda request: FileResponse(PAGE / "index.html")),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        errors: Any = {AmidError: _refused, HTTPException: _http_error}
        self.app = Guard(Starlette(routes=routes, exception_handlers=errors), self._gateway.origins)

    async def run(self) -> None:
        """Read events for the browsers, for ever. Whatever it raises is a fault that the process should end with."""
        try:
            await self._hub.run()
        finally:
            await self._client.close()

    # ── who asks ──

    def _for_holders(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            self._counted["requests_total"] += 1
            return await handler(request, await self._holder(request))

        return handle

    async def _holder(self, connection: HTTPConnection) -> Holder:
        """Whoever's token came, in the Authorization header or in the page's cookie. Raises `HTTPException` 401."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else connection.cookies.get(COOKIE, "")
        holder = self._access.holder(presented) if presented else None
        if holder is None:
            if presented:
                await self._slow_down(connection)
            raise HTTPException(401, "a token is needed: send `Authorization: Bearer TOKEN`", {"WWW-Authenticate": "Bearer"})
        return holder

    async def _slow_down(self, connection: HTTPConnection) -> None:
        await asyncio.sleep(self._failures.failed(_address(connection), time.monotonic()))

    async def _log_in(self, request: Request) -> Response:
        """The page's token, kept in a cookie that no script can read, for as long as the browser's session lasts."""
        token = (await self._body(request, 4096)).decode("utf-8", "replace").strip()
        holder = self._access.holder(token)
        if holder is None:
            await self._slow_down(request)
            raise HTTPException(401, "nobody has this token", {"WWW-Authenticate": "Bearer"})
        response = _json({"name": holder.name, "admin": holder.rights.admin})
        encrypted = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")  # by a proxy
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=encrypted)
        return response

    async def _session(self, request: Request) -> Response:
        """Who is logged in with the page's cookie; the page asks before it shows itself."""
        presented = request.cookies.get(COOKIE, "")
        holder = self._access.holder(presented) if presented else None
        if presented and holder is None:
            await self._slow_down(request)
        return _json({"name": holder.name if holder else None})

    async def _log_out(self, request: Request) -> Response:
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    # ── what anybody may see ──

    async def _health(self, request: Request) -> Response:
        """This process works."""
        await self._near_or_holder(request)
        return _json({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        """A server is up."""
        await self._near_or_holder(request)
        try:
            ready = any(server["state"] == "up" for server in await self._client.servers(timeout=READY_S))
        except AmidError:
            ready = False
        return _json({"status": "ready" if ready else "no server is up"}, 200 if ready else 503)

    async def _near_or_holder(self, request: Request) -> None:
        """Programs on this machine see these without a token, others do not: nor through a proxy on this machine."""
        address = _address(request)
        if "x-forwarded-for" in request.headers or not (address and ipaddress.ip_address(address.partition("%")[0]).is_loopback):
            await self._holder(request)

    async def _openapi(self, request: Request) -> Response:
        return _json(document())

    # ── calls ──

    async def _rpc(self, request: Request, holder: Holder) -> Response:
        body = await self._body(request, self._gateway.max_body_bytes)
        try:
            value = decoded(body)
        except AmidError as error:
            return _json(wire.error(None, error), STATUSES[error.kind])
        status, answer = await self._calls.answer(value, holder)
        return _json(answer, status)

    def _method(self, method: str) -> Handler:
        async def handle(request: Request, holder: Holder) -> Response:
            return _json(await self._calls.result({"method": method}, holder))

        return handle

    async def _actions(self, request: Request, holder: Holder) -> Response:
        params = {"server": request.path_params["server"]}
        return _json(await self._calls.result({"method": "actions", "params": params}, holder))

    async def _action(self, request: Request, holder: Holder) -> Response:
        """An action for people with curl: its fields are the body, a form or a JSON object."""
        params: dict[str, Any] = {"action": request.path_params["action"], "server": request.path_params["server"]}
        params["fields"] = await self._fields(request)
        query = request.query_params
        if "timeout" in query:
            params["timeout"] = _number(query["timeout"])
        if "until" in query:
            params["until"] = query["until"]
        return _json(await self._calls.result({"method": "action", "params": params}, holder))

    async def _fields(self, request: Request) -> Any:
        body = await self._body(request, self._gateway.max_body_bytes)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            return form(body)
        value = decoded(body) if body else {}
        if not isinstance(value, dict):
            raise AmidError("invalid_params", "the body must be a JSON object, header name to value, or a form")
        return value

    async def _body(self, request: Request, most: int) -> bytes:
        body = b""
        try:
            async with asyncio.timeout(BODY_S):
                async for piece in request.stream():
                    body += piece
                    if len(body) > most:
                        raise HTTPException(413, f"the body has over {most} bytes (max_body_bytes in [gateway])")
        except TimeoutError:
            raise HTTPException(408, f"the body did not come within {BODY_S:g} s", {"Connection": "close"}) from None
        except ClientDisconnect:
            raise HTTPException(400, "the body ended early") from None
        return body

    async def _metrics(self, request: Request, holder: Holder) -> Response:
        try:
            status = await self._client.status(timeout=READY_S)
        except AmidError:
            status = None
        own = {
            **dict.fromkeys(("requests_total",), 0.0),
            **self._counted,
            "refused_tokens_total": self._failures.count,
            "events_total": self._hub.events,
            "streams": self._streams.open,
        }
        return Response(metrics.text(status, own), media_type=metrics.CONTENT_TYPE)

    # ── events ──

    async def _events(self, request: Request, holder: Holder) -> Response:
        wanted, follower = await self._streams.begin(request)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        body = self._streams.events(wanted, follower, holder)
        return StreamingResponse(body, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _socket(self, websocket: WebSocket) -> None:
        try:
            holder = await self._holder(websocket)
            wanted, follower = await self._streams.begin(websocket)
        except HTTPException as error:
            await websocket.send_denial_response(_json({"error": error.detail}, error.status_code))
            return
        except AmidError as error:
            await websocket.send_denial_response(_refusal(error))
            return
        await websocket.accept()
        await self._streams.socket(websocket, wanted, follower, holder)


class Guard:
    """What holds for every request: a browser's requests come from this origin, or one that the configuration names; and headers
    that keep a browser from doing anything else with what it gets."""

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
            await self._forbid(scope, receive, sending, origin)
        elif allowed and scope.get("method") == "OPTIONS":
            granted = {"Access-Control-Allow-Headers": "authorization, content-type", "Access-Control-Allow-Methods": "GET, POST"}
            await Response(status_code=204, headers=granted)(scope, receive, sending)
        else:
            await self._app(scope, receive, sending)

    async def _forbid(self, scope: Any, receive: Any, send: Any, origin: str) -> None:
        refusal = _json({"error": f"requests from {origin[:100]} are not allowed (origins in [gateway])"}, 403)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)


def _json(value: Any, status: int = 200) -> Response:
    return Response(wire.pack_json(value), status, media_type="application/json")


def _refusal(error: AmidError) -> Response:
    """An error outside of JSON-RPC: its object alone."""
    return _json(wire.error(None, error)["error"], STATUSES.get(error.kind, 500))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AmidError)
    return _refusal(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _json({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
