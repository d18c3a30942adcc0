"""The OpenAPI 3.1 description of the gateway, served at /openapi.json."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from amid import __version__
from amid.gateway.calls import STATUSES
from amid.rpc.requests import PARAMS, Params
from amid.wire import METHODS, STATE_KINDS, pack_json

Map = dict[str, Any]

ERROR: Map = {
    "type": "object",
    "required": ["code", "message", "data"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "data": {
            "type": "object",
            "required": ["kind", "sent"],
            "properties": {"kind": {"enum": sorted(STATUSES)}, "sent": {"type": "boolean"}},
        },
    },
}
REPLY: Map = {
    "type": "object",
    "required": ["jsonrpc", "id"],
    "properties": {"jsonrpc": {"const": "2.0"}, "id": {}, "result": {}, "error": {"$ref": "#/components/schemas/Error"}},
}
RESULT: Map = {
    "type": "object",
    "required": ["server", "action_id", "response", "events", "complete", "output", "elapsed"],
    "properties": {
        "server": {"type": "string"},
        "action_id": {"type": "string"},
        "response": {"$ref": "#/components/schemas/Packet"},
        "events": {"type": "array", "items": {"$ref": "#/components/schemas/Packet"}},
        "complete": {"oneOf": [{"$ref": "#/components/schemas/Packet"}, {"type": "null"}]},
        "output": {"type": "array", "items": {"type": "string"}},
        "until": {"$ref": "#/components/schemas/Packet"},
        "elapsed": {"type": "number"},
    },
}
TOO_LARGE: Map = {"413": {"description": "The body has over max_body_bytes", "content": {"application/json": {"schema": {}}}}}
VALUE: Map = {"type": ["string", "number", "boolean"]}
FIELDS: Map = {"type": "object", "additionalProperties": {"anyOf": [VALUE, {"type": "array", "items": VALUE}]}}
PACKET: Map = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


def _request(method: str) -> Map:
    """The schema of a JSON-RPC request, generated from the types that validate its parameters."""
    kind = PARAMS[method]
    needed = [name for name in kind.__struct_fields__ if name not in _optional(kind)]
    members = {
        "jsonrpc": {"const": "2.0"},
        "id": {"type": ["string", "number", "null"]},
        "method": {"const": method},
        "params": _ref(kind.__name__) if needed else {"anyOf": [_ref(kind.__name__), {"type": "null"}]},
    }
    return {"type": "object", "required": ["method", *(["params"] if needed else [])], "properties": members}


def _optional(kind: type[Params]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if not field.required}


def _params() -> Map:
    _, schemas = msgspec.json.schema_components(set(PARAMS.values()), ref_template="#/components/schemas/{name}")
    return dict(sorted(schemas.items()))


@cache
def document_json() -> bytes:
    """The document, encoded once because it can be requested without a token."""
    return pack_json(_document())


def _document() -> Map:
    return {
        "openapi": "3.1.0",
        "info": {"title": "amid", "version": __version__, "description": "RPC and events of Asterisk PBXs over HTTP."},
        "servers": [{"url": "./"}],  # relative to this document, also behind a proxy that adds a path
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": ERROR,
                "Reply": REPLY,
                "Result": RESULT,
                "Packet": PACKET,
                "Request": {"oneOf": [_request(method) for method in METHODS]},
                **_params(),
            },
        },
        "paths": {
            "/healthz": {"get": _operation("Whether the gateway answers", {"200": _json({"type": "object"})}, public=True)},
            "/readyz": {"get": _operation("Whether a server is up", _either(("200", "503"), {"type": "object"}), public=True)},
            "/rpc": {"post": _rpc()},
            "/v1/servers": {"get": _operation("The servers and their states", {"200": _json({"type": "array"}), **_errors()})},
            "/v1/status": {"get": _operation("The state of the daemon", {"200": _json({"type": "object"}), **_errors()})},
            "/v1/servers/{server}/actions": {"get": _actions()},
            "/v1/servers/{server}/actions/{action}": {"post": _action()},
            "/v1/servers/{server}/state": {"get": _state()},
            "/v1/state": {"get": _state_stream()},
            "/v1/calls": {"get": _recorded("calls", "Recorded calls that match")},
            "/v1/calls/{linkedid}": {"get": _recorded("call", "What happened to a call")},
            "/v1/samples": {"get": _operation("Samples of the last hour", {"200": _json({"type": "object"}), **_errors()})},
            "/v1/rights": {"get": _rights()},
            "/v1/events": {"get": _events()},
            "/metrics": {"get": _operation("For Prometheus", {"200": {"description": "", "content": {"text/plain": {}}}})},
        },
    }


def _rpc() -> Map:
    batch = {"type": "array", "items": {}, "minItems": 1, "maxItems": 100}  # an invalid item has an error in its place in the reply
    body = {"oneOf": [{"$ref": "#/components/schemas/Request"}, batch]}
    replies = {"oneOf": [_ref("Reply"), {"type": "array", "items": _ref("Reply")}]}
    errors = _either([str(status) for status in sorted(set(STATUSES.values()))], _ref("Reply"))
    made = _operation("A JSON-RPC 2.0 request, or a batch of them", {"200": _json(replies), **errors, **TOO_LARGE})
    return {**made, "requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def _action() -> Map:
    content = {kind: {"schema": FIELDS} for kind in ("application/json", "application/x-www-form-urlencoded")}
    made = _operation("Run an action whose fields are in the body", {"200": _json(_ref("Result")), **_errors(), **TOO_LARGE})
    timeout = _query("timeout", {"type": "number", "exclusiveMinimum": 0, "maximum": 3600, "default": 5})
    until = _query("until", {"type": "string", "minLength": 1})
    return {**made, "parameters": [_path("server"), _path("action"), timeout, until], "requestBody": {"content": content}}


def _actions() -> Map:
    command = {"type": "object", "required": ["name", "synopsis", "privilege"]}
    made = _operation("The actions that this Asterisk offers", {"200": _json({"type": "array", "items": command}), **_errors()})
    return {**made, "parameters": [_path("server")]}


def _recorded(method: str, summary: str) -> Map:
    """The query has the params of the method."""
    known = msgspec.json.schema_components([PARAMS[method]], ref_template="{name}")[1][PARAMS[method].__name__]["properties"]
    query = [_query(name, schema) for name, schema in known.items() if name != "linkedid"]
    responses = {"200": _json({"type": "object"}), **_errors()}
    if method == "calls":
        return {**_operation(summary, responses), "parameters": query}
    absent: Map = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    responses["404"] = {**_json({"anyOf": [absent, _ref("Error")]}), "description": "There is no such call, or no such server"}
    return {**_operation(summary, responses), "parameters": [_path("linkedid"), *query]}


def _events() -> Map:
    stream = {"200": {"description": "Server-Sent Events", "content": {"text/event-stream": {}}}}
    made = _operation("Events as Server-Sent Events, or over a WebSocket", {**stream, **_errors()})
    several = [_query(name, {"type": "array", "items": {"type": "string"}}) for name in ("server", "event", "where")]
    return {**made, "parameters": [*several, _query("after", {"type": "string"})]}


def _state() -> Map:
    made = _operation("The method state", {"200": _json({"type": "object"}), **_errors()})
    timeout = _query("timeout", {"type": "number", "exclusiveMinimum": 0, "maximum": 3600, "default": 5})
    return {
        **made,
        "parameters": [_path("server"), _kinds(), _query("where", {"type": "array", "items": {"type": "string"}}), timeout],
    }


def _state_stream() -> Map:
    stream = {"200": {"description": "Server-Sent Events", "content": {"text/event-stream": {}}}}
    made = _operation("The state of servers and its changes, as Server-Sent Events; `*` is every server", {**stream, **_errors()})
    return {**made, "parameters": [_query("server", {"type": "array", "items": {"type": "string"}}), _kinds()]}


def _rights() -> Map:
    made = _operation("The rights of the token, also for these actions", {"200": _json({"type": "object"}), **_errors()})
    return {**made, "parameters": [_query("action", {"type": "array", "maxItems": 100, "items": {"type": "string"}})]}


def _kinds() -> Map:
    return _query("kinds", {"type": "array", "items": {"enum": sorted({*STATE_KINDS, *STATE_KINDS.values()})}})


def _operation(summary: str, responses: Map, public: bool = False) -> Map:
    refused = {} if public else _either(("401", "403", "421", "429"), {"type": "object"})
    return {"summary": summary, "responses": {**refused, **responses}, **({"security": []} if public else {})}


def _errors() -> Map:
    return _either([str(status) for status in sorted(set(STATUSES.values()))], _ref("Error"))


def _either(statuses: Any, schema: Map) -> Map:
    return {status: _json(schema) for status in statuses}


def _json(schema: Map) -> Map:
    return {"description": "", "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> Map:
    return {"$ref": f"#/components/schemas/{name}"}


def _path(name: str) -> Map:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str, schema: Map) -> Map:
    return {"name": name, "in": "query", "schema": schema}
