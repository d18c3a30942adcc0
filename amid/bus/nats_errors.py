"""The exceptions of NATS, and their texts for the log, with what to do where the configuration decides
it."""

from __future__ import annotations

import asyncio
import ssl

import nats.errors
import nats.js.errors

from amid.process.tls_errors import describe_tls_error

NATS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError)
"""The exceptions of a failed request to NATS."""

NO_JETSTREAM = "the server answers no JetStream requests; start nats-server with JetStream (-js), or wait for its cluster"
JETSTREAM_ADVICE = {
    10005: "the NATS cluster has too few servers for replicas in [nats], or too little storage for max_bytes",
    10047: "lower max_bytes in [nats], or raise max_file_store of nats-server",
    10074: "set replicas = 1 in [nats]; more need a NATS cluster",
}
"""By the number of JetStream's error (nats-server, server/errors.json)."""
LOGIN_ADVICE = "check credentials_file, or user and password_file, in [nats]"


def describe(error: BaseException) -> str:
    """An error for the log."""
    if isinstance(error, ssl.SSLError):
        return describe_tls_error(error, "NATS", "servers in [nats]")
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is nats-server running there?"
    if isinstance(error, nats.js.errors.APIError):
        return _describe_jetstream(error)
    if "authorization violation" in str(error).casefold():
        return f"{error}; {LOGIN_ADVICE}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _describe_jetstream(error: nats.js.errors.APIError) -> str:
    if error.err_code is None:
        return NO_JETSTREAM if isinstance(error, nats.js.errors.ServiceUnavailableError) else str(error)
    advice = JETSTREAM_ADVICE.get(error.err_code)
    return f"{error.description} (code {error.err_code})" + (f"; {advice}" if advice else "")
