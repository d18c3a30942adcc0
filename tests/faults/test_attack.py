"""All attacks at once: honest callers are answered in time, no process is replaced, and memory stays bounded.

A few seconds of what `python -m tests.faults.attack` does for a minute.
"""

from __future__ import annotations

import os

import pytest

from tests.faults.attack import outcome

SECONDS = 12.0


@pytest.mark.alone
@pytest.mark.skipif(os.environ.get("AMID_ATTACK") != "1", reason="needs a quiet machine; AMID_ATTACK=1 runs it")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process of another user")
def test_all_attacks_at_once() -> None:
    seen = outcome(SECONDS)
    print(seen)
    assert not seen.broken(), str(seen)
