"""The manual pages: generated without formatter warnings, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from amid.cli.main import COMMANDS, amid
from amid.config.tables import DERIVED, GROUPS, TABLES, Config
from tests.need import need_programs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By name, as a terminal shows them."""
    need_programs("mandoc", of="PACKAGES")
    folder = tmp_path_factory.mktemp("man")
    subprocess.run([sys.executable, ROOT / "etc/man.py", folder], check=True, cwd=ROOT)
    files = sorted(folder.iterdir())
    lint: list[str | Path] = ["mandoc", "-T", "lint", "-W", "warning", *files]
    assert all(file.read_bytes().isascii() for file in files)
    complaints = subprocess.run(lint, stdout=subprocess.PIPE, text=True, check=False).stdout
    assert not [line for line in complaints.splitlines() if "missing date" not in line]
    return {file.name: _shown(file) for file in files}


def _shown(page: Path) -> str:
    """Without the backspaces that make letters bold."""
    argv: list[str | Path] = ["mandoc", "-T", "utf8", "-O", "width=1000", page]
    return re.sub(".\b", "", subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_first(pages: dict[str, str], name: str) -> None:
    command = amid.get_command(click.Context(amid), name)
    assert command is not None
    _, _, part = pages["amid.1"].partition(f"\n   amid {name}\n")
    part = re.split(r"\n   amid |\n[A-Z]", part)[0]
    assert part.lstrip().startswith(f"amid {name} ")
    for option in command.params:
        assert not isinstance(option, click.Option) or option.opts[-1] in part, option.name


def test_the_first_page_has_the_other_sections(pages: dict[str, str]) -> None:
    packages = ("cli", "client", "config", "gateway")  # what the daemon's own packages read is set by systemd
    read = "".join(file.read_text() for package in packages for file in (ROOT / "amid" / package).glob("*.py"))
    names = set(re.findall(r'(?:environ\.get\(|envvar=)"(\w+)"', read))
    assert len(names) > 3 and not [name for name in names if not re.search(rf"\n       {name}\s", pages["amid.1"])]
    assert "EXAMPLES\n       $ amid status\n" in pages["amid.1"]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_table_is_in_the_second(pages: dict[str, str], table: str) -> None:
    page = pages["amid.toml.5"].replace("[callers.local]\n", "[callers.NAME]\n")
    title = re.escape(f"{table}.NAME" if table in GROUPS else table)
    part = "".join(re.findall(rf"\n\[{title}\]\n(.*?)(?=\n\S|\Z)", page, flags=re.S))
    assert not {key for key in set(TABLES[table].__struct_fields__) - DERIVED if f"     {key} = " not in part}


def test_every_key_at_the_top_is_in_the_second(pages: dict[str, str]) -> None:
    keys = set(Config.__struct_fields__) - TABLES.keys()
    assert keys and all(f"     {key} = " in pages["amid.toml.5"] for key in keys)
