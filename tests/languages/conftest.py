"""Prints the table of results behind a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.languages.harness import why_not
from tests.languages.table import table
from tests.need import need

_OUTCOMES = pytest.StashKey[dict[tuple[str, str], bool]]()


@pytest.fixture
def needs() -> Callable[[str], None]:
    """`needs(language)` skips a test when that language is not provisioned, or fails it where languages are required."""

    return lambda language: need(why_not(language), "LANGUAGES")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    names = getattr(item, "callspec", None)
    tried = report.failed or (report.passed and report.when == "call")
    if tried and names is not None and {"language", "trial"} <= names.params.keys():
        cell = names.params["language"], names.params["trial"]
        outcomes = item.config.stash[_OUTCOMES]
        outcomes[cell] = outcomes.get(cell, True) and report.passed
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash[_OUTCOMES]
    if outcomes:
        terminalreporter.section("clients")
        terminalreporter.write_line(table(outcomes))
