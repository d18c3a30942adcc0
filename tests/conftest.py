"""What every test can ask for: a daemon in front of whatever it names, and real Asterisks (tests/asterisk)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon import Daemon

pytest_plugins = ["tests.asterisk.fixtures"]

StartDaemon = Callable[..., Daemon]


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
