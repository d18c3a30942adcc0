"""Fixtures for all tests: a daemon with any configuration, and real Asterisks (tests/asterisk)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.daemon import Daemon

pytest_plugins = ["tests.asterisk.fixtures", "tests.languages.outcomes", "tests.turns"]

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would their children
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each of a thousand daemons compiles amid again

settings.register_profile("amid", deadline=None)  # how long an example takes depends on what else the machine does
settings.load_profile("amid")

StartDaemon = Callable[..., Daemon]


@pytest.fixture(scope="session", autouse=True)
def state_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Daemons without a state_dir use a temporary one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report skipped tests, one line for each reason."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    if skipped:
        terminalreporter.section("skipped")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count} tests: {reason}")


def _reason(report: pytest.TestReport) -> str:
    """The reason of a skip; pytest keeps it as (file, line, text)."""
    return str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.fixture
def daemon_for(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartDaemon]:
    """`daemon_for({"pbx1": {...}}, start=True, **tables)`: a daemon of the test's own, ended after it."""
    started: list[Daemon] = []

    def start(servers: dict[str, dict[str, Any]], *, start: bool = True, **tables: Any) -> Daemon:
        directory: Path = tmp_path_factory.mktemp("amid")
        daemon = Daemon(directory, servers, **tables)
        started.append(daemon)
        return daemon.start() if start else daemon

    yield start
    for daemon in started:
        daemon.close()
