"""The command line, run in this process against a stand-in broker, or as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from amid.cli.main import run
from tests.client.standin import StandIn


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Amid = Callable[..., Ended]


@pytest.fixture
def daemon() -> Iterator[StandIn]:
    with StandIn() as daemon:
        yield daemon


@pytest.fixture
def amid(daemon: StandIn, capsys: pytest.CaptureFixture[str]) -> Amid:
    """amid("action", "Ping"): run a command; its status and output."""

    def ended(*argv: str) -> Ended:
        status = run(["--run-dir", daemon.run_dir, *argv])
        return Ended(status, *capsys.readouterr())

    return ended


@pytest.fixture
def process(daemon: StandIn) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The same as a separate process with pipes, ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        line = [sys.executable, *before, "-m", "amid", "--run-dir", daemon.run_dir, *argv]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for child in started:
        with child:
            child.kill()
