"""Prints the table of results after a run: a plugin, because the main process of pytest-xdist reads
no conftest.py in subdirectories."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.languages.table import table

CELL = "language and trial"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    names = getattr(item, "callspec", None)
    if names is not None and {"language", "trial"} <= names.params.keys():
        report.user_properties.append((CELL, (names.params["language"], names.params["trial"])))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes: dict[tuple[str, str], bool] = {}
    for report in [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, ())]:
        for language, trial in [value for name, value in getattr(report, "user_properties", ()) if name == CELL]:
            outcomes[language, trial] = outcomes.get((language, trial), True) and report.passed
    if outcomes:
        terminalreporter.section("clients")
        terminalreporter.write_line(table(outcomes))
