"""Seeds of the simulation: those that once found an error of amid, and new ones."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.world import Outcome, run_seed

FOUND: dict[str, tuple[int, float, tuple[str, ...]]] = {
    "an action was sent to a PBX that booted": (27, 20.0, ("a PBX restarts", "a connection stalls")),
    "events came behind amid:disconnected": (9, 15.0, ("a reader is replaced", "an event storm")),
}
"""What was found, and the arguments of `run_seed` that found it. They are searched again where the simulation itself changes."""
NEW_SEEDS_S = 5.0
SECONDS = 30.0
ROOT = Path(__file__).parent.parent.parent


def check(outcome: Outcome) -> None:
    again = f"python -m tests.simulation --seeds 1 --from {outcome.seed} --seconds {SECONDS:g}"
    assert not outcome.failures, "\n".join([*outcome.recent[-50:], *outcome.failures, again])


@pytest.mark.parametrize("what", FOUND)
def test_seeds_that_found_a_fault_pass(what: str) -> None:
    check(run_seed(*FOUND[what]))


def test_new_seeds_pass() -> None:
    """As many as fit into `NEW_SEEDS_S`; CI runs some minutes of them besides."""
    first = random.SystemRandom().randrange(10**9)
    end, count = time.monotonic() + NEW_SEEDS_S, 0
    while time.monotonic() < end:
        print(f"seed {first + count}")
        check(run_seed(first + count, SECONDS))
        count += 1


def test_a_seed_is_reproducible_in_every_process() -> None:
    """All decisions, their times and effects, whatever the hashes of strings and the addresses of
    objects."""

    def digest(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.simulation", "--seeds", "2", "--from", "1", "--seconds", "20"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return "".join(line for line in ran.stdout.splitlines() if line.startswith("seed "))

    first = digest("1")
    assert "seed 2: " in first
    assert digest("2") == first
