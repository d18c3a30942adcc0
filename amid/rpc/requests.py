"""Requests: the method's name and its params, checked before anything else happens.

Every refusal names the member and what was expected. A request without `id` is answered too, with
`id` null: a REQ socket without an answer would hang.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta, inspect

from amid.errors import MAX_SHOWN_LENGTH, AmidError, configured_servers, unknown_server
from amid.rpc.type_words import describe_type, suggest_key
from amid.wire import MAX_ITEMS, METHODS, STATE_KINDS

Timeout = Annotated[float, Meta(gt=0, le=3600, description="a number of seconds, over 0 and at most 3,600")]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1, description="a whole number from 0 to 2^63 - 1")]
"""Every language and MessagePack can represent it."""

DEFAULT_PULL_LIMIT = 1000
"""Default limit of events in one answer to `events`."""
DEFAULT_PULL_TIMEOUT_S = 25.0
"""Default time for which `events` waits for an event."""
MAX_NAMES = 100
"""Event names in one request."""

MAX_ID_BYTES = 64
"""An `id` stays in memory until the answer is read."""
MAX_UNTIL_LENGTH = 256
"""Characters. `until` stays in memory until its event comes."""
MAX_ON_BEHALF_LENGTH = 64
"""Characters of `on_behalf_of`."""


Scalar = str | int | float | bool


EventName = Annotated[
    str,
    Meta(
        pattern=r"^[^\r\n\x00]+\Z",
        max_length=MAX_UNTIL_LENGTH,
        description=f"1 to {MAX_UNTIL_LENGTH} characters of text, without line ends",
    ),
]


EventNames = Annotated[
    list[Annotated[str, Meta(pattern=r"^[^\r\n\x00\ud800-\udfff]+\Z", max_length=MAX_UNTIL_LENGTH)]],  # no bytes but UTF-8
    Meta(min_length=1, max_length=MAX_NAMES, description=f"a list of 1 to {MAX_NAMES} names of events, in UTF-8"),
]


_KIND_NAMES = sorted({*STATE_KINDS, *STATE_KINDS.values()})
Kinds = Annotated[
    list[Annotated[str, Meta(pattern=rf"^({'|'.join(_KIND_NAMES)})\Z")]],
    Meta(min_length=1, max_length=len(_KIND_NAMES), description=f"a list of some of {', '.join(STATE_KINDS.values())}"),
]
"""Kinds of state, in the singular or plural."""
WireId = Annotated[str, Meta(pattern=r"^amid-[0-9a-f]{32}\Z", description="`amid-` and 32 hexadecimal digits")]
"""An ActionID that Asterisk sees, as from `amid.ami.session.new_action_id`."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The params of a method without any, and the base of all others."""


class ServerParams(Params, frozen=True, kw_only=True):
    server: str | None = None


class TimedParams(ServerParams, frozen=True, kw_only=True):
    timeout: Timeout = 5.0


class ActionParams(TimedParams, frozen=True):
    action: str
    fields: dict[Any, Any] = {}
    until: EventName | None = None
    raw: bool = False
    lines: list[Any] | None = None
    action_id: WireId | None = None
    deadline: Annotated[float, Meta(description="monotonic seconds")] | None = None


class Cursor(msgspec.Struct, forbid_unknown_fields=True):
    """A position: after event number `seq` of `epoch`. rev: after which change, where the events are
    changes of state."""

    epoch: Natural
    seq: Natural
    rev: Natural | None = None


class EventsParams(ServerParams, frozen=True):
    after: Annotated[Cursor, Meta(description="a map of `epoch` and `seq`, both whole numbers, or null")] | None = None
    names: EventNames | None = None
    kinds: Kinds | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = DEFAULT_PULL_LIMIT
    timeout: Annotated[float, Meta(ge=0, le=3600, description="a number of seconds from 0 to 3,600")] = DEFAULT_PULL_TIMEOUT_S


