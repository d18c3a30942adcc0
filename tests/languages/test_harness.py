"""Clients that are only partly installed, or that die in a trial."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.languages import harness
from tests.languages.harness import Harness, call_once
from tests.languages.side_by_side import all_do
from tests.languages.trials import until

NO_LIBRARY = "import sys; [sys.exit('Error: no msgpack') for line in sys.stdin]"
"""Starts and ends well, but cannot make a call: a program whose library is missing."""

MUTE = "import sys; sys.stdin.read()"
NO_EVENTS = """import sys; print('{"end": true, "missed": 0}', flush=True); sys.stdin.read()"""


@pytest.mark.parametrize(("program", "why"), [(NO_LIBRARY, "Error: no msgpack"), (MUTE, "exit status 0")])
def test_a_client_that_cannot_call_is_not_provisioned(program: str, why: str) -> None:
    assert call_once([sys.executable, "-c", program, "/nowhere"]) == why


def test_a_missing_client_is_not_provisioned() -> None:
    assert "No such file" in call_once(["/nowhere/client"])


def test_an_ended_client_fails_without_affecting_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Waiting for it to stop would never end: a zombie cannot be stopped."""
    monkeypatch.setitem(harness.COMMANDS, "dead", [sys.executable, "-c", "pass"])
    monkeypatch.setitem(harness.COMMANDS, "well", [sys.executable, "-c", MUTE])
    both = {language: Harness(language, tmp_path) for language in ("dead", "well")}
    os.waitid(os.P_PID, both["dead"].process.pid, os.WEXITED | os.WNOWAIT)
    failed, alive = all_do(both, Harness.stop)
    both["well"].go()
    assert list(failed) == ["dead"] and "has ended" in failed["dead"]
    assert list(alive) == ["well"]
    assert [one.close() for one in both.values()] == ["", ""]


def test_events_that_end_before_their_mark_fail_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Waiting for another line would take until the bound."""
    monkeypatch.setitem(harness.COMMANDS, "quiet", [sys.executable, "-c", NO_EVENTS])
    with Harness("quiet", tmp_path) as quiet, pytest.raises(AssertionError, match="ended before the mark 'here'"):
        until(quiet, "here")
