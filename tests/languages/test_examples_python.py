"""The programs in clients/python do on a simulated PBX what their first lines promise, and stay short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import arm, simulated, table

FOLDER = Path(__file__).parents[2] / "clients/python"
MAX_LINES = 60


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with simulated() as pbx, closing(Daemon(tmp_path, {"pbx1": table(pbx)})) as daemon:
        yield daemon.start()


@contextmanager
def started(
    daemon: Daemon, program: str, *arguments: str, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], Callable[[], str]]]:
    """The running program, and what it has printed so far."""
    environment = {**os.environ, "AMID_RUN_DIR": str(daemon.run_dir), **variables}
    output = daemon.directory / "output"
    with output.open("w") as file:
        argv = [sys.executable, str(FOLDER / program), *arguments]
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=file, stderr=file, text=True)
    try:
        yield process, output.read_text
    finally:
        process.kill()
        process.communicate()


def test_the_dialer_calls_every_number_and_reports_the_outcome(daemon: Daemon) -> None:
    arguments = "--channel", "Local/{}@default", "--extension", "600@default"
    with started(daemon, "dialer.py", *arguments) as (process, printed):
        process.communicate("600\n600\nnobody\n", timeout=BOUND_S)
    assert sorted(printed().splitlines()) == ["600: Success", "600: Success", "nobody: Failure"]
    assert process.returncode == 1


def test_the_dialer_never_repeats_a_call_that_may_have_been_made(daemon: Daemon) -> None:
    arm(daemon, "close", "Originate")
    with started(daemon, "dialer.py", "--channel", "Local/{}@default", "--extension", "600@default") as (process, printed):
        process.communicate("600\n", timeout=BOUND_S)
    assert printed().startswith("600: connection_lost, may have been dialled"), printed()


def test_the_wallboard_shows_a_caller_who_joins_a_queue(daemon: Daemon) -> None:
    with started(daemon, "wallboard.py") as (_, printed):
        eventually(lambda: "support" in printed(), "the first table")
        assert printed().splitlines()[1].split()[1] == "0"
        daemon.action("Originate", {"Channel": "Local/300@default", "Application": "Wait", "Data": 60, "Async": True})
        eventually(lambda: re.search(r"^support +1 ", printed(), flags=re.M), "a table with one caller waiting")


def test_the_popup_opens_the_page_of_the_caller(daemon: Daemon) -> None:
    arguments = "--phone", "PJSIP/alice", "--url", "https://crm.test/?number={}"
    with started(daemon, "crm_popup.py", *arguments, BROWSER="echo %s") as (_, printed):
        eventually(lambda: "waiting for calls" in printed(), "it listens")
        fields = {"Channel": "Local/6001@default", "Application": "Echo", "CallerID": "Zoë <+33140205050>", "Async": True}
        daemon.action("Originate", fields)
        eventually(lambda: "https://crm.test/?number=%2B33140205050" in printed(), "the page is opened")


def test_every_example_is_short_and_tested() -> None:
    programs = {file.name: len(file.read_text().splitlines()) for file in FOLDER.glob("*.py")}
    assert set(programs) == {"dialer.py", "wallboard.py", "crm_popup.py"}
    assert all(lines < MAX_LINES for lines in programs.values())