class StateParams(TimedParams, frozen=True):
    kinds: Kinds | None = None
    where: Annotated[
        dict[str, Scalar] | list[str] | str | None,
        Meta(description='a condition such as "state=Up", a list of them, a map of member to value, or null'),
    ] = None


LONGEST_EXTENSION = 5
"""Maximum digits of an extension of the PBX. Such a number is compared completely and never masked;
longer numbers are compared by their last digits."""
Seconds1970 = Annotated[float, Meta(ge=0, le=1e11, description="seconds since 1970")]
Text = Annotated[str, Meta(min_length=1, max_length=255, description="1 to 255 characters of text")]
Number = Annotated[
    str, Meta(pattern=r"[^+]", max_length=255, description="a number or an extension: 1 to 255 characters, not only plus signs")
]
"""Asterisk has text in the place of numbers too: `anonymous`, an extension `sales`, a SIP user."""
Outcome = Literal["answered", "voicemail", "abandoned", "busy", "no answer", "failed", "cancelled", "unknown"]
EndedBy = Literal["caller", "callee", "agent", "pbx", "restart"]


class CallsParams(TimedParams, frozen=True):
    since: Seconds1970 | None = None
    until: Seconds1970 | None = None
    number: Number | None = None
    name: Text | None = None
    queue: Text | None = None
    agent: Text | None = None
    ended_by: EndedBy | None = None
    outcome: Outcome | None = None
    lost: bool = False
    longer: Annotated[float, Meta(ge=0, description="a number of seconds")] | None = None
    shorter: Annotated[float, Meta(ge=0, description="a number of seconds")] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    masked: bool = False


class CallParams(TimedParams, frozen=True):
    linkedid: Text | None = None
    number: Number | None = None
    at: Seconds1970 | None = None
    all: bool = False
    masked: bool = False


class CancelParams(Params, frozen=True, kw_only=True):
    id: Annotated[str | int | float, Meta(description="text or a number")]


class AuditParams(Params, frozen=True, kw_only=True):
    after: Natural = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


PARAMS: dict[str, type[Params]] = {
    "action": ActionParams,
    "servers": Params,
    "status": Params,
    "actions": TimedParams,
    "events": EventsParams,
    "state": StateParams,
    "calls": CallsParams,
    "call": CallParams,
    "cancel": CancelParams,
    "audit": AuditParams,
    "restart": ServerParams,
    "ping": Params,
}


class _PlainActionParams(ActionParams, frozen=True):
    fields: dict[str, Scalar | list[Scalar]] = {}


