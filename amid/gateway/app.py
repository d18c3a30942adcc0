"""The URL paths of the gateway and their handlers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from amid.client import AsyncClient
from amid.client.results import State, Status
from amid.errors import AmidError
from amid.gateway import metrics
from amid.gateway.access import Principal
from amid.gateway.authentication import Authentication
from amid.gateway.bodies import read_body, while_connected
from amid.gateway.calls import Calls
from amid.gateway.connections import Connections
from amid.gateway.fields import check_parameters, decode_fields, decode_json, number
from amid.gateway.guard import Guard
from amid.gateway.hub import Hub
from amid.gateway.openapi import document_json
from amid.gateway.pbx_metrics import KINDS as METRIC_KINDS
from amid.gateway.quotas import Quotas
from amid.gateway.recorded_calls import describe_missing, params_of
from amid.gateway.replies import json_response, on_amid_error, on_disconnect, on_http_error, refusal, rpc_refusal
from amid.gateway.sampler import Sampler
from amid.gateway.streams import EventStreamResponse, Streams
from amid.process.settings import GatewaySettings

PAGE = Path(__file__).parent / "page"
MAX_RIGHTS = 100
"""Maximum number of actions in one request to /v1/rights."""
READY_S = 1.0
"""Timeout in seconds for the daemon's answer on /readyz and /metrics."""

Handler = Callable[[Request, Principal], Awaitable[Response]]
Refusal = Callable[[AmidError], Response]


