"""Every error that amid returns: its kind, its JSON-RPC code, and whether Asterisk may have
received the action.

Every error carries `sent`, because a retried Originate may be a second phone call. False: Asterisk
never received the action, so retrying is safe. True: it may have run. amid itself never sends an
action twice.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    "cancelled": 10,
}
"""Error kind to JSON-RPC error code."""

MAX_SHOWN_LENGTH = 60
"""Characters of a wrong value that an error message shows."""

_DETAILS = ("server", "action_id", "response", "packets")
"""Optional members of an error's `data`."""


class AmidError(Exception):
    """A failed call.

    Attributes:
        kind: one of the contract (clients/README.md, Errors), such as `denied`, or `unreachable`
            when the client library cannot reach a daemon.
        message: what happened, to what, and what to do.
        sent: False when Asterisk never received the action; True when it may have run.
        server: name of the server, if known.
        action_id: ActionID of the action, if it has one.
        response: Asterisk's response, header name to text: for `action_failed`, and for other
            kinds if Asterisk had answered and only the `until` event was missing.
        packets: for `action_failed` with `raw`, the packets of the answer in place of `response`.
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
        packets: list[bytes] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.sent = sent
        self.server = server
        self.action_id = action_id
        self.response = response
        self.packets = packets

    def data(self) -> dict[str, Any]:
        """The `data` member of the JSON-RPC error: `kind`, `sent`, and the details that are known."""
        known = {name: getattr(self, name) for name in _DETAILS}
        return {"kind": self.kind, "sent": self.sent, **{k: v for k, v in known.items() if v is not None}}

    @staticmethod
    def of(error: dict[str, Any]) -> AmidError:
        """The exception for the `error` object of a JSON-RPC reply."""
        data = error.get("data") or {}
        kind = data.get("kind", "internal_error")
        known = {k: data[k] for k in _DETAILS if k in data}
        chosen = _CLASSES.get(kind, AmidError)
        return chosen(kind, str(error.get("message", kind)), sent=bool(data.get("sent", True)), **known)


class ActionFailed(AmidError):
    """Asterisk answered `Response: Error`; `response` is its packet."""


class CallTimeout(AmidError, TimeoutError):
    """The call timed out. `sent` says whether Asterisk may still run the action."""


def unknown_server(name: str, servers: Iterable[str]) -> AmidError:
    """The error for a name that is none of the configured servers."""
    return AmidError("unknown_server", f"there is no server {name[:MAX_SHOWN_LENGTH]!r}; {configured_servers(servers)}")


def configured_servers(servers: Iterable[str]) -> str:
    """The end of an error message: the servers that could have been named."""
    return f"configured servers: {', '.join(servers) or 'none'}"


_CLASSES: dict[str, type[AmidError]] = {"action_failed": ActionFailed, "timeout": CallTimeout}
