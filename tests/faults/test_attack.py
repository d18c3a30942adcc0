"""All attacks at once: honest callers are answered in time, no process is replaced, and memory
stays bounded.

A few seconds of `python -m tests.faults.attack`.
"""

from __future__ import annotations

import os

import pytest

from tests.faults.attack import outcome

SECONDS = 12.0


@pytest.mark.alone
@pytest.mark.skipif(
    os.environ.get("AMID_ATTACK") != "1", reason="takes all processor time; set AMID_ATTACK=1 to run it, as .ci/run does"
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process of another user")
def test_honest_callers_are_served_during_all_attacks() -> None:
    seen = outcome(SECONDS)
    print(seen)
    assert not seen.broken(), str(seen)
