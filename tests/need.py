"""Prerequisites of tests: a test whose prerequisites are missing is skipped with the reason, or
fails where they are required."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache

import pytest


def need(missing: str | None, of: str) -> None:
    """`missing` says what is not there and what to do; None or "" when nothing is.

    of: "ASTERISK", "LANGUAGES", "BROWSER", "PROXIES", "PACKAGES", "AMI_CLIENTS" or "NATS"; where AMID_REQUIRE_<of> is 1, a
    machine cannot go green without it.
    """
    if missing and os.environ.get(f"AMID_REQUIRE_{of}") == "1":
        pytest.fail(f"AMID_REQUIRE_{of} is set, but {missing}", pytrace=False)
    if missing:
        pytest.skip(missing)


STARTS_S = 60.0
"""Seconds that a program has to say its version."""
PACKAGES = {"ps": "procps", "sipp": "sip-tester"}
"""Debian's package of a program, where it has another name."""


def need_programs(*names: str, of: str) -> None:
    """The same for programs of Debian's packages."""
    missing = [name for name in names if not shutil.which(name)]
    need(f"there is no {' and no '.join(missing)}; as root, run apt install {_packages(missing)}" if missing else "", of)
    broken = {name: why for name in names if (why := start_failure(name))}
    reasons = ", ".join(f"{name} does not start ({why})" for name, why in broken.items())
    need(f"{reasons}; as root, run apt install --reinstall {_packages(broken)}" if broken else "", of)


def _packages(names: Iterable[str]) -> str:
    return " ".join(PACKAGES.get(name, name) for name in names)


@cache
def start_failure(program: str) -> str:
    """Why an installed program does not start, in one line, or "". A loader that lacks a library
    exits with status 127; any other status means that the program runs, even if it does not know
    the option."""
    path = shutil.which(program) or program  # or an error may be of another directory of PATH
    try:
        done = subprocess.run([path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STARTS_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode in (126, 127) or done.returncode < 0:
        return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[0][:120]
    return ""
