"""`amid demo` beside another amid, and without its PBX or its terminal."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import BOUND_S, Daemon


def test_it_does_not_show_the_calls_of_another_amid(daemon: Daemon) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(daemon.run_dir), "demo", "--seconds", "5"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=3 * BOUND_S, check=False)
    assert ended.returncode == 6
    assert ended.stdout == "" and f"already serves {daemon.run_dir}" in ended.stderr


def pbx_of(demo: subprocess.Popen[str]) -> int:
    """The process id of the simulated PBX of a demo."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    (pid,) = [int(child) for child in children if b"amid.simulator" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_pbx(tmp_path: Path, number: signal.Signals) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / "run"), "demo"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("Ctrl-C" in line for line in demo.stdout)
        os.kill(pbx_of(demo), number)
        try:
            _, errors = demo.communicate(timeout=BOUND_S)
        finally:
            demo.kill()
    how = "killed by SIGKILL" if number == signal.SIGKILL else "exit status 0"
    assert demo.returncode == 1
    assert f"amid: the simulated PBX has ended ({how})" in errors


def test_programs_of_a_second_terminal_find_it_after_the_export(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / "a run"), "demo"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        hints = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, demo.stdout))
        export, *_ = itertools.dropwhile(lambda line: not line.startswith("  export "), hints)
        typed = f"{export}{sys.executable} -c 'from amid import Client; print(Client().servers()[0][\"name\"])'"
        try:
            assert subprocess.run(["bash", "-c", typed], stdout=subprocess.PIPE, text=True, timeout=BOUND_S).stdout == "demo\n"
        finally:
            demo.terminate()
            demo.communicate(timeout=BOUND_S)


def test_it_ends_although_its_pbx_hangs(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / "run"), "demo"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("Ctrl-C" in line for line in demo.stdout)
        pbx = pbx_of(demo)
        os.kill(pbx, signal.SIGSTOP)
        demo.send_signal(signal.SIGINT)
        try:
            demo.communicate(timeout=BOUND_S)
        finally:
            demo.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pbx, signal.SIGKILL)
    assert demo.returncode == 0


def test_it_ends_with_its_terminal(tmp_path: Path) -> None:
    """The kernel sends SIGHUP when a terminal is closed."""
    argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / "run"), "demo"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("Ctrl-C" in line for line in demo.stdout)
        demo.send_signal(signal.SIGHUP)
        try:
            demo.communicate(timeout=BOUND_S)
        finally:
            demo.kill()
    assert demo.returncode == 0
