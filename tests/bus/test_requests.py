"""Requests on subjects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amid import wire
from amid.bus.protocol.requests import Caller, accept, asked, refusal, too_large
from amid.bus.rpc_responder import callers_by_prefix
from amid.config.tables import Caller as Rights
from amid.errors import AmidError

NOW_MS = 1_795_000_000_000.0
NOW = 5000.0
ALL = Caller("nats", "[callers.local]", "[callers.local]", Rights())
CRM = Caller("crm", "[callers.crm]", "[callers.crm]", Rights(allow=["Ping", "QueueStatus"], deny=["QueuePause"]))
PING = "amid.rpc.pbx1.action.Ping"


def body_of(method: str, **params: Any) -> bytes:
    return json.dumps({"id": 7, "method": method, "params": params}).encode()


def request(subject: str, body: bytes, caller: Caller = ALL, **headers: str) -> dict[str, Any]:
    """The request for the broker."""
    call = accept(subject, {name.replace("_", "-"): value for name, value in headers.items()}, body, caller, NOW_MS, NOW)
    found: dict[str, Any] = wire.decode_request(call.payload)
    return found


def refused(subject: str, body: bytes, caller: Caller = ALL, **headers: str) -> AmidError:
    with pytest.raises(AmidError) as caught:
        request(subject, body, caller, **headers)
    assert caught.value.sent is False
    return caught.value


def test_the_server_of_the_subject_becomes_a_param() -> None:
    found = request(PING, body_of("action", action="Ping"))
    assert found["id"] == 7
    assert found["params"] == {"action": "Ping", "server": "pbx1"}
    assert found["on_behalf_of"] == "nats:nats"


def test_an_empty_body_requests_the_method_of_the_subject() -> None:
    assert request("amid.rpc.pbx1.ping", b"")["method"] == "ping"
    assert request("amid.rpc.status", b"")["params"] == {}


def test_a_request_in_messagepack_is_forwarded_in_messagepack() -> None:
    body = wire.pack({"id": "a", "method": "action", "params": {"action": "Ping", "fields": {"A": b"\xfc"}}})
    call = accept(PING, {}, body, ALL, NOW_MS, NOW)
    assert not wire.is_json(call.payload)
    assert wire.decode_request(call.payload)["params"]["fields"]["A"] in (b"\xfc", "\udcfc")


@pytest.mark.parametrize("late_ms", [0, 1, 60_000])
def test_an_expired_request_fails_with_timeout_and_sent_false(late_ms: int) -> None:
    error = refused(PING, body_of("action", action="Ping"), Amid_Expires=str(int(NOW_MS) - late_ms))
    assert error.kind == "timeout"


def test_the_timeout_ends_at_the_expiry() -> None:
    """A call in the queue must not be sent after its caller has given up."""
    expires = str(int(NOW_MS) + 2000)
    assert request(PING, body_of("action", action="Ping"), Amid_Expires=expires)["params"]["timeout"] == 2.0
    params = request(PING, body_of("action", action="Ping", timeout=1), Amid_Expires=expires)["params"]
    assert (params["timeout"], params["deadline"]) == (1, NOW + 2.0)
    assert request("amid.rpc.pbx1.events", b"", Amid_Expires=expires)["params"]["timeout"] == 2.0


@pytest.mark.parametrize(
    ("subject", "body", "kind"),
    [
        (PING, body_of("action", action="QueueStatus"), "invalid_request"),
        (PING, body_of("action", action="Ping", server="pbx2"), "invalid_request"),
        (PING, body_of("servers"), "invalid_request"),
        ("amid.rpc.pbx1.servers", body_of("action", action="Originate"), "invalid_request"),
        (PING, b"{", "parse_error"),
        (PING, b"[]", "invalid_request"),
        ("amid.rpc.pbx1.nothing", b"", "unknown_method"),
        ("amid.rpc.pbx1.cancel", json.dumps({"method": "cancel", "params": {"id": 7}}).encode(), "unknown_method"),
        (PING, json.dumps({"method": "action", "params": {"action": "Ping"}, "on_behalf_of": "x"}).encode(), "denied"),
    ],
)
def test_a_body_that_disagrees_with_its_subject_is_refused(subject: str, body: bytes, kind: str) -> None:
    assert refused(subject, body).kind == kind


def test_the_case_of_an_action_is_ignored_as_in_asterisk() -> None:
    assert request("amid.rpc.pbx1.action.ping", body_of("action", action="Ping"))["params"]["action"] == "Ping"


@pytest.mark.parametrize("given", ["soon", "9" * 400])
def test_an_expiry_that_is_not_a_time_is_refused(given: str) -> None:
    assert refused(PING, body_of("action", action="Ping"), Amid_Expires=given).kind == "invalid_request"


def test_a_caller_has_its_own_lists() -> None:
    subject = "amid-crm.rpc.pbx1.action."
    assert request(subject + "Ping", body_of("action", action="Ping"), CRM)["on_behalf_of"] == "nats:crm"
    for action in ("QueuePause", "Originate"):
        error = refused(subject + action, body_of("action", action=action), CRM)
        assert error.kind == "denied" and "[callers.crm]" in error.message


def test_a_guarded_target_needs_a_rule_of_its_own() -> None:
    fields = {"Channel": "Local/1@x", "Application": "System", "Data": "id"}
    assert refused("amid.rpc.pbx1.action.Originate", body_of("action", action="Originate", fields=fields)).kind == "denied"


@pytest.mark.parametrize("method", ["restart", "audit"])
def test_administration_needs_admin(method: str) -> None:
    assert refused(f"amid.rpc.pbx1.{method}", b"").kind == "denied"
    admin = Caller("ops", "[callers.ops]", "[callers.ops]", Rights(admin=True))
    assert request(f"amid-ops.rpc.pbx1.{method}", b"", admin)["method"] == method


def test_the_lines_of_an_action_are_checked_like_its_fields() -> None:
    shown = Caller("ops", "[callers.ops]", "[callers.ops]", Rights(allow=["Command: core show *"]))
    subject = "amid-ops.rpc.pbx1.action.Command"
    assert request(subject, body_of("action", action="Command", raw=True, lines=["Command: core show version"]), shown)
    assert refused(subject, body_of("action", action="Command", raw=True, lines=["Command: core stop now"]), shown).kind == "denied"


@pytest.mark.parametrize("own", [{"action_id": "amid-" + 32 * "0"}, {"deadline": 1e9}])
def test_params_of_processes_of_amid_are_refused(own: dict[str, Any]) -> None:
    assert refused(PING, body_of("action", action="Ping", **own)).kind == "denied"


def test_a_caller_without_a_prefix_is_told_to_use_one() -> None:
    """`history` and `admin` of callers.local do not apply to it."""
    nobody = callers_by_prefix({"local": Rights(history=True, admin=True)})[""]
    for method in ("calls", "restart"):
        error = refused(f"amid.rpc.pbx1.{method}", b"", nobody)
        assert error.kind == "denied" and 'a table [callers.NAME] with nats = "NAME"' in error.message
        assert "[callers.local]" not in error.message


@pytest.mark.parametrize("method", ["calls", "call"])
def test_recorded_calls_need_history(method: str) -> None:
    body = body_of(method, number="100")
    assert refused(f"amid.rpc.pbx1.{method}", body).kind == "denied"
    masked, clear = (Caller("ops", "[callers.ops]", "[callers.ops]", Rights(history=history)) for history in ("masked", True))
    assert request(f"amid-ops.rpc.pbx1.{method}", body, masked)["params"]["masked"] is True
    assert not request(f"amid-ops.rpc.pbx1.{method}", body, clear)["params"]["masked"]


def test_a_refusal_is_in_the_codec_of_the_request() -> None:
    error = AmidError("denied", "no")
    assert json.loads(refusal(body_of("ping"), error)) == wire.error(7, error)
    assert wire.unpack(refusal(wire.pack({"id": 8, "method": "ping"}), error)) == wire.error(8, error)
    assert json.loads(refusal(b"{", error))["id"] is None


def test_a_reply_that_is_too_large_for_nats_becomes_an_error() -> None:
    for encode, decode in ((wire.pack_json, wire.unpack_json), (wire.pack, wire.unpack)):
        answer = decode(too_large(encode(wire.result(9, "x" * 100)), 50))
        assert (answer["id"], answer["error"]["data"]) == (9, {"kind": "too_large", "sent": True})


@pytest.mark.parametrize("body", [b"", b"no request", body_of("action"), b'{"method": "restart", "on_behalf_of": "x"}'])
def test_the_audit_trail_has_the_method_and_server_of_any_denied_request(body: bytes) -> None:
    method, params = asked("amid.rpc.pbx1.restart", body)
    assert (method, getattr(params, "server", "pbx1")) == ("restart", "pbx1")
