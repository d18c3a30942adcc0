"""Changes of the live state that a real PBX rarely has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.client.standin import WAIT, StandIn
from tests.languages.harness import Harness

CURSOR = {"server": "pbx1", "epoch": 1, "seq": 5}


@pytest.mark.parametrize("language", ["C", "Go", "Rust"])
def test_a_change_of_a_queue_whose_name_is_latin_1(needs: Callable[[str], None], language: str) -> None:
    needs(language)
    change = {**CURSOR, "rev": 2, "kind": "queue", "id": "verk\udce4ufer", "set": {"calls": 1}}

    def state(params: dict[str, Any]) -> dict[str, Any]:
        return {**CURSOR, "rev": 1, "exact": True, "detail": "", "settled_at": 1.0, "queues": []}

    def events(params: dict[str, Any]) -> Any:
        if params["after"]["rev"] == 2:
            return WAIT
        return {**CURSOR, "rev": 2, "events": [change], "missed": 0, "more": False}

    with StandIn(state=state, events=events) as daemon, Harness(language, Path(daemon.run_dir)) as harness:
        harness.say("changes", server="pbx1", kinds=["queues"], resets=2, timeout=1)
        assert harness.hear()["change"]["kind"] == "reset"
        heard = harness.hear()["change"]
        assert (heard["kind"], heard["id"], heard["set"]) == ("queue", b"verk\xe4ufer", {"calls": 1})