class Gateway:
    """The gateway: `app` is the ASGI application; `run` must run beside it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._gateway = settings.gateway
        self.connections = Connections(self._gateway.max_strangers, self._gateway.max_connections_per_token)
        self._authentication = Authentication(settings, self.connections)
        self._quotas = Quotas(self._gateway.max_calls_per_token, self._gateway.max_body_bytes)
        self._client = AsyncClient(settings.run_dir)
        self._calls = Calls(self._client, settings.records)
        self._hub = Hub(self._client)
        self._sampler = Sampler(self._client)
        self._streams = Streams(self._hub, settings.servers, settings.gateway)
        self._counted: Counter[str] = Counter()
        routes = [
            Route("/healthz", self._health),
            Route("/readyz", self._ready),
            Route("/openapi.json", self._openapi),
            *self._authentication.routes,
            Route("/rpc", self._authenticated(self._rpc, refused=rpc_refusal), methods=["POST"]),
            Route("/metrics", self._authenticated(self._metrics)),
            Route("/v1/servers", self._authenticated(self._method("servers"))),
            Route("/v1/status", self._authenticated(self._method("status"))),
            Route("/v1/servers/{server}/actions", self._authenticated(self._actions)),
            Route(
                "/v1/servers/{server}/actions/{action}", self._authenticated(self._action, ("timeout", "until")), methods=["POST"]
            ),
            Route("/v1/servers/{server}/state", self._authenticated(self._state, ("kinds", "where", "timeout"))),
            Route("/v1/state", self._authenticated(self._state_stream, None)),
            Route("/v1/calls", self._authenticated(self._recorded_calls, None)),
            Route("/v1/calls/{linkedid:path}", self._authenticated(self._recorded_call, None)),
            Route("/v1/samples", self._authenticated(self._samples)),
            Route("/v1/rights", self._authenticated(self._rights, ("action",))),
            Route("/v1/events", self._authenticated(self._events, None)),
            WebSocketRoute("/v1/events", self._socket),
            Route("/", lambda request: FileResponse(PAGE / "index.html")),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        errors: Any = {AmidError: on_amid_error, HTTPException: on_http_error, ClientDisconnect: on_disconnect}
        paths = Starlette(routes=routes, exception_handlers=errors)
        paths.router.redirect_slashes = False  # never redirect to http: behind a TLS proxy: the token would be sent in clear
        self.app = Guard(paths, self._gateway)

    async def run(self) -> None:
        """Receive events for the browsers until cancelled. An exception here must end the process."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sampler.run())
                await self._hub.run()
        finally:
            await self._client.close()

    # ── authentication ──

    def _authenticated(
        self, handler: Handler, parameters: Sequence[str] | None = (), refused: Refusal = refusal
    ) -> Callable[[Request], Awaitable[Response]]:
        """Wrap `handler` so that it requires a token and counts against the quotas of that token.
        parameters: all that a query may have; None if the handler checks that."""

        async def handle(request: Request) -> Response:
            self._counted["requests_total"] += 1
            try:
                principal = await self._authentication.principal(request)
                if parameters is not None:
                    check_parameters(request.query_params, parameters)
                with self._quotas.call(principal.name) as request.state.call:
                    response = await handler(request, principal)
                self.connections.check_unread(principal.name, len(getattr(response, "body", b"")))  # a stream has no body
                return response
            except AmidError as error:
                return refused(error)
            except asyncio.CancelledError:  # this process ends
                return refused(AmidError("connection_lost", "the gateway ended during the call", sent=True))
            except ClientDisconnect:
                self._counted["abandoned_calls_total"] += 1
                raise

        return handle

    # ── paths without a token ──

    async def _health(self, request: Request) -> Response:
        """/healthz: this process answers."""
        await self._authentication.require_token_unless_local(request)
        return json_response({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        """/readyz: at least one server is up."""
        await self._authentication.require_token_unless_local(request)
        try:
            ready = any(server["state"] == "up" for server in await self._client.servers(timeout=READY_S))
        except AmidError:
            ready = False
        return json_response({"status": "ready" if ready else "no server is up"}, 200 if ready else 503)

    async def _openapi(self, request: Request) -> Response:
        return Response(document_json(), media_type="application/json")

    # ── calls ──

    async def _rpc(self, request: Request, principal: Principal) -> Response:
        value = decode_json(await self._body(request))
        status, answer = await while_connected(request, self._calls.answer(value, principal))
        return json_response(answer, status)

    def _method(self, method: str) -> Handler:
        async def handle(request: Request, principal: Principal) -> Response:
            return await self._result(request, principal, {"method": method})

        return handle

    async def _actions(self, request: Request, principal: Principal) -> Response:
        params = {"server": request.path_params["server"]}
        return await self._result(request, principal, {"method": "actions", "params": params})

    async def _recorded_calls(self, request: Request, principal: Principal) -> Response:
        """Search recorded calls."""
        return await self._result(request, principal, {"method": "calls", "params": params_of(request.query_params)})

    async def _recorded_call(self, request: Request, principal: Principal) -> Response:
        """A recorded call with its ladder."""
        params = {**params_of(request.query_params), **request.path_params}
        found = await while_connected(request, self._calls.result({"method": "call", "params": params}, principal))
        if found["call"] is None:
            raise HTTPException(404, describe_missing(params["linkedid"], found))
        return json_response(found)

    async def _result(self, request: Request, principal: Principal, asked: dict[str, Any]) -> Response:
        return json_response(await while_connected(request, self._calls.result(asked, principal)))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request, self._gateway.max_body_bytes, request.state.call.reserve)

    async def _action(self, request: Request, principal: Principal) -> Response:
        """Run an action whose fields are the request body, a form or a JSON object."""
        params: dict[str, Any] = {"action": request.path_params["action"], "server": request.path_params["server"]}
        body = await self._body(request)
        params["fields"] = decode_fields(body, request.headers.get("content-type", ""))
        query = request.query_params
        if "timeout" in query:
            params["timeout"] = number(query["timeout"])
        if "until" in query:
            params["until"] = query["until"]
        return await self._result(request, principal, {"method": "action", "params": params})

    async def _state(self, request: Request, principal: Principal) -> Response:
        query = request.query_params
        params: dict[str, Any] = {"server": request.path_params["server"]}
        params |= {name: query.getlist(name) for name in ("kinds", "where") if name in query}
        if "timeout" in query:
            params["timeout"] = number(query["timeout"])
        return await self._result(request, principal, {"method": "state", "params": params})

    async def _state_stream(self, request: Request, principal: Principal) -> Response:
        stream = self._streams.begin_state(request, principal, self._client)
        if request.method == "HEAD":
            stream.close()
            return Response(media_type="text/event-stream")
        return EventStreamResponse(stream)

    async def _samples(self, request: Request, principal: Principal) -> Response:
        principal.check_state()
        self._sampler.start()
        return json_response(self._sampler.buffer.report())

    async def _rights(self, request: Request, principal: Principal) -> Response:
        """The rights of this token, so that a page offers only what it allows. An action is true if the
        token may send it with some fields; each call is checked again, with its fields."""
        names = request.query_params.getlist("action")
        if len(names) > MAX_RIGHTS:
            raise AmidError("invalid_params", f"action: a request has at most {MAX_RIGHTS} actions, not {len(names)}")
        rights = {"name": principal.name, "admin": principal.rights.admin, "history": principal.rights.history}
        rights |= {"state": principal.may_see_state, "actions": {name: principal.may_act(name) for name in names}}
        return json_response(rights)

    async def _states(self, status: Status) -> list[State]:
        """The state of each server that is up and answers within `READY_S`."""
        up = [server["name"] for server in status["servers"] if server["state"] == "up"]
        asked = (self._client.state(name, list(METRIC_KINDS), timeout=READY_S) for name in up)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, AmidError):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _metrics(self, request: Request, principal: Principal) -> Response:
        states: list[State] = []
        try:
            status = await self._client.status(timeout=READY_S)
            if principal.may_see_state:
                states = await self._states(status)
        except AmidError:
            status = None
        own = {
            **dict.fromkeys(("requests_total", "abandoned_calls_total"), 0.0),
            **self._counted,
            **self.connections.count(),
            "evicted_connections_total": self.connections.evicted,
            "refused_tokens_total": self._authentication.guesses.count,
            "events_total": self._hub.events,
            "streams": self._streams.open,
        }
        return Response(metrics.text(status, own, states, time.time()), media_type=metrics.CONTENT_TYPE)

    # ── events ──

    async def _events(self, request: Request, principal: Principal) -> Response:
        stream = await self._streams.begin(request, principal)
        if request.method == "HEAD":
            stream.close()
            return Response(media_type="text/event-stream")
        return EventStreamResponse(stream)

    async def _socket(self, websocket: WebSocket) -> None:
        try:
            principal = await self._authentication.principal(websocket)
            stream = await self._streams.begin(websocket, principal)
        except HTTPException as error:
            await websocket.send_denial_response(json_response({"error": error.detail}, error.status_code))
            return
        except AmidError as error:
            await websocket.send_denial_response(refusal(error))
            return
        try:
            await websocket.accept()
            await stream.serve(websocket)
        finally:
            stream.close()
