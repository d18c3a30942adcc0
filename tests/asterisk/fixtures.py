"""Real Asterisks for tests: `asterisk`, one for the whole session, and `own_asterisk`, to be broken at will.

Both are parametrised over the versions, so a test that takes one runs once a version and its id says which. Where a
version is not provisioned the test is skipped and says what to run; with AMID_REQUIRE_ASTERISK=1 it fails instead, so
that a machine that must have them cannot go green without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.asterisk.server import VERSIONS, Asterisk, missing_prerequisite
from tests.need import need


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"asterisk-{version}")
def asterisk_version(request: pytest.FixtureRequest) -> str:
    """Each version in turn, where it can be run; a skip or a failure where it cannot."""
    version: str = request.param
    need(missing_prerequisite(version), "ASTERISK")
    return version


@pytest.fixture(scope="session")
def asterisk(asterisk_version: str) -> Iterator[Asterisk]:
    """A running PBX that all tests share: leave it as it was found, and do not stop it."""
    server = Asterisk(asterisk_version)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_asterisk(asterisk_version: str) -> Iterator[Callable[[], Asterisk]]:
    """A factory of running PBXs of this test's own, which may be killed, stopped, restarted or frozen."""
    servers: list[Asterisk] = []

    def make() -> Asterisk:
        server = Asterisk(asterisk_version)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()
