"""The fields of an action in a request's body, for people with curl: a form or a JSON object. Pure.

`curl -d` sends what it is given without encoding it and calls it a form, in which a plus sign means
a blank. So a telephone number would lose its plus sign and be dialled all the same. A value with a
plus sign is accepted only where a program has encoded it. A body that begins like a JSON object is
read as one, whatever its content type says.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

from amid import wire
from amid.errors import AmidError

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 200
"""Fields in a form; Asterisk takes 128 headers."""
ENCODED = re.compile(r"[A-Za-z0-9*._~%-][A-Za-z0-9*._~%+-]*")
"""A value as encoders of forms leave it (WHATWG URL, section 5.2). One that begins with a plus sign is
more likely a telephone number than a value that begins with a blank."""


def decode_json(body: bytes) -> Any:
    """The JSON in a body. Raises `AmidError` of kind `parse_error`."""
    if not wire.is_json(body):
        raise AmidError("parse_error", "the body is not JSON")
    return wire.decode_request(body)


def decode_fields(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields in a body, header name to value. Raises `AmidError`."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM and not body.lstrip().startswith(b"{"):
        return _decode_form(body)
    try:
        value = decode_json(body) if body else {}
    except AmidError as error:
        raise AmidError(error.kind, f"{error.message} (a form needs the content type {FORM}, which `curl -d` sends)") from None
    if not isinstance(value, dict):
        raise AmidError("invalid_params", "the body must be a JSON object, header name to value, or a form")
    return value


def decode_pairs(text: str) -> list[tuple[str, str]]:
    """The names and values in a form or a query, in their order. Raises `AmidError` of kind `invalid_params`."""
    parts = [part for part in text.split("&", MAX_FIELDS) if part]
    if len(parts) > MAX_FIELDS:
        raise AmidError("invalid_params", f"there are over {MAX_FIELDS} fields")
    return [_decode_pair(part) for part in parts]


def _decode_pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    name = unquote_plus(name, errors="surrogateescape")
    if "+" in value and not ENCODED.fullmatch(value):
        hint = f"write %2B for the sign and %20 for a blank, or use curl's --data-urlencode '{name[:60]}=…'"
        raise AmidError("invalid_params", f"{name[:60]}: a plus sign in a value that is not encoded would become a blank; {hint}")
    return name, unquote_plus(value, errors="surrogateescape")


def _decode_form(body: bytes) -> dict[str, Any]:
    """A field that occurs more than once is a list."""
    try:
        text = body.decode("utf-8", "surrogateescape")
        pairs = decode_pairs(text)
    except ValueError as error:
        raise AmidError("invalid_params", f"the form cannot be read: {error}") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = [*_listed(fields[name]), value] if name in fields else value
    return fields


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
