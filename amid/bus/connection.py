"""One connection to NATS, used until it fails. The bus then opens another and reads the streams again.

The reconnect of nats-py is turned off: it later sends what it held back, when the callers may have
given up, and it forgets what it had written to the socket. For the same reason it buffers nothing
here (`pending_size`), and only acknowledgements count as stored. nats-py also detects a hanging
server late or never, because it waits for its own socket, so `watch` probes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from amid.bus.nats_errors import NATS_ERRORS, describe
from amid.bus.protocol.messages import Message, encode_publish
from amid.bus.protocol.subjects import is_inbox
from amid.config.tables import Nats
from amid.process.loop import clock

log = logging.getLogger("amid.bus")

CONNECT_TIMEOUT_S = 5.0
"""Timeout of each step of connecting."""
PROBE_S = 2.0
"""Seconds between two probes."""
CLOSE_TIMEOUT_S = 1.0
"""After this time, closing aborts the socket."""
HEADERS_BYTES = 512
"""Bytes of `max_payload` that are reserved for headers."""


class ConnectionLost(Exception):
    """The connection cannot be used any more."""


class _Client(Client):
    """Refuses a server without TLS if the configuration requires it. nats-py uses TLS only if the
    server offers it, so an attacker in between could obtain the password in clear text.

    Ignores a message that nats-py cannot decode, which would end its reading, and one whose reply
    would not go to an inbox."""

    def __init__(self, tls: bool) -> None:
        super().__init__()
        self._requires_tls = tls

    def _connect_command(self) -> bytes:
        if self._requires_tls and not self._server_info.get("tls_required"):
            raise nats.errors.Error("the server offers no TLS, which the configuration requires; configure tls in nats-server")
        command: bytes = super()._connect_command()
        return command

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        try:
            if reply and not is_inbox(reply.decode()):
                log.warning("ignored a message on %r: its reply subject %r does not begin with _", subject, reply)
            else:
                await super()._process_msg(sid, subject, reply, data, headers)
        except (UnicodeError, IndexError) as error:
            log.warning("ignored a malformed message on %r: %s", subject, error)

    async def send_commands(self, commands: bytes) -> None:
        """Send encoded commands. `publish` of nats-py would cost more CPU than all other work for
        an event."""
        await self._send_command(commands)


class Connection:
    """`publish_all` and `request` publish events; `jetstream` is for requests that are rare."""

    def __init__(self, settings: Nats) -> None:
        self._settings = settings
        self._client = _Client(settings.tls)
        self._closed = asyncio.Event()
        self.last_error = ""
        """The last error that the server reported, for example a permissions violation."""
        self.denied_at = -math.inf
        """When the server last refused a subscription, or withdrew the right to it, in monotonic seconds."""

    @property
    def client(self) -> Client:
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        return self._client.jetstream(timeout=self._settings.ack_timeout)

    @property
    def max_body_bytes(self) -> int:
        """Maximum bytes of a message without its headers. The server closes a connection that sends
        more."""
        return int(self._client.max_payload) - HEADERS_BYTES

    @property
    def server(self) -> str:
        """Host and port of the server, for the log."""
        url = self._client.connected_url
        return f"{url.hostname}:{url.port}" if url else "no server"

    async def open(self, name: str) -> None:
        """Connect to one of the servers. Raises one of `NATS_ERRORS`."""
        settings = self._settings
        await self._client.connect(
            list(settings.servers),
            name=name,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(CONNECT_TIMEOUT_S),
            pending_size=-1,
            ping_interval=int(PROBE_S),
            tls=_tls_context(settings),
            **_credentials(settings),
        )

    async def watch(self) -> None:
        """Probe the connection. Raises `ConnectionLost` when it is closed or a probe is not
        answered within `ack_timeout`."""
        limit_s = self._settings.ack_timeout
        while not self._closed.is_set():
            try:
                async with asyncio.timeout(limit_s):
                    await self._client.flush(timeout=int(limit_s) + 1)
            except NATS_ERRORS as error:
                if not self._closed.is_set():
                    raise ConnectionLost(f"no answer for {limit_s:g} s ({type(error).__name__})") from None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), PROBE_S)
        raise ConnectionLost(self.last_error or "closed by the server")

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish a message without an acknowledgement. Raises one of `NATS_ERRORS`."""
        await self._client.publish(subject, body, headers=dict(headers) if headers else None)

    async def publish_all(self, messages: Iterable[Message]) -> None:
        """Publish messages in order without acknowledgements. Raises one of `NATS_ERRORS`."""
        if not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        await self._client.send_commands(encode_publish(messages))

    async def request(self, message: Message) -> bytes:
        """Publish a message and return its acknowledgement. Raises one of `NATS_ERRORS`."""
        limit_s = self._settings.ack_timeout
        answer: Msg = await self._client.request(message.subject, message.body, timeout=limit_s, headers=message.headers)
        return bytes(answer.data)

    async def close(self) -> None:
        """Close within `CLOSE_TIMEOUT_S`; nats-py alone would wait for a socket that accepts
        nothing."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.close()
        except NATS_ERRORS as error:
            log.debug("error while closing the connection to NATS: %s", describe(error))
        finally:
            writer = getattr(self._client._transport, "_io_writer", None)
            if writer is not None:
                writer.transport.abort()

    async def _on_error(self, error: Exception) -> None:
        self.last_error = describe(error)
        level = logging.WARNING if "ermissions" in self.last_error else logging.DEBUG  # other errors end the connection
        log.log(level, "NATS reported an error: %s", self.last_error)
        if "ermissions violation for subscription" in self.last_error:  # the server has ended it, and restores it never
            self.denied_at = clock.monotonic()
            if '"_inbox.' in self.last_error:  # no request is answered any more; nats-py reports in lower case
                self._closed.set()

    async def _on_closed(self) -> None:
        self._closed.set()


def _tls_context(settings: Nats) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    context = ssl.create_default_context(cafile=settings.tls_ca)
    if settings.tls_cert and settings.tls_key:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    return context


def _credentials(settings: Nats) -> dict[str, Any]:
    if settings.credentials_file:
        return {"user_credentials": settings.credentials_file}
    return {"user": settings.user, "password": settings.password} if settings.user else {}
