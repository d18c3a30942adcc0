"""Who asks: the holder of a token in the Authorization header, or of a log-in session of the page."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import time
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from amid.gateway.access import Access, Guesses, Holder
from amid.gateway.bodies import read_body
from amid.gateway.connections import Connections, network_of, plain_address
from amid.gateway.replies import json_response
from amid.gateway.sessions import Session, SessionFile, Sessions, digest
from amid.process.settings import GatewaySettings

log = logging.getLogger("amid.gateway")

SESSION_HEADER = "Amid-Session"
"""Has the page's half of its session. No address has it, since proxies log addresses."""
MAX_TOKEN_BYTES = 4096
SAVE_S = 60.0
"""Seconds between two writes of when each session was last used."""


class Authentication:
    """`routes` are those of the page's log-in. Sessions of tokens that the configuration no longer has are refused."""

    def __init__(self, settings: GatewaySettings, connections: Connections) -> None:
        self._access = Access(settings.gateway.tokens)
        self._connections = connections
        self.guesses = Guesses()
        self._file = SessionFile(Path(settings.run_dir) / "gateway-sessions")
        self._sessions = Sessions(settings.gateway.session_idle_s, self._read_sessions())
        self._saved_at = 0.0
        self._cookie = "amid_session_" + digest(f"{socket.gethostname()} {settings.run_dir}").hex()[:8]  # another for each gateway
        self.routes: list[BaseRoute] = [
            Route("/session", self._session),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
        ]

    async def holder(self, connection: HTTPConnection) -> Holder:
        """Whose token or session the request bears. Raises `HTTPException` 401 or 429, and `AmidError` of kind `busy`."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        by_token = scheme.lower() == "bearer"
        holder = await self._holder_of(token.strip(), connection) if by_token else self._logged_in(connection)
        if holder is None:
            raise _unknown_token() if by_token and token.strip() else _no_token(connection)
        session = None if by_token else digest(connection.cookies[self._cookie])
        self._connections.identify(connection.state.transport, holder.name, session)
        return holder

    async def near_or_holder(self, request: Request) -> None:
        """Programs on this machine need no token, others do, also when they come through a proxy on this machine."""
        address = address_of(request)
        if "x-forwarded-for" in request.headers or not (address and ipaddress.ip_address(address.partition("%")[0]).is_loopback):
            await self.holder(request)

    async def _holder_of(self, token: str, connection: HTTPConnection) -> Holder | None:
        """The holder of a token; for a wrong one None, after a while. Raises `HTTPException` 429 when there were too many."""
        if not token:
            return None
        network, now = network_of(address_of(connection)), time.monotonic()
        if locked_s := self.guesses.locked_s(network, digest(token), now):
            log.warning("no unknown token from %s is looked at: too many wrong ones have come", network)
            what = f"too many wrong tokens come from {network}; try again in {locked_s:.0f} s"
            raise HTTPException(429, what, {"Retry-After": f"{locked_s:.0f}", "Connection": "close"})
        holder = self._access.holder(token)
        if holder is None:
            await asyncio.sleep(self.guesses.failed(network, now))
        else:
            self.guesses.succeeded(network, digest(token))
        return holder

    # ── the page's sessions ──

    async def _log_in(self, request: Request) -> Response:
        """Begin a session. Its cookie is kept until the browser is closed."""
        token = (await read_body(request, MAX_TOKEN_BYTES)).decode("utf-8", "replace").strip()
        holder = await self._holder_of(token, request)
        if holder is None:
            raise _unknown_token()
        cookie, key = self._sessions.begin(holder.name, digest(token), time.time())
        self._save()
        response = json_response({"name": holder.name, "admin": holder.rights.admin, "session": key})
        encrypted = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")  # by a proxy
        # Without a path it is for the folder of /login as the browser sees it, also beneath a path of a proxy.
        response.set_cookie(self._cookie, cookie, path=None, httponly=True, samesite="strict", secure=encrypted)
        return response

    async def _session(self, request: Request) -> Response:
        """Who is logged in; the page asks before it shows itself."""
        holder = self._logged_in(request)
        return json_response({"name": holder.name if holder else None})

    async def _log_out(self, request: Request) -> Response:
        if self._session_of(request) is not None:
            cookie = request.cookies[self._cookie]
            self._sessions.end(cookie)
            self._connections.end_session(digest(cookie), besides=request.state.transport)
            self._save()
        response = Response(status_code=204)
        response.set_cookie(self._cookie, "", max_age=0, path=None, httponly=True, samesite="strict")
        return response

    def _logged_in(self, connection: HTTPConnection) -> Holder | None:
        session = self._session_of(connection)
        return self._access.named(session.name, session.token) if session else None

    def _session_of(self, connection: HTTPConnection) -> Session | None:
        key = connection.headers.get(SESSION_HEADER, "")
        session = self._sessions.find(connection.cookies.get(self._cookie, ""), key, time.time())
        if session is not None and time.monotonic() >= self._saved_at + SAVE_S:
            self._save()
        return session

    def _read_sessions(self) -> dict[bytes, Session]:
        try:
            return self._file.read()
        except (OSError, ValueError) as error:
            log.warning("log-in sessions cannot be read, so everybody has to log in again: %s", error)
            return {}

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        try:
            self._file.write(self._sessions.open)
        except OSError as error:
            log.warning("log-in sessions cannot be written, so they end with this gateway process: %s", error)


def _unknown_token() -> HTTPException:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # RFC 6750, section 3.1
    return HTTPException(401, "this token is in no table of the tokens file", headers)


def _no_token(connection: HTTPConnection) -> HTTPException:
    what = "a token is needed: send `Authorization: Bearer TOKEN`"
    if SESSION_HEADER in connection.headers:
        what = "this log-in session has ended: log in again"
    return HTTPException(401, what, {"WWW-Authenticate": "Bearer"})


def address_of(connection: HTTPConnection) -> str:
    """The address that a connection comes from; "" when unknown."""
    return plain_address(connection.client.host) if connection.client else ""
