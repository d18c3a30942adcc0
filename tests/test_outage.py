"""Failures that repeat: which of them are logged."""

from __future__ import annotations

import logging

import pytest

from amid import outage
from amid.outage import no_events

log = logging.getLogger("amid.client")


class Time:
    """In the place of the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(outage, "time", made)
    return made


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_failures_within_the_grace_are_not_logged(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    tried = no_events(log, "pbx1", 10.0)
    for _ in range(3):
        tried.failed("amid is ending")
        time.now += 9.9
        tried.failed("amid is ending")
        assert tried.lasts
        tried.succeeded()
        assert not tried.lasts
    assert messages(caplog) == []


def test_a_failure_that_lasts_is_logged_once_and_so_is_its_end(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    tried = no_events(log, "pbx1", 10.0)
    for _ in range(5):
        tried.failed("timeout")
        time.now += 5.0
    assert messages(caplog) == ["pbx1: no events, retrying: timeout"]
    tried.succeeded()
    tried.succeeded()
    assert messages(caplog)[1:] == ["pbx1: events resumed"]
