"""The fields of an action in a request body, a form or a JSON object, and the parameters of a query.
Pure.

`curl -d` sends its argument unencoded but labels it as a form, in which a plus sign means a space.
A telephone number would silently lose its plus sign and be dialled. A value with a plus sign is
therefore accepted only if it is properly encoded. A body that begins like a JSON object is read as
JSON, whatever its content type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote_plus

from amid import wire
from amid.errors import AmidError

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 200
"""The maximum number of fields in a form; Asterisk accepts 128 headers."""
ENCODED = re.compile(r"[A-Za-z0-9*._~%-][A-Za-z0-9*._~%+-]*")
"""A value as form encoders produce it (WHATWG URL, section 5.2). A leading plus sign is more likely
a telephone number than an encoded space."""


def check_parameters(query: Iterable[str], known: Sequence[str]) -> None:
    """Raise `AmidError` of kind `invalid_params` if a parameter of a query is none of `known`."""
    if unknown := set(query) - set(known):
        raise AmidError("invalid_params", f"unknown parameter {min(unknown)[:60]!r}; known: {', '.join(known) or 'none'}")


def decode_json(body: bytes) -> Any:
    """Decode a JSON body. Raises `AmidError` of kind `parse_error`."""
    if not wire.is_json(body):
        raise AmidError("parse_error", "the body is not JSON")
    return wire.decode_request(body)


def decode_fields(body: bytes, content_type: str) -> dict[str, Any]:
    """Decode the fields in a body, header name to value. Raises `AmidError`."""
    kind = content_type.partition(";")[0].strip().lower()
    first = body.lstrip()[:1]
    if kind == FORM and first != b"{":
        return _decode_form(body)
    if body and first not in (b"{", b"["):
        raise AmidError("parse_error", f"the body is not JSON (a form needs the content type {FORM}, which `curl -d` sends)")
    value = decode_json(body) if body else {}
    if not isinstance(value, dict):
        raise AmidError("invalid_params", "the body must be a form or a JSON object of header names and values")
    return value


def decode_pairs(text: str) -> list[tuple[str, str]]:
    """The names and values in a form or query string, in order. Raises `AmidError` of kind
    `invalid_params`."""
    parts = [part for part in text.split("&", MAX_FIELDS) if part]
    if len(parts) > MAX_FIELDS:
        raise AmidError("invalid_params", f"the form has over {MAX_FIELDS} fields")
    return [_decode_pair(part) for part in parts]


def _decode_pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    name = unquote_plus(name, errors="surrogateescape")
    if "+" in value and not ENCODED.fullmatch(value):
        hint = f"write %2B for a plus sign and %20 for a space, or use curl's --data-urlencode '{name[:60]}=…'"
        raise AmidError("invalid_params", f"{name[:60]}: an unencoded plus sign would become a space; {hint}")
    return name, unquote_plus(value, errors="surrogateescape")


def _decode_form(body: bytes) -> dict[str, Any]:
    """Decode a form. A repeated field becomes a list."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        pairs = decode_pairs(text)
    except ValueError as error:
        raise AmidError("invalid_params", f"the body is not a valid form: {error}") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = [*_listed(fields[name]), value] if name in fields else value
    return fields


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def number(text: str) -> Any:
    """A number in a query. Other text is returned unchanged, and the daemon refuses it."""
    try:
        return float(text)
    except ValueError:
        return text
