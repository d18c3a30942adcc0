"""Every error that amid gives to a caller: its kind, its JSON-RPC code, and whether Asterisk may have seen the action.

`sent` is the word that matters to a dialer. False: Asterisk never saw the action, and trying again is safe. True: it may have been
carried out, so a second try may be a second phone call. amid itself never sends an action twice.
"""

from __future__ import annotations

from typing import Any

CODES = {
    "parse_error": -32700,
    "invalid_request": -32600,
    "unknown_method": -32601,
    "invalid_params": -32602,
    "internal_error": -32603,
    "action_failed": 1,
    "timeout": 2,
    "not_connected": 3,
    "connection_lost": 4,
    "busy": 5,
    "denied": 6,
    "unknown_server": 7,
    "too_large": 8,
    "gone": 9,
    "cancelled": 10,
}
"""Error kind -> JSON-RPC error code."""

_DETAILS = ("server", "action_id", "response", "oldest")
"""The members of an error's `data` that are there when they are known."""


class AmidError(Exception):
    """A call that did not end well.

    kind: a key of `CODES`, or `unreachable` when the client library found no daemon to talk to.
    sent: False when Asterisk certainly never saw the action; True when it may have carried it out.
    server, action_id: where and under which ActionID, when that is known.
    response: Asterisk's own packet for `action_failed`, a map from header name to text.
    oldest: with `gone`, the first number of that epoch that `replay` still has, when there is one.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        sent: bool = False,
        server: str | None = None,
        action_id: str | None = None,
        response: dict[Any, Any] | None = None,
        oldest: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.sent = sent
        self.server = server
        self.action_id = action_id
        self.response = response
        self.oldest = oldest

    def data(self) -> dict[str, Any]:
        """The `data` member of the JSON-RPC error: `kind`, `sent`, and what else is known."""
        known = {name: getattr(self, name) for name in _DETAILS}
        return {"kind": self.kind, "sent": self.sent, **{k: v for k, v in known.items() if v is not None}}

    @staticmethod
    def of(error: dict[str, Any]) -> AmidError:
        """The exception for a JSON-RPC `error` object, as the client library raises it."""
        data = error.get("data") or {}
        kind = data.get("kind", "internal_error")
        known = {k: data[k] for k in _DETAILS if k in data}
        chosen = _CLASSES.get(kind, AmidError)
        return chosen(kind, str(error.get("message", kind)), sent=bool(data.get("sent", True)), **known)


class ActionFailed(AmidError):
    """Asterisk answered `Response: Error`; `response` has its packet."""


class CallTimeout(AmidError, TimeoutError):
    """The call's deadline passed. `sent` tells whether Asterisk may still carry the action out."""


_CLASSES: dict[str, type[AmidError]] = {"action_failed": ActionFailed, "timeout": CallTimeout}
