"""Languages that tests require, and a daemon for all tests of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.daemon import Daemon
from tests.languages.harness import missing_prerequisite
from tests.need import need
from tests.processes.pbx import simulated, table


@pytest.fixture
def needs() -> Callable[[str], None]:
    """`needs(language)` skips a test when that language is not provisioned, or fails it where languages are required."""

    return lambda language: need(missing_prerequisite(language), "LANGUAGES")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with simulated() as pbx, closing(Daemon(tmp_path_factory.mktemp("amid"), {"pbx1": table(pbx)})) as daemon:
        yield daemon.start()
