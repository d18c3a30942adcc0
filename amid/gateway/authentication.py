"""Authentication: the principal of a token in the Authorization header, or of a log-in session of
the page."""

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

from amid.gateway.access import Access, Principal
from amid.gateway.bodies import read_body
from amid.gateway.connections import Connections
from amid.gateway.replies import json_response
from amid.gateway.sessions import Session, SessionFile, Sessions, digest
from amid.process.settings import GatewaySettings
from amid.rpc.guesses import Guesses, network_of, plain_address

log = logging.getLogger("amid.gateway")

SESSION_HEADER = "Amid-Session"
"""The header with the page's half of its session. It is never part of a URL, because proxies log URLs."""
MAX_TOKEN_BYTES = 4096
SAVE_S = 60.0
"""The shortest time in seconds between two writes of the session file for last-use times alone."""


class Authentication:
    """Authenticates requests. `routes` are the log-in paths of the page. Sessions of removed tokens
    are refused."""

    def __init__(self, settings: GatewaySettings, connections: Connections) -> None:
        self._access = Access(settings.gateway.tokens, Path(settings.gateway.tokens_file or "tokens_file").name)
        self._connections = connections
        self.guesses = Guesses()
        self._file = SessionFile(Path(settings.run_dir) / "gateway-sessions")
        self._sessions = Sessions(settings.gateway.session_idle_s, self._read_sessions())
        self._saved_at = 0.0
        self._cookie = "amid_session_" + digest(f"{socket.gethostname()} {settings.run_dir}").hex()[:8]  # one for each gateway
        self.routes: list[BaseRoute] = [
            Route("/session", self._session),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
        ]

    async def principal(self, connection: HTTPConnection) -> Principal:
        """The principal of a request. Raises `HTTPException` 401 or 429, and `AmidError` of kind
        `busy`."""
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        by_token = scheme.lower() == "bearer"
        principal = await self._principal_of(token.strip(), connection) if by_token else self._logged_in(connection)
        if principal is None:
            raise _unknown_token() if by_token and token.strip() else _no_token(connection)
        session = None if by_token else digest(connection.cookies[self._cookie])
        self._connections.identify(connection.state.transport, principal.name, session)
        return principal

    async def require_token_unless_local(self, request: Request) -> None:
        """Require a token, except from programs on this machine that connect without a proxy.
        Raises like `principal`."""
        address = address_of(request)
        if "x-forwarded-for" in request.headers or not (address and ipaddress.ip_address(address.partition("%")[0]).is_loopback):
            await self.principal(request)

    async def _principal_of(self, token: str, connection: HTTPConnection) -> Principal | None:
        """The principal of a token; None, after a delay, for a wrong one. Raises `HTTPException`
        429 when too many were wrong."""
        if not token:
            return None
        network, now = network_of(address_of(connection)), time.monotonic()
        if locked_s := self.guesses.locked_s(network, digest(token), now):
            log.warning("unknown tokens from %s are refused unseen: too many wrong tokens", network)
            what = f"too many wrong tokens from {network}; try again in {locked_s:.0f} s"
            raise HTTPException(429, what, {"Retry-After": f"{locked_s:.0f}", "Connection": "close"})
        principal = self._access.principal(token)
        if principal is None:
            await asyncio.sleep(self.guesses.failed(network, now))
        else:
            self.guesses.succeeded(network, digest(token))
        return principal

    # ── the page's sessions ──

    async def _log_in(self, request: Request) -> Response:
        """Start a session. The browser keeps the cookie until it is closed."""
        token = (await read_body(request, MAX_TOKEN_BYTES)).decode("utf-8", "replace").strip()
        principal = await self._principal_of(token, request)
        if principal is None:
            raise _unknown_token()
        cookie, key = self._sessions.begin(principal.name, digest(token), time.time())
        self._save()
        response = json_response({"name": principal.name, "admin": principal.rights.admin, "session": key})
        encrypted = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")  # or by a proxy
        # Without a path the cookie applies to the directory of /login as the browser sees it, also
        # behind a proxy that adds a path.
        response.set_cookie(self._cookie, cookie, path=None, httponly=True, samesite="strict", secure=encrypted)
        return response

    async def _session(self, request: Request) -> Response:
        """/session: the logged-in name; the page asks before it is displayed."""
        principal = self._logged_in(request)
        return json_response({"name": principal.name if principal else None})

    async def _log_out(self, request: Request) -> Response:
        if self._session_of(request) is not None:
            cookie = request.cookies[self._cookie]
            self._sessions.end(cookie)
            self._connections.end_session(digest(cookie), besides=request.state.transport)
            self._save()
        response = Response(status_code=204)
        response.set_cookie(self._cookie, "", max_age=0, path=None, httponly=True, samesite="strict")
        return response

    def _logged_in(self, connection: HTTPConnection) -> Principal | None:
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
            log.warning("cannot read the log-in sessions, all users must log in again: %s", error)
            return {}

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        try:
            self._file.write(self._sessions.open)
        except OSError as error:
            log.warning("cannot write the log-in sessions, they will be lost when the gateway restarts: %s", error)


def _unknown_token() -> HTTPException:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # RFC 6750, section 3.1
    return HTTPException(401, "unknown token: it is in no table of the tokens file", headers)


def _no_token(connection: HTTPConnection) -> HTTPException:
    what = "a token is needed: send `Authorization: Bearer TOKEN`"
    if SESSION_HEADER in connection.headers:
        what = "this log-in session has ended: log in again"
    return HTTPException(401, what, {"WWW-Authenticate": "Bearer"})


def address_of(connection: HTTPConnection) -> str:
    """The peer address of a connection; "" when unknown."""
    return plain_address(connection.client.host) if connection.client else ""
