"""A request on a subject: whether its caller still waits, whether the caller has the rights, and the
request for the broker.

NATS may deliver a request long after its caller has given up: what a client has written to its
socket, or to a server that hangs, arrives later. So a request carries its expiry in the header
`Amid-Expires`, in milliseconds since 1970 (the clocks must agree). A request that arrives later is
refused with `sent` false.

NATS does not name the sender of a message, but its permissions decide who may publish to which
subject. So a caller is identified by a prefix. The subject also names the action, and the body must
agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from amid import wire
from amid.bus.protocol.subjects import RpcSubject, parse_rpc, token
from amid.errors import AmidError
from amid.rpc.action_packet import client_params
from amid.rpc.policy import Rights, check_action, check_admin, check_history
from amid.rpc.requests import ActionParams, CallParams, CallsParams, Params, check_request, request_id

EXPIRES = "Amid-Expires"

ADMIN = ("restart", "audit")
"""Methods that need `admin`."""


class Caller(NamedTuple):
    """The sender of the requests with one prefix. lists_at, rights_at: the places of its lists, and
    of `admin` and `history`, in the configuration, such as `[callers.crm]`."""

    name: str
    lists_at: str
    rights_at: str
    rights: Rights


class Call(NamedTuple):
    """An accepted request. payload: the request for the broker."""

    method: str
    params: Params
    payload: bytes


def accept(subject: str, headers: Mapping[str, str], body: bytes, caller: Caller, now_ms: float, now: float) -> Call:
    """Check a request. Raises `AmidError`, always with `sent` false.

    now_ms: milliseconds since 1970. now: on the monotonic clock, for the broker, which may read the
    request later.
    """
    target = parse_rpc(subject)
    left_s = _left_s(headers, now_ms)
    value = wire.decode_request(body) if body else {"method": target.method}
    if isinstance(value, dict) and "on_behalf_of" in value:
        raise AmidError("denied", "`on_behalf_of` is for processes of amid's own Unix user")
    method, params, _, _ = check_request(value)
    _check_agreement(target, method, params)
    if method == "cancel":  # the broker would cancel calls of the bus's own connection
        raise AmidError("unknown_method", f"calls over NATS cannot be cancelled; they end at their {EXPIRES}")
    given = {**(value.get("params") or {}), **_check_rights(method, params, caller)}
    if target.server is not None and hasattr(params, "server"):
        given["server"] = target.server
    if left_s is not None and hasattr(params, "timeout"):
        given["timeout"] = min(params.timeout, left_s)
    if left_s is not None and isinstance(params, ActionParams):
        given["deadline"] = now + left_s
    request = {"id": request_id(value), "method": method, "params": given, "on_behalf_of": f"nats:{caller.name}"}
    return Call(method, params, wire.encode_reply(request, wire.is_json(body)))


def asked(subject: str, body: bytes) -> tuple[str, Params]:
    """The method and the params of a request that was denied, for the audit trail."""
    target = parse_rpc(subject)
    try:
        method, params, _, _ = check_request(wire.decode_request(body) if body else {"method": target.method})
    except AmidError:
        return target.method, Params()
    return method, replace(params, server=target.server) if hasattr(params, "server") else params


def refusal(body: bytes, error: AmidError) -> bytes:
    """The reply to a request that was not accepted, in the codec of the request."""
    try:
        name = request_id(wire.decode_request(body)) if body else None
    except AmidError:
        name = None
    return wire.encode_reply(wire.error(name, error), wire.is_json(body))


def too_large(reply: bytes, limit: int) -> bytes:
    """The error in place of a reply that NATS does not take in one message, in the codec of the
    reply."""
    as_json = wire.is_json(reply)
    name = request_id(wire.unpack_json(reply) if as_json else wire.unpack(reply))
    what = f"the answer has {len(reply)} bytes, over the {limit} that max_payload of nats-server permits; raise it, or ask for less"
    return wire.encode_reply(wire.error(name, AmidError("too_large", what, sent=True)), as_json)


def _left_s(headers: Mapping[str, str], now_ms: float) -> float | None:
    """Seconds until the expiry; None without the header."""
    given = headers.get(EXPIRES)
    if given is None:
        return None
    try:
        left_ms = int(given) - now_ms
    except (ValueError, OverflowError):
        raise AmidError("invalid_request", f"{EXPIRES} must be milliseconds since 1970, not {given[:40]!r}") from None
    if left_ms <= 0:
        what = f"the request arrived {-left_ms / 1000:.3f} s after its {EXPIRES}; was it delayed, or do the clocks differ?"
        raise AmidError("timeout", what)
    return left_ms / 1000


def _check_agreement(target: RpcSubject, method: str, params: Params) -> None:
    """NATS grants rights by subject, so the body must not name anything else."""
    _agree("method", target.method, method)
    named: Any = getattr(params, "server", None)
    if target.server is not None and named is not None:
        _agree("server", target.server, named)
    if target.action is not None and isinstance(params, ActionParams):
        _agree("action", target.action.lower(), token(params.action).lower())


def _agree(what: str, subject: str, body: str) -> None:
    if subject != body:
        raise AmidError("invalid_request", f"the subject names the {what} {subject!r}, but the body {body[:60]!r}")


def _check_rights(method: str, params: Params, caller: Caller) -> dict[str, Any]:
    """Raise `AmidError` of kind `denied` unless the caller may call the method. Return params to
    add."""
    lists = {caller.lists_at: caller.rights}
    if isinstance(params, CallsParams | CallParams):
        return {"masked": check_history(method, caller.name, caller.rights_at, caller.rights, params).masked}
    if method in ADMIN:
        check_admin(method, caller.name, caller.rights_at, caller.rights)
    elif isinstance(params, ActionParams):
        check_action(params.action, client_params(params).fields, caller.name, lists)
    elif method == "actions":
        check_action("ListCommands", {}, caller.name, lists)
    return {}
