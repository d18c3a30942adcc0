"""Errors of TLS in words that name the key to change."""

from __future__ import annotations

import ssl

NAME_MISMATCH = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL (x509_vfy.h)."""
OUT_OF_DATE = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def describe_tls_error(error: ssl.SSLError, peer: str, key: str) -> str:
    """What happened and what to do. key: the key of the configuration that names the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return f"the certificate of {peer} is refused: {reason}; {_certificate_advice(error.verify_code, key)}"
    if "_ALERT_" in (error.reason or ""):
        return f"{peer} ended TLS: {error.reason}; if it requires a client certificate, set tls_cert and tls_key"
    return f"TLS failed: {error.strerror or error}"


def _certificate_advice(code: int, key: str) -> str:
    if code in NAME_MISMATCH:
        return f"set {key} to a name in the certificate, or make a certificate with this name (subjectAltName)"
    if code in OUT_OF_DATE:
        return "renew the certificate, and check the clocks of both machines"
    return "set tls_ca to the certificate itself or to the authority that signed it"
