"""Prints the table of results behind a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.languages.table import table

_OUTCOMES = pytest.StashKey[dict[tuple[str, str], bool]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    names = getattr(item, "callspec", None)
    if names is not None and {"language", "trial"} <= names.params.keys() and report.when != "teardown" and not report.skipped:
        cell = names.params["language"], names.params["trial"]
        outcomes = item.config.stash[_OUTCOMES]
        outcomes[cell] = outcomes.get(cell, True) and report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash[_OUTCOMES]
    if outcomes:
        terminalreporter.section("clients")
        terminalreporter.write_line(table(outcomes))
