"""Times as people type them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from amid.cli.when import parse

NOW = "2026-11-27 14:30:00"


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("today", "2026-11-27 00:00:00"),
        ("yesterday", "2026-11-26 00:00:00"),
        ("2h", "2026-11-27 12:30:00"),
        ("3d", "2026-11-24 14:30:00"),
        ("14:03", "2026-11-27 14:03:00"),
        ("23:15:30", "2026-11-26 23:15:30"),
        ("2026-11-01", "2026-11-01 00:00:00"),
        ("2026-11-01 08:00", "2026-11-01 08:00:00"),
        ("2026-11-01T08:00:01", "2026-11-01 08:00:01"),
    ],
)
def test_what_is_meant(text: str, meant: str) -> None:
    assert parse(text, datetime.fromisoformat(NOW).timestamp()) == datetime.fromisoformat(meant).timestamp()


@pytest.mark.parametrize("text", ["", "noon", "25:00", "2026-13-01", "5x", "-1h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text, 0.0)


@pytest.mark.parametrize(
    ("now", "meant"), [("00:10", "-1 00:30"), ("00:45", "00:30"), ("01:10", "00:30"), ("01:45", "01:30"), ("02:10", "01:30")]
)
def test_the_hour_that_the_clock_shows_twice(now: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of summer time in Berlin, the clock shows 02:30 at 00:30 and at 01:30 UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    day = "2026-10-24" if meant.startswith("-1 ") else "2026-10-25"
    expected = datetime.fromisoformat(f"{day}T{meant[-5:]}:00+00:00").timestamp()
    assert parse("02:30", datetime.fromisoformat(f"2026-10-25T{now}:00+00:00").timestamp()) == expected
