"""Tests on a newer Python than that of the other tests: 3.13 warns of a database that was not closed."""

from __future__ import annotations

from pathlib import Path

from tests.need import need
from tests.packages.conftest import TREE, fetch_wheels, run
from tests.packages.machine import RELEASES, missing_prerequisite, nspawn

RELEASE = "trixie"
RUNNERS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "httpx")
FOLDERS = ("tests/recorder", "tests/playback", "tests/history")
TESTS_S = 540
"""Seconds that they may take; they take 60."""
COMMANDS = f"""
set -e
apt-get install -qq --no-install-recommends python3-venv >/dev/null
python3 -m venv /venv
mkdir /copy
cd /copy
cp -r /tree/[A-Za-z]* .
/venv/bin/pip install -q '.[web,nats]' {" ".join(RUNNERS)}
exec /venv/bin/python -m pytest -q -n 2 -p no:cacheprovider {" ".join(FOLDERS)}
"""


def test_the_recorder_on_a_newer_python(tmp_path: Path) -> None:
    need(missing_prerequisite(RELEASE), "PACKAGES")
    fetch_wheels(RELEASES[RELEASE], tmp_path, *RUNNERS)
    pip = ("--setenv=PIP_NO_INDEX=1", "--setenv=PIP_FIND_LINKS=/wheels")
    binds = (f"--bind-ro={TREE}:/tree", f"--bind-ro={tmp_path}:/wheels")
    told = run(*nspawn(RELEASE, *binds, *pip, "--pipe", "sh", "-c", COMMANDS), timeout=TESTS_S)
    assert " passed" in told.splitlines()[-1], told
