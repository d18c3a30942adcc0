"""Locales that are not UTF-8, for processes that are started in them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.need import need, need_programs

CHARMAP = Path("/usr/share/i18n/charmaps/ISO-8859-1.gz")


def latin1(folder: Path) -> dict[str, str]:
    """The environment of a process whose locale is ISO-8859-1, made in `folder`."""
    need_programs("localedef", of="PACKAGES")
    need("" if CHARMAP.exists() else f"there is no {CHARMAP} (Debian: locales)", of="PACKAGES")
    made = ["localedef", "--no-archive", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
    subprocess.run(made, check=True, capture_output=True)
    return {**os.environ, "LOCPATH": str(folder), "LC_ALL": "en_US.ISO-8859-1"}


def plain_c() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def ascii_only() -> dict[str, str]:
    """The C locale, where Python is told to keep it."""
    return {**plain_c(), "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
