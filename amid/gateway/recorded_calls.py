"""Recorded calls over HTTP: a query string as the params of `calls` and `call`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amid.gateway.fields import number

NUMBERS = frozenset({"since", "until", "at", "longer", "shorter", "timeout"})
FLAGS = frozenset({"lost", "all", "masked"})
MAX_DIGITS = 9
"""Digits of a `limit`; longer text is not converted, since Python refuses it above 4,300 digits."""


def params_of(query: Mapping[str, str]) -> dict[str, Any]:
    """The params in a query. A value that cannot be converted stays text, and the daemon refuses it."""
    return {name: _value(name, text) for name, text in query.items()}


def describe_missing(linkedid: str, found: Mapping[str, Any]) -> str:
    """Why there is no call. found: the result of `call`."""
    files = f"; files that cannot be read: {', '.join(found['unreadable'])}" if "unreadable" in found else ""
    return f"the recorder has no call {linkedid} of server {found['server']}{files}"


def _value(name: str, text: str) -> Any:
    if name in NUMBERS:
        return number(text)
    if name == "limit":
        return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else text
    if name in FLAGS:
        return {"true": True, "1": True, "false": False, "0": False}.get(text, text)
    return text
