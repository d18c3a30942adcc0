"""The arguments for which Asterisk requires another class than the action's own (main/manager.c,
`is_originate_app_permitted`, `function_capable_string_allowed_with_auths`).

Asterisk checks them against the session of the action, and amid's own session has the classes of
all users together. So the listener checks them against the user.
"""

from __future__ import annotations

from amid.manager.classes import BITS, SYSTEM
from amid.manager.manager import Upstream
from amid.manager.request_parser import Request

_APPLICATIONS = (b"agi", b"exec", b"externalivr", b"mixmonitor", b"originate", b"system")
_TEXTS = (b"EVAL", b"SHELL")
_NEW_APPLICATIONS = (*_APPLICATIONS, b"dbdeltree", b"reload")
_NEW_TEXTS = (*_TEXTS, b"CURL", b"DB", b"FILE", b"ODBC", b"REALTIME")
_QUEUE_AGI = 5
"""Position of the AGI argument of the application Queue."""
_QUOTES = frozenset(b'"([{\\')
"""Bytes that may make a comma part of an argument."""


def check_arguments(request: Request, write: int, upstream: Upstream) -> bytes:
    """The message with which an Asterisk refuses the arguments of an action to a user with the
    classes `write`; empty if it permits them."""
    if write & SYSTEM:
        return b""
    action = request.action.lower()
    if action == b"originate":
        return _check_originate(request, write, upstream.is_strict)
    if action == b"getvar" and _has_any(request.get(b"variable"), _TEXTS):
        return b"GetVar Access Forbidden: Variable"
    if action == b"status" and _has_any(request.get(b"variables"), _TEXTS):
        return b"Status Access Forbidden: Variables"
    return b""


def _check_originate(request: Request, write: int, is_strict: bool) -> bytes:
    application, data = request.get(b"application").lower(), request.get(b"data")
    if not application:
        return b""
    if is_strict:
        agi = b"queue" in application and not write & BITS[b"agi"] and _has_agi(data)
        if agi or _has_any(application, _NEW_APPLICATIONS) or _has_any(data, _NEW_TEXTS):
            return b"Originate Access Forbidden: app or data blacklisted"
    elif _has_any(application, _APPLICATIONS):
        return b"Originate Access Forbidden: Application"
    elif _has_any(data, _TEXTS):
        return b"Originate Access Forbidden: Data"
    return b""


def _has_agi(data: bytes) -> bool:
    """Whether the arguments of Queue name an AGI script. If commas may be quoted, any argument at
    that position or later counts."""
    arguments = data.split(b",")
    return any(arguments[_QUEUE_AGI:] if _QUOTES & set(data) else arguments[_QUEUE_AGI : _QUEUE_AGI + 1])


def _has_any(text: bytes, words: tuple[bytes, ...]) -> bool:
    return any(word in text for word in words)
