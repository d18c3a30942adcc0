"""What the suite does about a client that is half installed, or that dies in a trial."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.languages import harness
from tests.languages.harness import Harness, call_once
from tests.languages.trials import all_do

NO_LIBRARY = "import sys; [sys.exit('Error: no msgpack') for line in sys.stdin]"
"""Starts and ends well, but cannot make a call: a program whose library is missing."""

MUTE = "import sys; sys.stdin.read()"


@pytest.mark.parametrize(("program", "why"), [(NO_LIBRARY, "Error: no msgpack"), (MUTE, "exit status 0")])
def test_a_client_that_cannot_call_is_not_provisioned(program: str, why: str) -> None:
    assert call_once([sys.executable, "-c", program, "/nowhere"]) == why


def test_a_client_that_is_not_there_is_not_provisioned() -> None:
    assert "No such file" in call_once(["/nowhere/client"])


def test_a_client_that_has_ended_fails_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