class Envelope(msgspec.Struct, tag_field="method", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of a request beside method and params.

    Unknown members are ignored, but may be malformed, which msgspec does not check. So a request
    with any is not decoded in one step.
    """

    id: Annotated[str, Meta(max_length=MAX_ID_BYTES // 4)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | None = None
    jsonrpc: Literal["2.0"] = "2.0"
    on_behalf_of: Annotated[str, Meta(min_length=1, max_length=MAX_ON_BEHALF_LENGTH)] | None = None


def _envelope(method: str) -> Any:
    params = _PlainActionParams if method == "action" else PARAMS[method]
    required = any(field.required for field in msgspec.structs.fields(params))
    members = [("params", params)] if required else [("params", params, params())]
    return msgspec.defstruct(method, members, bases=(Envelope,), tag=method, frozen=True, kw_only=True)


_VALID: Any = Union[tuple(map(_envelope, METHODS))]  # noqa: UP007
_DECODE_JSON = msgspec.json.Decoder(_VALID).decode
_DECODE_MSGPACK = msgspec.msgpack.Decoder(_VALID).decode

Request = tuple[str, Params, Any, str | None]
"""Method, params, id, and the token that the gateway sent it for."""


def decode_valid(payload: bytes, as_json: bool) -> Request | None:
    """A valid request, decoded in one step.

    None for any other. `wire.decode_request` and `check_request` then explain it, or decode it if
    its bytes are not UTF-8.
    """
    if len(payload) > MAX_ITEMS:  # those count its items
        return None
    try:
        found: Any = (_DECODE_JSON if as_json else _DECODE_MSGPACK)(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return type(found).__name__, found.params, found.id, found.on_behalf_of


_KINDS = {
    dict: "a map", list: "a list", str: "text", bytes: "bytes", bool: "true or false", type(None): "null", int: "a number",
    float: "a number",
}  # fmt: skip


def request_id(value: Any) -> Any:
    """The `id` of a decoded request; None if missing or unusable."""
    found = value.get("id") if isinstance(value, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return found if len(str(found).encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES else None


def on_behalf_of(value: dict[str, Any]) -> str | None:
    """The token that the gateway sent the request for, or None.

    Raises `AmidError` of kind `invalid_request`.
    """
    name = value.get("on_behalf_of")
    if name is None or (isinstance(name, str) and 0 < len(name) <= MAX_ON_BEHALF_LENGTH):
        return name
    raise AmidError("invalid_request", f"`on_behalf_of` must be text of 1 to {MAX_ON_BEHALF_LENGTH} characters, not {_kind(name)}")


def check_request(value: Any) -> Request:
    """Validate a request that `wire.decode_request` has decoded: its text can be encoded again.

    Raises `AmidError` of kind `invalid_request`, `unknown_method` or `invalid_params`.
    """
    if isinstance(value, list):
        raise AmidError("invalid_request", "batches are not supported: send each request as its own message")
    if not isinstance(value, dict):
        raise AmidError("invalid_request", f"a request is a map with `method` and `params`, not {_kind(value)}")
    if value.get("jsonrpc", "2.0") != "2.0":
        raise AmidError("invalid_request", '`jsonrpc` must be "2.0" or left out')
    if "id" in value and value["id"] is not None and request_id(value) is None:
        what = "a longer one" if type(value["id"]) in (str, int) else _kind(value["id"])
        raise AmidError("invalid_request", f"`id` must be text or a number of at most {MAX_ID_BYTES} bytes, or null, not {what}")
    method = value.get("method")
    if not isinstance(method, str):
        raise AmidError("invalid_request", f"`method` must be text, one of {', '.join(METHODS)}")
    if method not in PARAMS:
        raise AmidError("unknown_method", f"there is no method {method[:60]!r}; the methods are {', '.join(METHODS)}")
    return method, _params(method, value.get("params")), request_id(value), on_behalf_of(value)


def choose_server(name: str | None, servers: Collection[str]) -> str:
    """The server that a request means. The name may be omitted if there is only one server.

    Raises `AmidError` of kind `invalid_params` or `unknown_server`.
    """
    if name is None and len(servers) == 1:
        return next(iter(servers))
    if name is None:
        raise AmidError("invalid_params", f"`server` is missing; {configured_servers(servers)}")
    if name not in servers:
        raise unknown_server(name, servers)
    return name


def _params(method: str, params: Any) -> Params:
    if params is not None and not isinstance(params, dict):
        raise AmidError("invalid_params", f"the params of {method} must be a map, not {_kind(params)}")
    try:
        return msgspec.convert(params or {}, PARAMS[method])
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise AmidError("invalid_params", f"{method}: {_complaint(PARAMS[method], params or {})}") from None


def _complaint(kind: type[Params], params: dict[Any, Any]) -> str:
    """The first fault of params that are not of this kind."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in params:
        if name not in fields:
            shown = str(name)[:MAX_SHOWN_LENGTH].encode("utf-8", "backslashreplace").decode()
            return f"there is no param `{shown}`{suggest_key(shown, list(fields)) if fields else '; it takes none'}"
    missing = [name for name, field in fields.items() if field.required and name not in params]
    if missing:
        return f"`params.{missing[0]}` is missing"
    wrong = next(name for name in params if not _fits(params[name], fields[name].type))
    return f"`params.{wrong}` must be {describe_type(inspect.type_info(fields[wrong].type))}"


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "an extension type")
