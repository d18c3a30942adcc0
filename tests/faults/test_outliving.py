"""Calls outlive a reader: queued calls of a hanging reader are answered by the next one, and only
open actions are lost.

Measured with the default supervision, from SIGSTOP to the first answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.asterisk.server import Asterisk
from tests.conftest import StartDaemon
from tests.daemon import Daemon, eventually
from tests.faults.faults import row
from tests.faults.world import READER, SERVER
from tests.processes.caller import Caller
from tests.processes.process import stop

pytestmark = pytest.mark.alone

LANES = 4
QUEUED = 50
PROMISED_S = 3.0
"""Seconds from the stop of a reader to the first answer."""


@pytest.fixture
def asterisk_and_daemon(own_asterisk: Callable[[], Asterisk], daemon_for: StartDaemon) -> tuple[Asterisk, Daemon]:
    asterisk = own_asterisk()
    table = {"host": asterisk.host, "port": asterisk.port, "username": asterisk.username, "secret": asterisk.secret, "lanes": LANES}
    return asterisk, daemon_for({SERVER: table})


@pytest.fixture
def daemon(asterisk_and_daemon: tuple[Asterisk, Daemon]) -> Daemon:
    return asterisk_and_daemon[1]


@pytest.fixture
def caller(daemon: Daemon) -> Iterator[Caller]:
    with Caller(daemon) as caller:
        yield caller


def lanes(daemon: Daemon) -> tuple[int, int]:
    """(busy, queued)."""
    view = daemon.server(SERVER)
    return view["lanes"]["busy"], view["queued"]


@row("reader", "SIGSTOP, every lane taken, calls waiting", "Queued calls are answered by the next reader; the others are lost")
def test_queued_calls_survive_a_reader_and_open_actions_are_lost(daemon: Daemon, caller: Caller) -> None:
    """A synchronous Originate that is never answered occupies each lane."""
    slow = {"Channel": "Local/noanswer@calls/n", "Application": "Wait", "Data": 1, "Timeout": 30_000}
    in_flight = [caller.action("Originate", slow, timeout=40) for _ in range(LANES)]
    eventually(lambda: lanes(daemon) == (LANES, 0), "every lane is taken")
    queued = [caller.action("Ping", {"ActionID": f"queued-{n}"}, timeout=10) for n in range(QUEUED)]
    eventually(lambda: lanes(daemon) == (LANES, QUEUED), "the others wait")
    stop(daemon.pid(READER))
    since = time.monotonic()
    answers = [caller.result(number)["response"]["ActionID"] for number in queued]
    print(f"\nall {QUEUED} that waited were answered {time.monotonic() - since:.2f} s after SIGSTOP")
    assert answers == [f"queued-{n}" for n in range(QUEUED)]
    assert {caller.failure(number) for number in in_flight} == {("connection_lost", True)}


@row("reader", "SIGSTOP, and the first call after it", "It is answered within 3 s by the next reader")
def test_a_stopped_reader_is_replaced_in_time(daemon: Daemon, caller: Caller) -> None:
    """Of calls that begin before the hang is noticed, at most as many as there are free lanes are
    lost, with `sent: true`."""
    stop(daemon.pid(READER))
    since = time.monotonic()
    numbers = {caller.action("Ping", timeout=10) for _ in range(QUEUED)}
    reply = caller.next()
    while "error" in reply:
        assert reply["error"]["data"]["kind"] == "connection_lost", reply
        numbers.remove(reply["id"])
        reply = caller.next()
    seconds = time.monotonic() - since
    print(f"\nthe first answer came {seconds:.2f} s after SIGSTOP")
    assert seconds < PROMISED_S
    numbers.remove(reply["id"])
    assert len(numbers) >= QUEUED - LANES - 1
    assert all("result" in caller.reply(number) for number in numbers)
