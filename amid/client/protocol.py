"""The rules of a call, without sockets or clocks: requests, replies, and how long a client waits.

The daemon answers every call before its deadline, but a client must not hang when the daemon does
not answer. A call therefore has two timeouts of its own. Until a broker has received the request:
`HANDOVER_S`, then the call fails with `unreachable`, and Asterisk never received the action. For
the reply: the call's timeout plus `MARGIN_S`, then the call fails with `timeout`, and the action
may have run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from amid import wire
from amid.client import discovery
from amid.client.results import Packet, Server, Text
from amid.errors import AmidError, CallTimeout
from amid.wire import STATE_KINDS

log = logging.getLogger("amid.client")

HANDOVER_S = 1.0
"""Seconds for a request to reach a broker."""
MARGIN_S = 1.0
"""Seconds added to the call's timeout for the transport of request and reply."""
TIMEOUT = 5.0
"""Default timeout of a call in seconds; the daemon has the same default."""
STATE_TIMEOUT = 10.0
"""Default timeout of `state`: the daemon loads the lists of a PBX at the first request."""
LARGE_BYTES = 128 * 1024
"""Size of a reply from which it is decoded with msgspec, at twice the speed: a page of events, a long list."""
MAX_TIMEOUT_S = 3600.0
"""The longest timeout of an action that the daemon accepts, in seconds."""


ADVICE = {
    "ipc": discovery.ADVICE,
    "tcp": (
        "check that listen in [rpc] of the daemon has this address, that the daemon's public key is right, "
        "and that a key in [callers.NAME] is this client's public key"
    ),
}
"""What to do when no daemon answers, by the transport of its endpoint."""


def no_broker(endpoint: str) -> AmidError:
    """No broker at `endpoint` received the request."""
    advice = ADVICE.get(endpoint.partition("://")[0], "an endpoint is tcp://HOST:PORT or ipc://PATH")
    return AmidError("unreachable", f"no amid daemon answers at {endpoint}: {advice}")


# ── calls ───────────────────────────────────────────────────────────────────────────────────────


class Call(NamedTuple):
    """A call before it is encoded as a request.

    client_timeout_s: how long the client waits for the reply. acts: whether the call may change
    something. on_behalf_of: the token that the gateway calls for. call_id: the request id if the
    caller chose one, for `cancel`.
    """

    method: str
    params: dict[str, Any]
    client_timeout_s: float
    acts: bool = False
    on_behalf_of: str | None = None
    call_id: str | None = None


def action(
    name: Text,
    fields: Mapping[str, Any] | None,
    headers: Mapping[str, Any],
    server: str | None,
    timeout: float,
    until: str | None,
    raw: bool = False,
    call_id: str | None = None,
) -> Call:
    asked = {"server": server, "timeout": timeout, "until": until, "raw": raw or None}
    params = _known(action=name, fields={**(fields or {}), **headers}, **asked)
    return Call("action", params, _client_timeout_s(timeout), acts=True, call_id=call_id)


def command(text: Text, server: str | None, timeout: float) -> Call:
    return action("Command", {"Command": text}, {}, server, timeout, None)


def servers(timeout: float) -> Call:
    return Call("servers", {}, _client_timeout_s(timeout))


def with_reachable_endpoints(listed: list[Server], endpoint: str | None) -> list[Server]:
    """Replace `*` in the endpoints of `servers` by the address of the daemon, for a client that is
    connected over TCP."""
    address = (endpoint or "").rpartition(":")[0]
    if not address.startswith("tcp://"):
        return listed
    for server in listed:
        server["events"] = server["events"].replace("tcp://*", address)
        server["stream"] = server["stream"].replace("tcp://*", address)
    return listed


def status(timeout: float) -> Call:
    return Call("status", {}, _client_timeout_s(timeout))


def actions(server: str | None, timeout: float) -> Call:
    return Call("actions", _known(server=server, timeout=timeout), _client_timeout_s(timeout))


def events(server: str, after: Mapping[str, int] | None, names: list[str], limit: int | None, timeout: float) -> Call:
    params = _known(server=server, after=after, names=names or None, limit=limit, timeout=timeout)
    return Call("events", params, timeout + MARGIN_S)


def state(server: str | None, kinds: list[str] | None, where: Mapping[str, Any] | list[str] | str | None, timeout: float) -> Call:
    return Call("state", _known(server=server, kinds=kinds, where=where, timeout=timeout), _client_timeout_s(timeout))


def changes(
    server: str | None, after: Mapping[str, int] | None, kinds: list[str] | None, limit: int | None, timeout: float
) -> Call:
    named = list(STATE_KINDS.values()) if kinds is None else kinds
    return Call("events", _known(server=server, after=after, kinds=named, limit=limit, timeout=timeout), timeout + MARGIN_S)


