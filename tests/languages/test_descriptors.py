"""Descriptors of a client's sockets stay in its process."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.standin import StandIn
from tests.languages.harness import COMMANDS, Harness


@pytest.mark.parametrize("language", COMMANDS)
def test_programs_that_a_client_starts_inherit_no_socket(needs: Callable[[str], None], language: str) -> None:
    needs(language)
    with StandIn() as daemon, Harness(language, Path(daemon.run_dir)) as harness:
        harness.result("ping")
        assert not _inherited(Path(f"/proc/{harness.process.pid}"))


def _inherited(process: Path) -> list[str]:
    """The sockets and eventfds without FD_CLOEXEC, beside standard input and output."""
    found = []
    for descriptor in (process / "fd").iterdir():
        target = os.readlink(descriptor)
        flags = re.search(r"flags:\s*(\d+)", (process / "fdinfo" / descriptor.name).read_text())
        assert flags
        if int(descriptor.name) > 2 and target.startswith(("socket:", "anon_inode:")) and not int(flags[1], 8) & os.O_CLOEXEC:
            found.append(target)
    return found
