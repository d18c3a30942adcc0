"""Encodes an action as the bytes that Asterisk reads, or refuses it before anything is sent.

Refused are values that would inject a header or a packet, and what Asterisk itself would refuse: it
reads a line into 1,024 bytes, CR LF included, and takes at most 128 headers (`get_input` and
`AST_MAX_MANHEADERS`, main/manager.c). Asterisk's own refusal carries an ActionID only when that
header was read before the fault, so Action is sent first and ActionID second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_LINE_BYTES = 1022
"""Limit of one line, without its CR LF."""

MAX_HEADERS = 128
"""Limit of the headers of one action, Action and ActionID included."""

EXACT_FLOAT = 2**53
"""A double holds every integer up to this one (IEEE 754). A larger
one may have lost digits already."""

BLANKS = bytes(range(33))
"""The leading bytes that Asterisk skips in a value (`ast_skip_blanks`, strings.h)."""

_BREAK = re.compile(rb"[\r\n\0]")


class InvalidAction(ValueError):
    """The action cannot be sent. The message names the header and the remedy."""


def encode_action(action: str, action_id: str, fields: Mapping[Any, Any]) -> bytes:
    """The packet that sends `action`.

    fields: header name -> str, bytes, int, float or bool, or a list of them for a header that
    occurs more than once. Values are sent byte for byte; true and false as `true` and `false`, an
    integral float as an integer. Raises `InvalidAction`.
    """
    if not action or min(action) <= " ":  # Asterisk skips leading blanks, and a `deny` rule would not match
        raise InvalidAction(f"the action's name {action[:60]!r} is empty, or has a space or a control character in it")
    lines = [_line(b"Action", action), b"ActionID: " + action_id.encode()]
    lines += [name + b": " + value for name, value in field_lines(action, fields)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def field_lines(action: str, fields: Mapping[Any, Any]) -> Iterator[tuple[bytes, bytes]]:
    """(name, value) of each header after Action and ActionID, as sent.

    Raises `InvalidAction` at the first header that cannot be sent.
    """
    headers = 2
    for name, value in fields.items():
        key = _name(name)
        for item in value if isinstance(value, list | tuple) else (value,):
            headers += 1
            if headers > MAX_HEADERS:  # checked here, because a caller's list can have half a million items
                raise InvalidAction(
                    f"{action} has at least {headers} headers, Action and ActionID included; Asterisk takes {MAX_HEADERS} at most"
                )
            yield key, _line(key, item)[len(key) + 2 :]


def encode_lines(action: str, action_id: str, lines: Sequence[Any]) -> bytes:
    """The packet for `action` with these lines, unchanged and in this order.

    lines: text or bytes, without Action. amid's ActionID replaces the first one among them. Raises
    `InvalidAction`.
    """
    raw = [_raw_line(line) for line in lines]
    own = next((number for number, line in enumerate(raw) if line[:9].lower() == b"actionid:"), None)
    if own is None:
        raw.insert(0, _line(b"ActionID", action_id))
    else:
        raw[own] = _line(b"ActionID", action_id)
    raw.insert(0, _line(b"Action", action))
    if len(raw) > MAX_HEADERS:
        raise InvalidAction(f"{action} has {len(raw)} lines with Action and ActionID; Asterisk takes {MAX_HEADERS} at most")
    return b"".join(map(_ended, raw)) + b"\r\n"


def fields_of_lines(lines: Sequence[Any]) -> dict[Any, Any]:
    """The headers in `lines` in the form of `encode_action`, so that rules can check them.

    They are the headers that Asterisk would read: a line without a colon is not a header, and
    blanks belong to a name. Raises `InvalidAction`.
    """
    fields: dict[Any, Any] = {}
    for line in lines:
        name, colon, value = _raw_line(line).partition(b":")
        if colon and name and name == name.strip():
            fields.setdefault(name.lower(), []).append(value.lstrip(BLANKS))
    return fields


def _raw_line(line: Any) -> bytes:
    if not isinstance(line, str | bytes):
        raise InvalidAction(f"a line is of type {type(line).__name__}; it must be text or bytes")
    return wire_bytes(line, b"lines")


def _ended(line: bytes) -> bytes:
    """The line with its end. A line of one byte over the limit is complete with LF alone."""
    if not line or b"\n" in line or b"\0" in line or len(line) > MAX_LINE_BYTES + 1:
        raise InvalidAction(f"the line {_show(line)} is empty, holds LF or NUL, or has over {MAX_LINE_BYTES + 1} bytes")
    return line + (b"\r\n" if len(line) <= MAX_LINE_BYTES else b"\n")


def own_action_id(fields: Mapping[Any, Any]) -> bytes | None:
    """The caller's own ActionID among `fields`, or None.

    The answer carries it; Asterisk never sees it.
    """
    for name, value in fields.items():
        if _is_action_id(name):
            raw = wire_bytes(value, b"ActionID")
            if len(raw) > MAX_LINE_BYTES:  # it stays in memory until the answer
                raise InvalidAction(f"the value of 'ActionID' has {len(raw)} bytes; {MAX_LINE_BYTES} are allowed")
            return raw
    return None


def without_action_id(fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """`fields` without the caller's own ActionID."""
    return {name: value for name, value in fields.items() if not _is_action_id(name)}


