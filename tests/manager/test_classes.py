"""Classes in lists, masks and `Privilege` headers."""

from __future__ import annotations

import pytest

from amid.manager.classes import ALL, BITS, SYSTEM, parse_classes, parse_event_mask, parse_privilege, unknown_classes

CALL, AGENT, SECURITY = BITS[b"call"], BITS[b"agent"], BITS[b"security"]


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        (b"call", CALL),
        (b"system,call", SYSTEM | CALL),
        (b"all", ALL),
        (b"none", 0),
        (b"", 0),
        (b"system, call", SYSTEM),
        (b"Call", 0),
        (b"cal", 0),
        (b"s,call", SYSTEM | SECURITY | CALL),
        (b",call", ALL),
        (b"nothing", 0),
    ],
)
def test_lists(text: bytes, classes: int) -> None:
    assert parse_classes(text) == classes


def test_a_trailing_comma() -> None:
    assert parse_classes(b"call,") == CALL


def test_unknown_classes() -> None:
    assert unknown_classes(b"system, call,all,none") == [b" call"]


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        *[(word, ALL) for word in (b"on", b"On", b"yes", b"true", b"y", b"T", b"all", b"2147483647")],
        *[(word, 0) for word in (b"off", b"no", b"FALSE", b"n", b"f", b"0", b"none", b"what")],
        (b"", None),
        (b"1", SYSTEM),
        (b"3", SYSTEM | CALL),
        (b"262144", SECURITY),
        (b"2147483648", None),
        (b"99999999999999999999", None),
        (b"call,agent", CALL | AGENT),
    ],
)
def test_event_masks(text: bytes, mask: int | None) -> None:
    assert parse_event_mask(text) == mask


def test_only_all_includes_an_unknown_class() -> None:
    required = parse_privilege(b"call,newclass,all")
    assert required & ALL == required and required & CALL and required & (parse_classes(b"call,system,") | CALL) != required
    assert parse_privilege(b"system,all") == SYSTEM and parse_privilege(b"<none>") == 0
