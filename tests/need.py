"""What a test needs of the machine: without it the test is skipped and says why, or fails where the machine must have it."""

from __future__ import annotations

import os
import shutil

import pytest


def need(missing: str | None, of: str) -> None:
    """`missing` says what is not there and what to do; None or "" when nothing is.

    of: "ASTERISK", "LANGUAGES", "BROWSER", "PROXIES" or "PACKAGES"; where AMID_REQUIRE_<of> is 1, a machine cannot go
    green without it.
    """
    if missing and os.environ.get(f"AMID_REQUIRE_{of}") == "1":
        pytest.fail(f"AMID_REQUIRE_{of} is set, but {missing}", pytrace=False)
    if missing:
        pytest.skip(missing)


PACKAGES = {"ps": "procps"}
"""Debian's package of a program, where it has another name."""


def need_programs(*names: str, of: str) -> None:
    """The same for programs of Debian's packages."""
    missing = [name for name in names if not shutil.which(name)]
    packages = " ".join(PACKAGES.get(name, name) for name in missing)
    need(f"there is no {' and no '.join(missing)}; as root, run apt install {packages}" if missing else "", of)
