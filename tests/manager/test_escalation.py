"""Arguments that require another class than their action. tests/listener compares them with
Asterisk."""

from __future__ import annotations

import pytest

from amid.manager.classes import ALL, BITS
from amid.manager.escalation import check_arguments
from amid.manager.manager import Upstream
from amid.manager.request_parser import Request

ORIGINATE = BITS[b"originate"]
OLD, NEW = Upstream(release=(20, 8)), Upstream(release=(22, 1))


def originate(application: bytes, data: bytes = b"") -> Request:
    return Request([b"Action: Originate", b"application:  " + application, b"Data: " + data, b"Application: NoOp"])


@pytest.mark.parametrize(
    ("application", "data", "old", "new"),
    [
        (b"NoOp", b"x", b"", b""),
        (b"TrySystem", b"ls", b"Application", b"app or data blacklisted"),
        (b"EAGI", b"", b"Application", b"app or data blacklisted"),
        (b"NoOp", b"${SHELL(ls)}", b"Data", b"app or data blacklisted"),
        (b"NoOp", b"${shell(ls)}", b"", b""),
        (b"NoOp", b"${FILE(/etc/passwd)}", b"", b"app or data blacklisted"),
        (b"DBdeltree", b"x", b"", b"app or data blacklisted"),
        (b"Queue", b"q,,,,60", b"", b""),
        (b"Queue", b"q,,,,,script", b"", b"app or data blacklisted"),
        (b"Queue", b"q,,,,,,gosub", b"", b""),
        (b"Queue", b'"q,q",,,,,script', b"", b"app or data blacklisted"),
        (b"Queue", b"(q,q),,,,,script", b"", b"app or data blacklisted"),
    ],
)
def test_originate(application: bytes, data: bytes, old: bytes, new: bytes) -> None:
    for upstream, reason in ((OLD, old), (NEW, new)):
        message = check_arguments(originate(application, data), ORIGINATE, upstream)
        assert message == (b"Originate Access Forbidden: " + reason if reason else b"")
    assert check_arguments(originate(application, data), ALL, NEW) == b""


@pytest.mark.parametrize(
    ("release", "is_certified", "is_strict"),
    [((16, 28), False, False), ((18, 24), False, True), ((20, 8), False, False), ((20, 9), False, True), ((20, 7), True, True),
     ((19, 99), False, False), ((22, 0), False, True), ((23, 0), False, True)],
)  # fmt: skip
def test_strict_releases(release: tuple[int, int], is_certified: bool, is_strict: bool) -> None:
    assert Upstream(release=release, is_certified=is_certified).is_strict == is_strict


def test_the_class_agi_permits_the_script_of_a_queue() -> None:
    request = originate(b"Queue", b"q,,,,,script")
    assert check_arguments(request, ORIGINATE | BITS[b"agi"], NEW) == b""


@pytest.mark.parametrize("upstream", [OLD, NEW])
def test_variables_that_run_a_shell(upstream: Upstream) -> None:
    getvar = Request([b"Action: Getvar", b"Variable: SHELL(ls)"])
    status = Request([b"Action: Status", b"Variables: A,EVAL(x)"])
    assert check_arguments(getvar, BITS[b"reporting"], upstream) == b"GetVar Access Forbidden: Variable"
    assert check_arguments(status, BITS[b"reporting"], upstream) == b"Status Access Forbidden: Variables"
    assert check_arguments(Request([b"Action: Getvar", b"Variable: A"]), BITS[b"reporting"], upstream) == b""
