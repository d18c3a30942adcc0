"""The fault campaign: every fault on every Asterisk, with load on it, and each call and event judged."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults.faults import Fault, load_all
from tests.faults.world import world

SEED = int(os.environ.get("AMID_FAULTS_SEED") or random.randrange(1_000_000))


@pytest.mark.parametrize("fault", load_all(), ids=lambda fault: fault.title)
def test_fault(fault: Fault, asterisk_version: str, tmp_path: Path) -> None:
    with world(asterisk_version, tmp_path, SEED, listener=fault.part == "listener", recorder=fault.part == "recorder") as here:
        here.load.well()
        fault.act(here)
        seconds = here.load.well()
        print(f"{fault.title}: the first answer {seconds:.2f} s after it was over")
        if here.ami is not None:
            here.ami.well()
            assert not here.ami.violations
        here.load.stop()
