"""`amid demo` beside another amid."""

from __future__ import annotations

import subprocess
import sys

from tests.daemon import BOUND_S, Daemon


def test_it_does_not_show_the_calls_of_another_amid(daemon: Daemon) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(daemon.run_dir), "demo", "--seconds", "5"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=3 * BOUND_S, check=False)
    assert ended.returncode == 6
    assert ended.stdout == "" and f"already serves {daemon.run_dir}" in ended.stderr
