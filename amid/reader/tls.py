"""TLS towards Asterisk: its context from the configuration, and its failures in words that say what to do."""

from __future__ import annotations

import errno
import ssl

from amid.config import Server


def tls_context(server: Server) -> ssl.SSLContext | None:
    """What the server's tls keys ask for. Raises `OSError` or `ssl.SSLError` when a file of theirs cannot be used."""
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
    """The failure of TLS, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is refused: {error.verify_message}; tls_ca names the authority to trust"
    elif error.reason == "WRONG_VERSION_NUMBER":
        what = "this port does not speak TLS; give the one of tlsbindaddr in manager.conf, or tls = false"
    elif "_ALERT_" in (error.reason or ""):
        what = f"{host} ended TLS: {error.reason}; if it asks for a certificate of amid's, tls_cert and tls_key give one it trusts"
    else:
        what = f"TLS failed: {error.strerror or error}"
    return OSError(errno.EPROTO, what)
