"""TLS to Asterisk: its context from the configuration, and its errors with advice."""

from __future__ import annotations

import errno
import ssl

from amid.config.tables import Server
from amid.process.tls_errors import describe_tls_error


def tls_context(server: Server) -> ssl.SSLContext | None:
    """The context for the server's tls keys.

    Raises `OSError` or `ssl.SSLError` for an unusable file.
    """
    if not server.tls:
        return None
    context = ssl.create_default_context(cafile=server.tls_ca)
    if not server.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if server.tls_cert and server.tls_key:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    return context


def explained(error: ssl.SSLError, host: str) -> OSError:
    """The TLS error as an `OSError` that says what to do."""
    if error.reason == "WRONG_VERSION_NUMBER":
        what = "this port does not speak TLS; set the port of tlsbindaddr in manager.conf, or tls = false"
    else:
        what = describe_tls_error(error, host, "host")
    return OSError(errno.EPROTO, what)
