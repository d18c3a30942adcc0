"""Names on NATS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.bus.protocol.subjects import MAX_TOKEN_LENGTH, RpcSubject, Subjects, parse_rpc, token
from amid.errors import AmidError

SUBJECTS = Subjects("amid")


def test_the_subjects_are_as_documented() -> None:
    assert SUBJECTS.event("pbx1", "Hangup") == "amid.event.pbx1.Hangup"
    assert SUBJECTS.event("pbx1", "amid:gap") == "amid.event.pbx1.amid:gap"
    assert SUBJECTS.events("pbx1") == "amid.event.pbx1.>"
    assert SUBJECTS.tick("pbx1") == "amid.tick.pbx1"
    assert SUBJECTS.stream("pbx1") == "AMID_pbx1"
    assert SUBJECTS.rpc("pbx1") == "amid.rpc.pbx1.>"
    assert SUBJECTS.rpc("pbx1", "crm") == "amid-crm.rpc.pbx1.>"
    assert SUBJECTS.rpc_of_instance("status") == "amid.rpc.status"
    assert (SUBJECTS.owners, SUBJECTS.servers) == ("amid-owners", "amid-servers")


@pytest.mark.parametrize("name", ["a.b", "*", ">", "a b", "Gr\xfc\xdfe", "", "x\r\nPUB y 0", "\udcfc"])
def test_a_name_that_is_not_a_token_becomes_one(name: str) -> None:
    assert set(token(name)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:-")
    assert token(name)


@given(st.text())
def test_any_name_becomes_one_token(name: str) -> None:
    subject = SUBJECTS.event("pbx1", name)
    assert subject.isascii() and subject.count(".") == 3 and not set(" \t\r\n*>") & set(subject)
    assert len(token(name)) <= MAX_TOKEN_LENGTH


@pytest.mark.parametrize(
    ("subject", "parsed"),
    [
        ("amid.rpc.pbx1.ping", RpcSubject("pbx1", "ping")),
        ("amid.rpc.pbx1.action.QueueStatus", RpcSubject("pbx1", "action", "QueueStatus")),
        ("amid-crm.rpc.pbx1.action.Ping", RpcSubject("pbx1", "action", "Ping")),
        ("amid.rpc.status", RpcSubject(None, "status")),
        ("amid.rpc.pbx1.status", RpcSubject("pbx1", "status")),
    ],
)
def test_a_request_subject_names_server_method_and_action(subject: str, parsed: RpcSubject) -> None:
    assert parse_rpc(subject) == parsed


@pytest.mark.parametrize("subject", ["amid.rpc.pbx1.action", "amid.rpc.pbx1.ping.more", "amid.rpc", "amid.rpc.ping"])
def test_other_subjects_are_refused(subject: str) -> None:
    with pytest.raises(AmidError, match="not the subject of a request") as caught:
        parse_rpc(subject)
    assert (caught.value.kind, caught.value.sent) == ("invalid_request", False)
