"""Plain AMI sessions and prepared calls for the facts about Asterisk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.asterisk.raw import Raw, call, eventually
from tests.asterisk.server import Asterisk


@pytest.fixture
def session(asterisk: Asterisk) -> Iterator[Raw]:
    """A session with events off."""
    with Raw(asterisk) as raw:
        yield raw


@pytest.fixture
def listener(asterisk: Asterisk) -> Iterator[Raw]:
    """A session with events on."""
    with Raw(asterisk, events="on") as raw:
        yield raw


@pytest.fixture
def channel(session: Raw) -> Iterator[str]:
    """The name of a channel of a call that lasts for the whole test."""
    yield call(session, "answer")
    session.ask("Hangup", Channel="/^Local/")
    eventually(lambda: len(session.ask("CoreShowChannels")) == 2)


@pytest.fixture(scope="module")
def stage(asterisk: Asterisk) -> Iterator[dict[str, str]]:
    """Data for every list: a conference, a parked call, a database entry; and their names."""
    with Raw(asterisk) as raw:
        raw.ask("DBPut", Family="facts", Key="one", Val="1")
        names = {"<channel>": call(raw, "conf")}
        call(raw, "park")
        eventually(lambda: len(raw.ask("ParkedCalls")) > 2)
        eventually(lambda: len(raw.ask("ConfbridgeListRooms")) > 2)
        names["<bridge>"] = raw.ask("BridgeList")[1]["BridgeUniqueid"] or ""
        yield names
        raw.ask("Hangup", Channel="/^Local/")
        raw.ask("DBDelTree", Family="facts")
        eventually(lambda: len(raw.ask("CoreShowChannels")) == 2)
