"""The output of `amid calls`, `amid queues` and `amid channels`."""

from __future__ import annotations

import json
import time
from typing import Any, cast

import pytest

from amid import CallTimeout
from amid.cli.live import _watch, draw_calls
from amid.client.changes import Changes
from amid.client.view import View
from tests.cli.conftest import Amid
from tests.client.standin import StandIn

CHANNEL = {
    "id": "1", "uniqueid": "1", "name": "PJSIP/alice-1", "linkedid": "1", "state": "Up", "caller": "100", "caller_name": "Alice",
    "connected": "200", "connected_name": "", "account": "", "context": "phones", "exten": "200", "priority": 1, "bridge": "b7",
    "held": True, "since": 0.0, "answered": None,
}  # fmt: skip
CALL = {
    "id": "1", "linkedid": "1", "channels": ["1"], "caller": "100", "caller_name": "Alice", "connected": "200",
    "connected_name": "Bob", "context": "phones", "exten": "200", "talking": True, "since": 10.0,
}  # fmt: skip
CALLER = {
    "id": "support/1", "queue": "support", "uniqueid": "1", "channel": "PJSIP/alice-1", "caller": "100", "caller_name": "Alice",
    "position": 1, "since": 20.0,
}  # fmt: skip
MEMBER = {
    "id": "support/PJSIP/bob", "queue": "support", "interface": "PJSIP/bob", "name": "Bob", "status": "in use", "paused": True,
    "paused_reason": "lunch", "penalty": 2, "calls_taken": 7, "last_pause": 0,
}  # fmt: skip
QUEUE = {"id": "support", "name": "support", "waiting": 1, "completed": 5, "abandoned": 3}
STATE: dict[str, Any] = {
    "server": "pbx1", "epoch": 7, "seq": 9, "rev": 1, "exact": True, "detail": "", "settled_at": 1.0,
    "channels": [CHANNEL], "calls": [CALL], "queues": [QUEUE], "members": [MEMBER], "callers": [CALLER],
}  # fmt: skip


@pytest.fixture
def pbx(daemon: StandIn) -> StandIn:
    daemon.methods["state"] = lambda params: STATE
    return daemon


def test_calls(pbx: StandIn, amid: Amid) -> None:
    ended = amid("calls")
    assert ended.status == 0 and ended.err == ""
    assert "Alice 100" in ended.out and "queue support" in ended.out and "waiting, position 1" in ended.out
    assert ended.out.splitlines()[0].split()[-1] == "linkedid", "amid call --help says so"


def test_a_call_without_a_queue_shows_its_connected_party() -> None:
    (_, line) = draw_calls({"calls": [CALL], "callers": [], "channels": [CHANNEL]}, 75.0, None)
    assert line.split("  ")[:2] == ["Alice 100", "Bob 200"] and "talking" in line and "1m 5s" in line


def test_a_call_without_a_caller_id_shows_its_channel() -> None:
    unnamed = {**CALL, "caller": "", "caller_name": ""}
    (_, line) = draw_calls({"calls": [unnamed], "callers": [], "channels": [CHANNEL]}, 75.0, None)
    assert line.split("  ")[0] == "PJSIP/alice"


def test_channels(pbx: StandIn, amid: Amid) -> None:
    out = amid("channels").out
    assert "PJSIP/alice-1" in out and "Up, held" in out and "200@phones:1" in out


def test_queues_and_one_queue(pbx: StandIn, amid: Amid) -> None:
    assert amid("queues").out.splitlines()[1].split()[:2] == ["support", "1"]
    out = amid("queues", "support").out
    assert "Alice 100" in out and "paused: lunch" in out and "PJSIP/bob" in out
    unknown = amid("queues", "nobody")
    assert (unknown.out, unknown.status) == ("no queue nobody; the queues are: support\n", 1)


def test_json(pbx: StandIn, amid: Amid) -> None:
    assert json.loads(amid("channels", "--json").out) == [CHANNEL]
    assert json.loads(amid("queues", "support", "--json").out) == [QUEUE]
    unknown = amid("queues", "nobody", "--json")
    assert (json.loads(unknown.out), unknown.status) == ([], 1)


def test_a_state_that_is_not_exact_has_a_warning(pbx: StandIn, amid: Amid) -> None:
    pbx.methods["state"] = lambda params: {**STATE, "exact": False, "detail": "no right"}
    assert amid("calls").err == "not exact: no right; see Rights in etc/doc/state.md\n"


def test_watch_needs_a_terminal(pbx: StandIn, amid: Amid) -> None:
    ended = amid("calls", "--watch")
    assert ended.status == 2 and "--watch --json" in ended.err


def test_watch_keeps_up_with_the_changes() -> None:
    """A table of 10,000 channels takes 0.5 s to draw. One for each change fell behind by minutes."""
    drawn: list[int] = []
    changes = View("pbx1", ["channels"])

    class Storm:
        view = changes
        count = 0

        def __next__(self) -> None:
            self.count += 1
            if self.count == 2000:
                raise CallTimeout("timeout", "no change")  # silence: the last changes are drawn
            if self.count > 2000:
                raise KeyboardInterrupt

    def draw(things: Any, now: float, columns: int | None) -> list[str]:
        drawn.append(storm.count)
        time.sleep(0.01)
        return []

    storm = Storm()
    with pytest.raises(KeyboardInterrupt):
        _watch(cast(Changes, storm), draw)
    assert (drawn[0], drawn[-1]) == (1, 2000) and len(drawn) < 200
