"""Each kind of PBX in turn, a daemon in front of it, and a phone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.pbx import NAMES, SERVER, Pbx, running
from tests.daemon import Daemon, eventually


@pytest.fixture(scope="session", params=NAMES)
def pbx(request: pytest.FixtureRequest) -> Iterator[Pbx]:
    with running(request.param) as pbx:
        yield pbx


@pytest.fixture(scope="session")
def daemon(pbx: Pbx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon shared by the tests of one PBX, which restore its state."""
    everything = {"allow": ["*: *"], "admin": True}
    daemon = Daemon(tmp_path_factory.mktemp("amid"), {SERVER: pbx.table}, callers__local=everything)
    try:
        yield daemon.start()
    finally:
        daemon.close()


class Phone:
    """Makes calls through amid."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def call(self, exten: str) -> str:
        """Puts an answered call into an extension of context `calls`, and gives the name of its channel there."""
        fields = {"Channel": "Local/answer@calls/n", "Context": "calls", "Exten": exten, "Priority": 1, "Async": True}
        answered = self.daemon.action("Originate", fields, until="OriginateResponse")["until"]
        assert answered["Response"] == "Success", answered
        channel: str = answered["Channel"]
        return channel

    def channels(self) -> list[dict[str, Any]]:
        channels: list[dict[str, Any]] = self.daemon.action("CoreShowChannels")["events"]
        return channels

    def hang_up_all(self) -> None:
        def silence() -> bool:
            self.daemon.action("Hangup", {"Channel": "/^Local/"})
            return not self.channels()

        eventually(silence, "no channels are left")


@pytest.fixture
def phone(daemon: Daemon) -> Iterator[Phone]:
    """A phone whose calls end with the test."""
    yield Phone(daemon)
    Phone(daemon).hang_up_all()


_numbers = itertools.count(1)


@pytest.fixture
def mark() -> str:
    """A word that no other test uses."""
    return f"mark{next(_numbers)}"