def _is_action_id(name: Any) -> bool:
    return wire_bytes(name).strip().lower() == b"actionid"


def _name(name: Any) -> bytes:
    raw = wire_bytes(name)
    if not raw or raw != raw.strip() or b":" in raw:
        raise InvalidAction(f"the header name {_show(raw)} is empty, has a colon, or has spaces around it")
    if raw.lower() == b"action":
        raise InvalidAction("`fields` has a header Action; name the action in `action` instead")
    if raw.lower() == b"actionid":
        raise InvalidAction("`fields` has a second ActionID; amid sends its own")
    return raw


def _line(name: bytes, value: Any) -> bytes:
    line = name + b": " + wire_bytes(value, name)
    if _BREAK.search(line):
        raise InvalidAction(f"{_show(name)} holds CR, LF or NUL; a header is one line")
    if len(line) > MAX_LINE_BYTES:
        raise InvalidAction(f"the line of {_show(name)} has {len(line)} bytes; Asterisk takes {MAX_LINE_BYTES} at most")
    return line


def wire_bytes(value: Any, header: bytes | None = None) -> bytes:
    """`value` as sent. header: the header whose value it is; None for a header's name.

    Raises `InvalidAction`.
    """
    if isinstance(value, str):
        return _encoded(value, header)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, float) and math.isfinite(value):
        return _plain(value, header)
    raise InvalidAction(f"{_what(header)} is {_kind(value)}; it must be text, a finite number, true or false, or a list of them")


def _plain(value: float, header: bytes | None) -> bytes:
    """A float as digits.

    Many languages have no other number type: 15551234567.0 is an extension.
    """
    if value.is_integer() and abs(value) <= EXACT_FLOAT:
        return str(int(value)).encode()
    digits = repr(value)
    if value.is_integer() or "e" in digits:
        what = f"the floating-point number {digits}, which has no exact plain form"
        raise InvalidAction(f"{_what(header)} is {what}; send it as text")
    return digits.encode()


def _encoded(value: str, header: bytes | None) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        what = f"the lone surrogate {value[error.start]!a}, which stands for no byte"
        raise InvalidAction(f"{_what(header)} has {what}") from None


def _what(header: bytes | None) -> str:
    return "a header's name" if header is None else f"the value of {_show(header)}"


def _kind(value: Any) -> str:
    return "not a number" if isinstance(value, float) else f"of type {type(value).__name__}"


def _show(raw: bytes) -> str:
    return repr(raw[:60].decode("utf-8", "replace"))
