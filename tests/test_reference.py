"""The reference pages in etc/doc are current: `python etc/reference.py etc/doc` (`make reference`) writes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import amid
from amid.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = ("python.md", "command-line.md")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, ROOT / "etc/reference.py", folder], check=True, cwd=ROOT)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(made: Path, name: str) -> None:
    current = (ROOT / "etc/doc" / name).read_text()
    assert current == (made / name).read_text(), "run `make reference`"


def test_everything_that_the_package_exports_is_in_the_page(made: Path) -> None:
    page = (made / "python.md").read_text()
    for name in set(amid.__all__) - {"__version__"}:
        assert f"\n### {name}\n" in page, name


def test_every_command_is_in_the_page(made: Path) -> None:
    page = (made / "command-line.md").read_text()
    for name in COMMANDS:
        assert f"\n## amid {name}\n" in page and f"](#amid-{name})" in page, name
