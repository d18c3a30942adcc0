"""Every rule of a call, without a socket or a clock: requests, replies, and patience.

The daemon answers every call before its deadline, but a client must not hang when there is no daemon either. So a call has two
waits of its own: at most `HANDOVER` seconds until the request is with a broker (after that it is `unreachable`, and certainly not
sent), then the call's timeout and a `MARGIN` more for the answer (after that it is a timeout, and an action may have been carried
out).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from amid import wire
from amid.client import discovery
from amid.errors import AmidError, CallTimeout

log = logging.getLogger("amid.client")

Text = str | bytes
"""A name or value; bytes when it is not valid UTF-8."""
Value = Text | list[Text]
"""A header's value; a list when the header occurs more than once."""
Packet = dict[str, Any]

HANDOVER = 1.0
"""Seconds until a request must be with a broker."""
MARGIN = 1.0
"""Seconds an answer may come after the call's timeout, for the way to the broker and back."""
TIMEOUT = 5.0
"""Seconds a call may take unless its caller says otherwise; the daemon has the same default."""
LONGEST = 3600.0
"""The longest timeout of an action that the daemon accepts, in seconds."""


def no_broker(endpoint: str) -> AmidError:
    """Nobody at `endpoint` took the request over."""
    return AmidError("unreachable", f"no amid daemon answers at {endpoint}: {discovery.ADVICE}")


# ── calls ───────────────────────────────────────────────────────────────────────────────────────


class Call(NamedTuple):
    """A call before it is a request.

    patience: seconds to wait for its answer; acts: whether it may change something; on_behalf_of: the token, for the gateway;
    call_id: the request's id, when its caller has one, for `cancel`.
    """

    method: str
    params: dict[str, Any]
    patience: float
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
    call_id: str | None = None,
) -> Call:
    params = _known(action=name, fields={**(fields or {}), **headers}, server=server, timeout=timeout, until=until)
    return Call("action", params, _patience(timeout), acts=True, call_id=call_id)


def command(text: Text, server: str | None, timeout: float) -> Call:
    return action("Command", {"Command": text}, {}, server, timeout, None)


def output(result: Packet) -> list[Text]:
    lines: list[Text] = result["output"]
    return lines


def servers(timeout: float) -> Call:
    return Call("servers", {}, _patience(timeout))


def reached(listed: list[Packet], endpoint: str | None) -> list[Packet]:
    """What `servers` gave, for a client of `endpoint`: the daemon's address stands where its configuration has `*` on TCP."""
    address = (endpoint or "").rpartition(":")[0]
    if not address.startswith("tcp://"):
        return listed
    sockets = ("events", "stream")
    return [server | {name: server[name].replace("tcp://*", address) for name in sockets} for server in listed]


def status(timeout: float) -> Call:
    return Call("status", {}, _patience(timeout))


def actions(server: str | None, timeout: float) -> Call:
    return Call("actions", _known(server=server, timeout=timeout), _patience(timeout))


def replay(server: str, epoch: int, after: int, limit: int, timeout: float) -> Call:
    params = {"server": server, "epoch": epoch, "after": after, "limit": limit, "timeout": timeout}
    return Call("replay", params, _patience(timeout))


def restart(server: str, timeout: float) -> Call:
    return Call("restart", {"server": server}, _patience(timeout), acts=True)


def cancel(call_id: int | str, timeout: float = TIMEOUT, on_behalf_of: str | None = None) -> Call:
    """What ends the call whose request has this id, on the same connection."""
    return Call("cancel", {"id": call_id}, _patience(timeout), on_behalf_of=on_behalf_of)


def audit(after: int, limit: int, timeout: float) -> Call:
    return Call("audit", {"after": after, "limit": limit}, _patience(timeout))


def ping(timeout: float) -> Call:
    return Call("ping", {}, _patience(timeout))


def _known(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _patience(timeout: float) -> float:
    """A timeout that the daemon will refuse is refused soon, so its answer is worth waiting for."""
    sound = isinstance(timeout, int | float) and 0 < timeout <= LONGEST
    return (timeout if sound else TIMEOUT) + MARGIN


# ── requests and replies ────────────────────────────────────────────────────────────────────────


def call_id_in_use(call_id: str) -> AmidError:
    return AmidError("invalid_params", f"call_id {call_id!r} belongs to a call of this client that is still open")


def request(request_id: int | str, call: Call) -> list[bytes]:
    """The frames of a call's message, with the empty delimiter that a DEALER has to send itself.

    Raises `AmidError` of kind `invalid_params` for a value that has no place in a request, and of kind `invalid_request` for a
    request that is too large.
    """
    named = {} if call.on_behalf_of is None else {"on_behalf_of": call.on_behalf_of}
    try:
        params = _native(call.params)
        packed = wire.pack({"jsonrpc": "2.0", "id": request_id, "method": call.method, "params": params, **named})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AmidError("invalid_params", f"{call.method}: a value cannot be put into a request: {error}") from None
    if len(packed) > wire.MAX_REQUEST_BYTES:
        message = f"{call.method}: the request has {len(packed)} bytes; {wire.MAX_REQUEST_BYTES} are allowed"
        raise AmidError("invalid_request", message)
    return [b"", packed]


def _native(value: Any) -> Any:
    """Text whose odd bytes are lone surrogates, as it comes from argv or JSON, as the bytes that it stands for."""
    if isinstance(value, str):
        return value if value.isascii() or not _surrogates(value) else value.encode("utf-8", "surrogateescape")
    if isinstance(value, Mapping):
        return {_native(k): _native(v) for k, v in value.items()}
    return [_native(v) for v in value] if isinstance(value, list | tuple) else value


def _surrogates(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def reply(frames: list[bytes]) -> Packet | None:
    """The reply in a message, or None for one that is no reply: that peer is not amid."""
    try:
        value = wire.unpack(frames[-1])
    except Exception:  # msgpack has a family of them, all about the bytes
        value = None
    if isinstance(value, dict) and ("result" in value or isinstance(value.get("error"), dict)):
        return value
    log.warning("ignored a message of %d bytes that is no reply of amid", len(frames[-1]))
    return None


def outcome(answer: Packet) -> Any:
    """The result in a reply; an error there is raised as `AmidError`."""
    if "error" in answer:
        raise AmidError.of(answer["error"])
    return answer["result"]


def no_answer(call: Call, endpoint: str) -> CallTimeout:
    """The broker has the request and said nothing, although it promises to: it is stopped, or was replaced meanwhile."""
    what = f"{call.method} {call.params['action']!s}" if call.method == "action" else call.method
    text = f"the daemon at {endpoint} took {what} and gave no answer within {call.patience:g} s: see `amid status`"
    return CallTimeout("timeout", text, sent=call.acts, server=call.params.get("server"))