def calls(asked: Mapping[str, Any], timeout: float) -> Call:
    return Call("calls", _known(**asked, timeout=timeout), _client_timeout_s(timeout))


def recorded_call(asked: Mapping[str, Any], timeout: float) -> Call:
    return Call("call", _known(**asked, timeout=timeout), _client_timeout_s(timeout))


def restart(server: str, timeout: float) -> Call:
    return Call("restart", {"server": server}, _client_timeout_s(timeout), acts=True)


def cancel(call_id: int | str, timeout: float = TIMEOUT, on_behalf_of: str | None = None) -> Call:
    """Cancel the call whose request has this id, on the same connection."""
    return Call("cancel", {"id": call_id}, _client_timeout_s(timeout), on_behalf_of=on_behalf_of)


def audit(after: int, limit: int, timeout: float) -> Call:
    return Call("audit", {"after": after, "limit": limit}, _client_timeout_s(timeout))


def ping(timeout: float) -> Call:
    return Call("ping", {}, _client_timeout_s(timeout))


def _known(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _client_timeout_s(timeout: float) -> float:
    """How long a client waits for a reply. An invalid timeout gets the default: the daemon's error
    comes at once."""
    sound = isinstance(timeout, int | float) and 0 < timeout <= MAX_TIMEOUT_S
    return (timeout if sound else TIMEOUT) + MARGIN_S


# ── requests and replies ────────────────────────────────────────────────────────────────────────


def call_id_in_use(call_id: str) -> AmidError:
    return AmidError("invalid_params", f"call_id {call_id!r} belongs to a call of this client that is still open")


def request(request_id: int | str, call: Call) -> list[bytes]:
    """The frames of a request, with the empty delimiter that a DEALER has to add.

    Raises `AmidError` of kind `invalid_params` for a value that cannot be encoded, and of kind
    `invalid_request` for a request that is too large.
    """
    named = {} if call.on_behalf_of is None else {"on_behalf_of": call.on_behalf_of}
    try:
        params = _native(call.params)
        packed = wire.pack({"jsonrpc": "2.0", "id": request_id, "method": call.method, "params": params, **named})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AmidError("invalid_params", f"{call.method}: a value cannot be put into a request: {error}") from None
    if len(packed) > wire.MAX_REQUEST_BYTES:
        message = f"{call.method}: the request has {len(packed)} bytes; the limit is {wire.MAX_REQUEST_BYTES}"
        raise AmidError("invalid_request", message)
    return [b"", packed]


def _native(value: Any) -> Any:
    """Replace text that contains lone surrogates, as from argv or JSON, by the bytes that it stands
    for."""
    if isinstance(value, str):
        return value if value.isascii() or not _surrogates(value) else value.encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return {_native(k): _native(v) for k, v in value.items()}
    return [_native(v) for v in value] if isinstance(value, list | tuple) else value


def _surrogates(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def reply(frames: list[bytes]) -> Packet | None:
    """Decode a reply; None for a message that is not one. It fails no call, since it belongs to no
    known call."""
    try:
        value = _decode(frames[-1])
    except Exception:  # msgpack has a family of them, all about the bytes
        value = None
    if isinstance(value, dict) and ("result" in value or "error" in value):
        return value
    log.warning("ignored a message of %d bytes that is not a reply of amid", len(frames[-1]))
    return None


def _decode(reply: bytes) -> Any:
    if len(reply) < LARGE_BYTES:
        return wire.unpack(reply)
    import msgspec  # here, since the import takes longer than most programs with small replies

    try:
        return msgspec.msgpack.decode(reply)
    except ValueError:  # the request had an id that is not UTF-8
        return wire.unpack(reply)


def unwrap(answer: Packet) -> Any:
    """The result in a reply. Raises the error in a reply as `AmidError`."""
    if "result" in answer:
        return answer["result"]
    if not isinstance(answer["error"], dict):
        raise AmidError("internal_error", f"invalid reply from the daemon: {str(answer)[:200]}", sent=True)
    raise AmidError.of(answer["error"])


def closed(call: Call) -> AmidError:
    """The error of a call whose client was closed."""
    return AmidError("cancelled", f"the client was closed while {_describe(call)} was open", sent=call.acts)


def reply_to_closed(call: Call) -> Packet:
    """The error of `closed`, as a reply."""
    return wire.error(None, closed(call))


def no_answer(call: Call, endpoint: str) -> CallTimeout:
    """The error of a request that a broker received but did not answer in time. The broker is
    stopped or was replaced."""
    waited = f"gave no answer within {call.client_timeout_s:g} s: see `amid status`"
    text = f"the daemon at {endpoint} took {_describe(call)} and {waited}"
    return CallTimeout("timeout", text, sent=call.acts, server=call.params.get("server"))


def _describe(call: Call) -> str:
    return f"{call.method} {call.params['action']!s}" if call.method == "action" else call.method
