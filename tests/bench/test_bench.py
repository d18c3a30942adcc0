"""The benchmarks are correct: the arithmetic of the limits, and one run of the sections that need
no peer."""

from __future__ import annotations

import pytest

from tests.bench import answers, recorder, start
from tests.bench.growth import _linear
from tests.bench.setting import Bar, Section, percentile
from tests.bench.traffic import packets, wide_packets


@pytest.mark.parametrize(
    ("measured", "at_most", "met"), [(2.0, True, True), (2.1, True, False), (1.9, False, False), (2.0, False, True)]
)
def test_a_limit_is_met_or_not(measured: float, at_most: bool, met: bool) -> None:
    bar = Bar("x", measured, 2, at_most)
    assert bar.met == met and str(bar).startswith("met " if met else "NOT MET ")


def test_percentiles_are_calculated() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 51, 100, 100]


def test_growth_faster_than_linear_fails() -> None:
    assert _linear("x", "y", [(1, 10.0), (10, 19.0), (100, 109.0)]).measured == 1
    assert not _linear("x", "y", [(1, 10.0), (10, 19.0), (100, 400.0)]).met


def test_a_section_is_printed_as_a_table_and_as_json() -> None:
    section = Section("Title", ("who", "figure"), [("a", 1234.5), ("bc", 0.125)], [Bar("x", 1, 2)])
    assert "| a   | 1,234  |" in section.text() and "| bc  | 0.12   |" in section.text()
    assert section.data()["bars"][0]["met"] is True


def test_the_events_are_as_long_as_those_of_a_real_asterisk() -> None:
    events = packets(2000)
    assert 380 <= sum(map(len, events)) / len(events) <= 450
    assert len({event.split(b"\r\n")[0] for event in events}) >= 15


def test_wide_events_have_520_bytes_and_22_headers() -> None:
    events = wide_packets(100)
    assert 510 <= sum(map(len, events)) / len(events) <= 530
    assert {event.count(b"\r\n") for event in events} == {23}


@pytest.mark.alone
def test_start_is_measured() -> None:
    section = start.section(1)
    *times, memory = section.bars
    assert all(bar.measured > 0 for bar in times) and memory.met, section.text()


@pytest.mark.alone
def test_large_answers_are_measured_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BESIDE", 100)
    monkeypatch.setattr(answers, "LISTS", (10, 1000, 10_000))
    monkeypatch.setattr(answers, "COMMANDS", (10, 1000, 10_000))
    assert len(answers.section(1).rows) == 6


def test_requests_to_recorded_days_are_measured() -> None:
    section = recorder.requests(3000)
    assert (len(section.rows), len(section.bars)) == (4, 3)
