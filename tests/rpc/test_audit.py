"""The audit trail records caller, action and outcome, hides secrets, and cannot be flooded by a
caller."""

from __future__ import annotations

from typing import Any

from amid.rpc.audit import MAX_PER_WINDOW, WINDOW_S, AuditedRequest, AuditTrail, target_of
from amid.rpc.requests import ActionParams

NOW = 1000.0


def asked(action: str = "Ping", principal: str = "uid:1000", **fields: Any) -> AuditedRequest:
    return AuditedRequest("crm", principal, "action", ActionParams(action=action, fields=fields), NOW)


def add(trail: AuditTrail, one: AuditedRequest, now: float = NOW + 0.5) -> bool:
    return trail.add(one, "pbx1", "denied", False, now, 1.8e9) is not None


def test_a_record_has_caller_action_server_and_duration() -> None:
    trail = AuditTrail()
    add(trail, asked("Originate", Channel="Local/1@sales", Exten="1", Context="sales", Priority="1"))
    (record,) = trail.after(0, 10)
    assert (record.caller, record.principal, record.action, record.server) == ("crm", "uid:1000", "Originate", "pbx1")
    assert (record.outcome, record.sent, record.elapsed) == ("denied", False, 0.5)
    assert "1@sales" in record.target


def test_the_target_of_a_plain_action() -> None:
    assert target_of(asked("Hangup", Channel="PJSIP/100-01").params) == "PJSIP/100-01"


def test_no_secret_is_in_a_target() -> None:
    target = target_of(asked("Command", Command="database put x secret: s3cr3t-word").params)
    assert "s3cr3t-word" not in target and "***" in target


def test_a_flood_of_records_is_counted_and_keeps_others() -> None:
    trail = AuditTrail()
    assert sum(add(trail, asked()) for _ in range(MAX_PER_WINDOW + 50)) == MAX_PER_WINDOW
    assert add(trail, asked(principal="key:boss"))
    assert trail.left_out == 50
    assert add(trail, asked(), NOW + 0.5 + WINDOW_S)
    assert [record.left_out for record in trail.after(MAX_PER_WINDOW + 1, 10)] == [50]


def test_records_are_returned_in_pages() -> None:
    trail = AuditTrail()
    for _ in range(5):
        add(trail, asked())
    assert [record.seq for record in trail.after(2, 2)] == [3, 4]


def test_the_target_of_an_action_in_lines() -> None:
    params = ActionParams(action="Command", raw=True, lines=[b"Command: core show version"])
    assert target_of(params) == "core show version"
