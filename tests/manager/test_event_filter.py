"""Event filters and their regular expressions. The cases with criteria are those of Asterisk's own
test (main/manager.c)."""

from __future__ import annotations

import pytest

from amid.manager.event_filter import NOT_COMPILED, WRONG_FORMAT, EventFilter, EventFilters, FilterError
from amid.manager.posix_regex import PosixRegex, expanded_size

NEWCHANNEL = b"Event: Newchannel\r\nChannel: XXX\r\nSomeheader: YYY\r\n\r\n"
VARSET = b"Event: VarSet\r\nChannel: ABC\r\nSomeheader: XXX\r\n\r\n"


@pytest.mark.parametrize(
    ("criteria", "pattern", "event", "passes"),
    [
        (None, b"XXX", NEWCHANNEL, True),
        (None, b"!XXX", VARSET, False),
        (None, b"Event: New", NEWCHANNEL, True),
        (None, b"^Event: VarSet.Channel", VARSET, False),
        (b"name(VarSet),method(none)", b"", VARSET, True),
        (b"name(Newchannel),method(regex)", b"X[XYZ]X", NEWCHANNEL, True),
        (b"name(Newchannel),method(regex)", b"X[abc]X", NEWCHANNEL, False),
        (b"action(exclude),name(Newchannel),method(regex)", b"X[XYZ]X", NEWCHANNEL, False),
        (b"action(exclude),name(Newchannel),method(regex)", b"X[abc]X", NEWCHANNEL, True),
        (b"action(include),name(VarSet),header(Channel),method(starts_with)", b"AB", VARSET, True),
        (b"action(include),name(VarSet),header(Channel),method(ends_with)", b"BC", VARSET, True),
        (b"action(include),name(VarSet),header(Channel),method(exact)", b"ABC", VARSET, True),
        (b"action(include),name(VarSet),header(Channel),method(exact)", b"XXX", VARSET, False),
        (b"name(VarSet),header(Channel),method(exact)", b"!ZZZ", VARSET, True),
        (b"action(exclude),name(VarSet),header(Channel),method(exact)", b"ZZZ", VARSET, True),
        (b"action(include),name(VarSet),header(Someheader),method(exact)", b"!XXX", VARSET, True),
        (b"name(VarSet)", b"", NEWCHANNEL, False),
        (b"header(Nothing)", b"", NEWCHANNEL, False),
        (b"method(contains)", b"meheader: Y", NEWCHANNEL, True),
    ],
)
def test_filters(criteria: bytes | None, pattern: bytes, event: bytes, passes: bool) -> None:
    assert EventFilters([EventFilter(pattern, criteria)]).passes(event) == passes


@pytest.mark.parametrize(
    ("criteria", "pattern", "error"),
    [
        *[(criteria, b"", WRONG_FORMAT) for criteria in (b"action(include", b"action(inlude", b"name", b"name(")],
        *[
            (criteria, b"XXX", WRONG_FORMAT)
            for criteria in (b"nnnn(yyy", b"eader(VarSet", b"ethod(contains", b"method(yyy)", b" ", b"")
        ],
        (b"name(yyy),header(VarSet),method(coains", b"XXX", WRONG_FORMAT),
        (b"name(VarSet)", b"XXX", WRONG_FORMAT),
        (b"name(VarSet),method(regex)", b"", WRONG_FORMAT),
        (b"action(include)", b"", WRONG_FORMAT),
        (None, b"", WRONG_FORMAT),
        (None, b"!", WRONG_FORMAT),
        (None, b"XX[X", NOT_COMPILED),
        (b"method(regex)", b"XX[X", NOT_COMPILED),
    ],
)
def test_invalid_filters(criteria: bytes | None, pattern: bytes, error: bytes) -> None:
    with pytest.raises(FilterError) as refused:
        EventFilter(pattern, criteria)
    assert refused.value.message == error


def test_including_and_excluding_filters() -> None:
    filters = EventFilters([EventFilter(b"Event: (Newchannel|VarSet)"), EventFilter(b"!Channel: ABC")])
    assert [filters.passes(event) for event in (NEWCHANNEL, VARSET, b"Event: Hangup\r\n\r\n")] == [True, False, False]


@pytest.mark.parametrize(
    ("pattern", "text"), [(b"[[:digit:]]{2}", b"a42"), (b"a|b", b"xb"), (b"(a+)+$", b"aaa"), (b"a{,2}b", b"b")]
)
def test_expressions_of_the_c_library(pattern: bytes, text: bytes) -> None:
    assert PosixRegex(pattern).matches(text) and not PosixRegex(pattern).matches(b"...")


@pytest.mark.parametrize(
    "pattern",
    [rb"(a*)\1", rb"\\\2", b"((a{1,255}){1,255}){1,255}", b"a{501}", b"(" * 30 + b"a" + b"+)" * 30, b"[", b"(", b"a\0b"],
)
def test_expressions_that_could_stop_the_listener_are_refused(pattern: bytes) -> None:
    with pytest.raises(ValueError, match="expression"):
        PosixRegex(pattern)


def test_an_escaped_backslash_before_a_digit_is_not_a_back_reference() -> None:
    assert PosixRegex(rb"a\\1").matches(rb"a\1")


def test_an_expression_on_which_re_backtracks() -> None:
    assert not PosixRegex(b"^(a+)+$").matches(b"a" * 5000 + b"b")


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        (b"abc", 3),
        (b"[]a+{9}]", 1),
        (b"[[:alpha:]+]x", 2),
        (rb"\+\(", 2),
        (b"a+", 2),
        (b"(ab)*", 3),
        (b"((a+)+)+", 14),
        (b"(ab){1,4}c", 16),
        (b"a{,7}", 8),
        (b")((a", 2),
    ],
)
def test_the_size_of_an_expression(pattern: bytes, size: int) -> None:
    assert expanded_size(pattern) == size


def test_a_byte_that_is_not_utf8_matches() -> None:
    assert PosixRegex(b"^a.b$").matches(b"a\xffb")
